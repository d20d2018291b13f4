"""Loading: training images, in memory or streamed, and batches for evaluation.

Touch: `training_images` (in memory or streamed, which affects only the speed, not the result), `evaluation_batches`.
Do not touch: the mask of padded batches; it makes evaluation exact for every batch size.
A new one: a function that takes a `Split` and yields arrays.
"""
