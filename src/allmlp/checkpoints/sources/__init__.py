"""Where weights come from: a path, a published name, a repository on the Hub.

Touch: `catalog` (published models), `resolve` (what a string means).
Do not touch: `digest_cache`; provenance is claimed from a digest or the name asked for, never from a file's name.
A new one: a published model is an entry of `CATALOG`; another kind of source is a case in `resolve`.
"""
