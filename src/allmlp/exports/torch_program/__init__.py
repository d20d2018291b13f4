"""A Mixer as a .pt2 file of torch.export: written (`program`, which needs torch), and read back as data (`file`).

Safe to change: what is written: `program`.
Invariants: `torch.export.load` unpickles what a file holds, so that no file is given to it here. `file` reads the description
    and the weights, and nothing else; `checked_program` runs a program only if it is the one that is written here.
To add one: another member of the archive belongs into `file`, or it refuses it.
"""
