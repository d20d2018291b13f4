"""How a run keeps what the user named: a path to a checkpoint as an absolute one, a name as it is."""

from pathlib import Path

from allmlp.checkpoints import STARTER

__all__ = ["absolute_source", "is_same_source"]


def absolute_source(source: str) -> str:
    """Return a path to a checkpoint as an absolute one: a run may be resumed from another working directory."""
    return str(Path(source).absolute()) if source != STARTER and Path(source).exists() else source


def is_same_source(given: str | None, stored: str | None) -> bool:
    """Return whether the checkpoint `given` by the user is the one that a run was initialised from."""
    return given == stored or (given not in (None, STARTER) and str(Path(given).absolute()) == stored)
