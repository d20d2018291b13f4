"""What commands write: `predict` and `embed` a file of features or a folder of results, `inspect` pictures of weights.

Safe to change: messages, and what is printed at the end.
Invariants: the rule of what a folder is (`bulk_options`); the same command goes on where an earlier one stopped.
To add one: an option of both commands stands in `bulk_options`; a format of features is a writer in `features_file`; another
    kind of output is a module.
"""
