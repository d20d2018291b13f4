"""Sources of weights: a path, a published name, or a repository on the Hugging Face Hub.

Safe to change: `catalog` (published models), `resolve` (what a string means), `advice` (what a wrong one may mean).
Invariants: `digest_cache`; provenance is claimed from a digest or the requested name, never from a file's name. A file from the
Hub enters its cache (`hub_cache`) only with the announced digest; requests and errors are in `hub_client` and `hub_errors`.
To add one: a published model is an entry of `CATALOG`; another kind of source is a case in `resolve`.
"""
