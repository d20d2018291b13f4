"""File types that hold named arrays: .npz, .safetensors and torch's .pth.

Touch: one file per container; each lists names, dtypes and shapes first and reads arrays only on request.
Do not touch: nothing is unpickled, and sizes from an untrusted file are bounded before any arithmetic.
A new one: a function that returns a `WeightFile`, called by `open`; it knows nothing of Mixers.
"""
