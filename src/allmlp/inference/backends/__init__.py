"""Runtimes that provide a `Forward`: images in, logits out, both NumPy.

Touch: one file per backend.
Do not touch: the eager backend's micro-batch; it keeps a photo's bits whatever the batch.
A new one: a file and a line in `BACKENDS`.
"""
