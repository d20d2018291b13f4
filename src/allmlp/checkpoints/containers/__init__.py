"""File types that hold named arrays: .npz, .safetensors and torch's .pth, in both of its formats.

Safe to change: one file per container; each lists names, dtypes and shapes first and reads arrays only on request.
Invariants: nothing is unpickled, and sizes from an untrusted file are bounded before any arithmetic.
To add one: a function that returns a `WeightFile`, called by `open`; it knows nothing of Mixers.
"""
