"""Serving: a model answers HTTP requests, on any backend; without torch where an export allows it.

Safe to change: `routes` and page/ (what is answered), `incoming` (accepted bodies), `instruments`, `access_log`.
Invariants: an answer equals that of `Predictor`; a photo's error is its own; every queue is bounded; the event loop neither
    decodes nor computes; health needs no key.
To add one: a route is a function in `routes` and a line in docs/serving.md; a limit is a field of `ServeOptions`.
"""

from allmlp.serve.application import app
from allmlp.serve.options import ServeOptions
from allmlp.serve.server import serve

__all__ = ["ServeOptions", "app", "serve"]
