"""How training changes images: decided in NumPy for a batch at once, applied on the device.

Touch: `pipeline` composes; `crops`, `color`, `mixing`, `rand_augment` and `random_erasing` draw; `warp` applies.
Do not touch: the number and order of draws; they are part of what a seed means.
A new one: a file with its draws and its function, a setting in `Augmentation`, and a step of the pipeline.
"""
