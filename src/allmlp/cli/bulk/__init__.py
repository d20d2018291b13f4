"""Folders of results: what `allmlp predict` and `allmlp embed` share for `--out FOLDER/`.

Safe to change: messages, and what is printed at the end.
Invariants: the rule of what a folder is (`options`); the same command goes on where an earlier one stopped.
To add one: an option of both commands stands in `options`.
"""
