"""Public data sets by name: their registry, downloads and readers, and the class names of ImageNet.

Touch: `registry` (what each data set is), `torchvision_sets` (how it is opened); class_lists/ is data, copied from timm.
Do not touch: nothing is downloaded unless a command asks for it with `--download`.
A new one: an entry of `DATASETS`; a parametrised test runs over every entry.
"""
