"""Everything that is not machine learning: files, archives, downloads, threads, text for people.

Touch: the modules themselves; each is imported by its own name (`allmlp.io.atomic_write`).
Do not touch: nothing here knows a photo, a model or a run.
A new one: a file of its own, named by what it does, with `__all__`; it may import `allmlp.errors` and other modules of io.
"""
