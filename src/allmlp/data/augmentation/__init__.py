"""Augmentation of training images: random parameters in NumPy, one batch at a time, applied on the device.

Safe to change: `crops`, `color`, `mixing`, `rand_augment` and `random_erasing` draw, `warp` applies, `pipeline` composes.
Invariants: the number and order of draws; they determine what a seed means.
To add one: a file with its draws and its function, a setting in `Augmentation`, and a step in the pipeline.
"""
