"""The length of a run: its number of steps, and the time budget that may revise it.

Safe to change: when and how a budget counts the steps anew (`time_budget`).
Invariants: a run without a budget takes the steps of its recipe; revisions are recorded, so that a run can be repeated.
To add one: another reason to end a run early is a rule in `run_plan`.
"""
