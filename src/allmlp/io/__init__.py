"""Everything that is not machine learning: files, archives, downloads, threads, text for people.

Touch: the modules, each of which is imported by its own name (`allmlp.io.atomic_write`).
Do not touch: nothing here depends on photos, models or runs.
A new one: a separate file named after its purpose, with `__all__`; it imports only `allmlp.errors` and other modules of io.
"""
