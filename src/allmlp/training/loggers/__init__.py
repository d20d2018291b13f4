"""Experiment trackers: TensorBoard, Weights & Biases and MLflow, each an extra that is imported when it is first used.

Safe to change: the files of the trackers; each has a function `open_...` from a `LoggedRun` to a `Logger`.
Invariants: a tracker that fails never stops the training; a resumed run continues the same record.
To add one: a file here, a line in `LOGGERS` of `registry`, an extra in pyproject.toml and a test in its offline mode.
"""
