"""Checkpoints: loaded from any source, saved in our format, timm's or Google's, and published.

Each name loads its module on first use: a prediction with an export needs few of them.
Safe to change: `load` (the path from a source to a `Checkpoint`), `assumptions`, and sources/, containers/, naming/, formats/,
publish/.
Invariants: the keys of config.json (`description`): files of older versions must stay readable.
To add one: see the sub-package; the names that other packages may use are in `__all__` here.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from allmlp.checkpoints.arrays import ArrayCheckpoint, as_arrays, load_arrays
    from allmlp.checkpoints.checkpoint import Checkpoint
    from allmlp.checkpoints.containers.safetensors import safetensors_header, write_safetensors
    from allmlp.checkpoints.description import ModelDescription, PreprocessingChanges, dropped_threshold
    from allmlp.checkpoints.formats.native import save_checkpoint
    from allmlp.checkpoints.formats.registry import FORMATS, Format
    from allmlp.checkpoints.load import load_checkpoint, load_for_size
    from allmlp.checkpoints.publish.push import PushResult, check_push_names, push
    from allmlp.checkpoints.sources.catalog import CATALOG, PublishedModel
    from allmlp.checkpoints.sources.published import is_cached
    from allmlp.checkpoints.sources.resolve import STARTER
    from allmlp.checkpoints.unknown_rule import UnknownRule, encode_statistics

__all__ = [
    "CATALOG",
    "FORMATS",
    "STARTER",
    "ArrayCheckpoint",
    "Checkpoint",
    "Format",
    "ModelDescription",
    "PreprocessingChanges",
    "PublishedModel",
    "PushResult",
    "UnknownRule",
    "as_arrays",
    "check_push_names",
    "dropped_threshold",
    "encode_statistics",
    "is_cached",
    "load_arrays",
    "load_checkpoint",
    "load_for_size",
    "push",
    "safetensors_header",
    "save_checkpoint",
    "write_safetensors",
]

_MODULES = {
    "arrays": (
        "ArrayCheckpoint",
        "as_arrays",
        "load_arrays",
    ),
    "checkpoint": ("Checkpoint",),
    "containers.safetensors": (
        "safetensors_header",
        "write_safetensors",
    ),
    "description": (
        "ModelDescription",
        "PreprocessingChanges",
        "dropped_threshold",
    ),
    "formats.native": ("save_checkpoint",),
    "formats.registry": (
        "FORMATS",
        "Format",
    ),
    "load": (
        "load_checkpoint",
        "load_for_size",
    ),
    "publish.push": (
        "PushResult",
        "check_push_names",
        "push",
    ),
    "sources.catalog": (
        "CATALOG",
        "PublishedModel",
    ),
    "sources.published": ("is_cached",),
    "sources.resolve": ("STARTER",),
    "unknown_rule": (
        "UnknownRule",
        "encode_statistics",
    ),
}
# A module must not share its name with one of these: Python would put the module in its place when it is loaded.
_HOMES = {name: f"{__name__}.{module}" for module, names in _MODULES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = value = getattr(importlib.import_module(_HOMES[name]), name)
    return value
