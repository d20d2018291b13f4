"""Contents of a run folder, for everything that reads one: training, checkpoints, the report and the command line.

Safe to change: `layout` (every file name of a run and of a sweep), `saved_split` (the split of each photo in a run),
`saved_notes`, `photo_digests` (which photos a run has read), `predictions` (what its best checkpoint answers for each of them).
Invariants: names that older runs have on disk. Nothing here depends on recipes, models or torch.
To add one: a separate file, imported by its own name (`allmlp.runs.layout`), that imports only io and errors.
"""
