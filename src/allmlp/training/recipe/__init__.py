"""The settings of a run: recipes, their checks and resolution, and the initial checkpoint.

Touch: `recipe` and `configs` (the settings and their checks), `initial_checkpoint` (fine-tuning).
Do not touch: a default, without checking the recipes that rely on it.
A new one: a setting is a field of a config here, with its check; the code that uses it belongs elsewhere.
"""
