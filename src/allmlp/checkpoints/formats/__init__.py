"""What a checkpoint is read from and written as: ours, timm's, Google's.

Touch: one file per format, `registry` for the table.
Do not touch: weights keep their bits; what a format cannot hold is said before anything is written.
A new one: a file with `save` and `lost`, and a line in `FORMATS`; a parametrised test runs over every entry.
"""
