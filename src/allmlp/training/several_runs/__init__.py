"""What takes more than one run: cross-validation and the learning-rate sweep. `training_run` is where training begins.

Safe to change: how the runs are compared or combined.
Invariants: each run is an ordinary one (`loop`), so it can be stopped and resumed at any step; the test photos choose nothing.
To add one: a function that calls `train` or `train_run` for each run, in a folder of its own.
"""
