"""The paper's transfer tasks, Avg 5 and VTAB-1k: which of them are here, and fine-tuning on them by the paper's rules.

`transfer` fine-tunes the networks of studies, of all kinds, on any task, by the same rules for all.

Safe to change: `results` (the table, the plot and the sentence).
Invariants: the rules of `task` and `fine_tuning` are the paper's; test photos choose nothing; a missing task never counts.
To add one: a task is an entry of `AVG_5` or `VTAB_1K`.
"""
