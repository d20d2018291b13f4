"""Contents of a run folder, for everything that reads one: training, checkpoints, the report and the command line.

Touch: `layout` (every file name of a run and of a sweep, defined once), `saved_split` (the split of each photo in a run).
Do not touch: names that older runs have on disk. Nothing here depends on recipes, models or torch.
A new one: a separate file, imported by its own name (`allmlp.runs.layout`), that imports only io and errors.
"""
