"""Sources of weights: a path, a published name, or a repository on the Hugging Face Hub.

Safe to change: `catalog` (published models), `resolve` (what a string means).
Invariants: `digest_cache`; provenance is claimed from a digest or the requested name, never from a file's name.
To add one: a published model is an entry of `CATALOG`; another kind of source is a case in `resolve`.
"""
