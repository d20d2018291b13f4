"""Augmentation of training images: random parameters in NumPy, one batch at a time, applied on the device.

Touch: `crops`, `color`, `mixing`, `rand_augment` and `random_erasing` draw, `warp` applies, `pipeline` composes.
Do not touch: the number and order of draws; they determine what a seed means.
A new one: a file with its draws and its function, a setting in `Augmentation`, and a step in the pipeline.
"""
