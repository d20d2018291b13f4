"""Naming schemes of a Mixer's weights, and the configuration that names and shapes determine.

Safe to change: `schemes` (ours, timm's, both of Google's), `selection` (the Mixer among other
names), `infer_config` (widths from shapes), `other_models` (not a Mixer).
Invariants: a scheme is a bijection, tested in both directions.
To add one: an entry of `NAMING_SCHEMES`; it knows nothing of files.
"""
