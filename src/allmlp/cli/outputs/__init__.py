"""What commands write and print at their end: files of features, folders of results, pictures of weights, lines of `export`.

Safe to change: messages, and what is printed at the end.
Invariants: the rule of what a folder is (`bulk_options`); the same command goes on where an earlier one stopped.
To add one: an option of `predict` and `embed` stands in `bulk_options`; a format of features is a writer in `features_file`;
    another kind of output is a module.
"""
