"""File types that hold named arrays: .npz, .safetensors, torch's .pth.

Touch: one file per container; each lists names, dtypes and shapes first and reads arrays only when asked.
Do not touch: nothing is unpickled, and sizes from an untrusted file are bounded before any arithmetic.
A new one: a class that implements `WeightFile`; it knows no Mixer.
"""
