"""Serving: a model answers HTTP requests, on any backend; without torch where an export allows it.

Safe to change: `routes` and page/ (what is answered), http/, `instruments` (what is counted), `ray_deployment`.
Invariants: an answer equals that of `Predictor`; a photo's error is its own; every queue and every answer is bounded; the event
    loop neither decodes, computes nor writes answers; workers answer with one model; health needs no key.
To add one: a route is a function in `routes` and a line in docs/serving.md; a limit is a field of `ServeOptions`.
"""

import importlib
from typing import TYPE_CHECKING, Any

from allmlp.serve.options import ServeOptions, check_extra, keys_of_variable

if TYPE_CHECKING:
    from allmlp.serve.application import app
    from allmlp.serve.ray_deployment import RaySettings, ray_app
    from allmlp.serve.server import serve

__all__ = ["RaySettings", "ServeOptions", "app", "check_extra", "keys_of_variable", "ray_app", "serve"]

# Loaded on first use, for they need the extra.
_MODULES = {
    "RaySettings": "allmlp.serve.ray_deployment",
    "app": "allmlp.serve.application",
    "ray_app": "allmlp.serve.ray_deployment",
    "serve": "allmlp.serve.server",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    check_extra()
    return getattr(importlib.import_module(_MODULES[name]), name)
