"""Snapshots, the state on disk from which training resumes: written atomically, verified, set aside if damaged.

Safe to change: `store` (which snapshots are kept), `history` (the record of the run so far).
Invariants: the order of writes in `format`: the manifest with the SHA-256 digests comes last, then one rename.
To add one: a fact about the run so far is a field of the history, with a default for snapshots that lack it.
"""
