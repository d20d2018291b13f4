"""A Mixer as an ONNX file, without torch: written (`graph`, `pixels`, `quantised`), and read back (`file`, `checks`).

Safe to change: what is written: `graph`, `pixels` with `pillow`, and `quantised`.
Invariants: the names of inputs, outputs and weights. A file is untrusted: `checks` accepts what is written here, and nothing
    else.
To add one: an operator belongs into `OPERATORS`, `PIXEL_OPERATORS` or `INT8_OPERATORS`, or `checks` refuses it.
"""
