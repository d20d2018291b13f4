"""Everything that is not machine learning: files, archives, downloads, threads, text for people.

Safe to change: the modules, each of which is imported by its own name (`allmlp.io.atomic_write`).
Invariants: nothing here depends on photos, models or runs.
To add one: a separate file named after its purpose, with `__all__`; it imports only `allmlp.errors` and other modules of io.
"""
