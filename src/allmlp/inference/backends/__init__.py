"""Runtimes that provide a `Forward`: images in, logits out, both NumPy.

Touch: one file per backend, `registry` with the table of them.
Do not touch: the eager backend's micro-batch; it keeps a photo's bits whatever the batch.
A new one: a file that says what it recognises, opens it and has its own batching rule, and an entry of `BACKENDS`.
"""
