"""Public data sets by name: their registry, downloads and readers, and the class names of ImageNet.

Safe to change: `registry` (what each data set is), `torchvision_sets` (how it is opened); class_lists/ is copied from timm.
Invariants: nothing is downloaded unless a command asks for it with `--download`.
To add one: an entry of `DATASETS`; a parametrised test runs over every entry.
"""
