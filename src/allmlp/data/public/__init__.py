"""Public data sets by name: what they are, where they are downloaded to, and the class names of ImageNet.

Touch: `registry` (what each set is), `torchvision_sets` (how it is opened); class_lists/ is data, copied from timm.
Do not touch: nothing is downloaded unless a command asks for it by `--download`.
A new one: an entry of `DATASETS`; a parametrised test runs over every entry.
"""
