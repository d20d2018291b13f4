"""Runtimes that provide a `Forward`: images in, logits out, both NumPy.

Touch: one file per backend, and `registry`, the table of backends.
Do not touch: the eager backend's micro-batches; they make an image's logits independent of its batch, bit for bit.
A new one: a file that recognises and opens its sources and defines its own batching, and an entry in `BACKENDS`.
"""
