"""Public data sets by name: what they are, where they are downloaded to, and the class names of ImageNet.

Touch: `torchvision_sets` for how a set is opened.
Do not touch: nothing is downloaded unless a command asks for it by `--download`.
A new one: an entry of `DATASETS`; a parametrised test runs over every entry.
"""
