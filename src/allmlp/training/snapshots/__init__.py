"""The state from which training resumes, on disk: written whole, verified, set aside when damaged.

Touch: `store` (which snapshots are kept), `history` (what the run knows of its past).
Do not touch: the order of writes in `format`; the manifest of SHA-256 comes last, then one rename.
A new one: a fact of a run is a field of the history; it is read back by tests of older snapshots.
"""
