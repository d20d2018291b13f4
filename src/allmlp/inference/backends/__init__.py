"""Runtimes that provide a `Forward`: images in, logits out, both NumPy.

Safe to change: one file per backend, and `registry`, the table of backends.
Invariants: `micro_batches`, which make an image's logits independent of its batch, bit for bit, on every backend.
To add one: a file that recognises and opens its sources and defines its own batching, and an entry in `BACKENDS`.
"""
