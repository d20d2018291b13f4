"""What training does to photos: decided in NumPy for a batch at once, applied on the device.

Touch: `config` (settings and draws), `warp` (crops, flips, colours, mixing on tensors), `rand_augment`, `random_erasing`.
Do not touch: the number and order of draws; they are part of what a seed means.
A new one: a file with its draws and its function, a setting in `Augmentation`, and its place in the pipeline.
"""
