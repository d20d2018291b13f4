"""Loading: training images, in memory or streamed, and batches for evaluation.

Safe to change: `training_images` (in memory or streamed, which affects only the speed, not the result), `evaluation_batches`.
Invariants: the mask of padded batches; it makes evaluation exact for every batch size.
To add one: a function that takes a `Split` and yields arrays.
"""
