"""What a run is asked to do, and what it starts from.

Touch: `recipe` (the settings and their checks), `initial_checkpoint` (fine-tuning).
Do not touch: a default, without a look at the recipes that rely on it.
A new one: a setting is a field of a config here with its check; its effect lives where it is used.
"""
