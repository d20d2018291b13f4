"""The settings of a run: recipes, their checks and resolution, and the initial checkpoint.

Safe to change: `recipe` and `configs` (the settings and their checks), `initial_checkpoint` (fine-tuning).
Invariants: a default, without checking the recipes that rely on it.
To add one: a setting is a field of a config here, with its check; the code that uses it belongs elsewhere.
"""
