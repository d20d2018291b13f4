"""The state from which training resumes, on disk: written whole, verified, set aside when damaged.

Touch: `store` (which snapshots are kept), `history` (what the run knows of its past).
Do not touch: the order of writes in `format`; the manifest of SHA-256 comes last, then one rename.
A new one: what a run knows of itself is a field of the history; it is read back by tests of older snapshots.
"""
