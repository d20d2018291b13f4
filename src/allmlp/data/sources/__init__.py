"""Where labelled photos come from: folders, zips, Parquet, CSV. Each becomes splits with a reader of bytes.

Touch: `folder_layout` (which folders are splits and classes), one file per kind of source.
Do not touch: `sample_ids`; an ID decides every random choice of a run, and of its resumption.
A new one: a file with a function `source -> ImageDataset`, and a line in `data/open_dataset.py`.
"""
