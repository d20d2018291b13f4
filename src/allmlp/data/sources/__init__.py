"""Sources of labelled photos: folders, zips, Parquet, tar shards, CSV, each opened as splits with a reader of photos.

Safe to change: `split_folders` (which folders are splits and classes), and one file per kind of source.
Invariants: `sample_ids`; sample IDs decide every random choice of a run, and of its resumption.
To add one: a file with a function `source -> ImageDataset`, and a line in `data/opening.py`.
"""
