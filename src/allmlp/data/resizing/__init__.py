"""Resizing of decoded photos: Pillow's filters with a fixed order of passes, and TensorFlow's filters in NumPy.

Safe to change: nothing that changes pixels; a checkpoint's accuracy depends on them.
Invariants: `axes` gives the same bits with every version of Pillow (tests/data/resizing/ has golden pixels); `tensorflow` gives
those of TensorFlow's kernels.
To add one: a file with its function, and a law in `preprocessing` that uses it.
"""
