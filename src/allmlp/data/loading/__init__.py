"""From splits to arrays: training images, in memory or streamed, and batches for evaluation.

Touch: `training_images` (kept or streamed: it decides speed, never a bit of the result), `evaluation_batches`.
Do not touch: the mask of padded batches; evaluation is exact for every batch size because of it.
A new one: a function that takes a `Split` and yields arrays.
"""
