"""What is in a run folder, for whoever reads one: training, checkpoints, the report and the command line.

Touch: `layout` (every file name of a run and of a sweep, once), `saved_split` (which photo the run had in which split).
Do not touch: names that older runs have on disk. Nothing here knows a recipe, a model or torch.
A new one: a file of its own, imported by its own name (`allmlp.runs.layout`); it may import io and errors only.
"""
