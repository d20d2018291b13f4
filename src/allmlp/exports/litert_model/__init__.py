"""A Mixer as a .tflite file of LiteRT (TensorFlow Lite), without torch: written (`graph`), and read back (`file`).

Safe to change: what is written: `graph`, with `builder`, which knows the format.
Invariants: the names of inputs, outputs and weights. A file is untrusted: `file` accepts it only if all of it but its weights
    is, byte for byte, what `graph` writes.
To add one: an operator of LiteRT is a method of `Builder`.
"""
