"""Checkpoint formats for reading and writing: ours, timm's and Google's.

Touch: one file per format, and `registry` for the table.
Do not touch: weights keep their bits; what a format cannot hold is reported before anything is written.
A new one: a file with a function that saves and one that reports losses, and a line in `FORMATS`; a test covers every entry.
"""
