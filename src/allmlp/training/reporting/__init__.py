"""What a run leaves for people: the scores of its best checkpoint, its report, and the comparison of several runs.

Safe to change: `run_report` (the content of a run's page), `stored_report` (the same from a run folder),
    `stored_results` (what a folder holds of its run), `compare_runs`, `label_errors`.
Invariants: a report never changes a run; the test photos are scored only when the run is finished.
To add one: a section of the page is in `allmlp.report`; its values are collected in `run_report`.
"""
