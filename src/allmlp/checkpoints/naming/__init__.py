"""Naming schemes of a Mixer's weights, and the configuration that names and shapes determine.

Touch: `schemes` (ours, timm's, linen's, pre-linen's), `infer_config` (widths from shapes), `other_models` (not a Mixer).
Do not touch: a scheme is a bijection, tested in both directions.
A new one: an entry of `NAMING_SCHEMES`; it knows nothing of files.
"""
