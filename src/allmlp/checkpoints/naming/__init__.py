"""Whose names the arrays carry, and what Mixer they describe.

Touch: `schemes` (ours, timm's, linen's, pre-linen's), `infer_config` (widths from shapes), `other_models` (not a Mixer).
Do not touch: a scheme is a bijection, tested both ways.
A new one: an entry of `LAYOUTS`; it knows no file.
"""
