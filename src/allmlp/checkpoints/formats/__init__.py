"""Checkpoint formats for reading and writing: ours, timm's and Google's.

Safe to change: one file per format, and `registry` for the table.
Invariants: weights keep their bits; what a format cannot hold is reported before anything is written.
To add one: a file with a function that saves and one that reports losses, and a line in `FORMATS`; a test covers every entry.
"""
