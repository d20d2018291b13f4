"""What commands write and print: predictions, scores, features, folders of results, pictures of weights, lines of `export`.

Safe to change: messages, and what is printed at the end.
Invariants: the rule of what a folder is (`bulk_options`); the same command goes on where an earlier one stopped; the columns
    and keys of predictions (`prediction_formats`), which scripts rely on.
To add one: an option of `predict` and `embed` stands in `bulk_options`; a format of predictions is a function in
    `prediction_formats`, one of features a writer in `features_file`; another kind of output is a module.
"""
