"""Reading the notes of a run on its photos: what was left out or decided when the run started."""

import json
from pathlib import Path

from allmlp.errors import ConfigError
from allmlp.io.path_problem import check_regular

__all__ = ["read_notes"]


def read_notes(path: Path) -> tuple[str, ...] | None:
    """Return the texts in a run's notes.json; None if there is no file, as in runs of older versions.

    Raises:
        ConfigError: the file cannot be read, or is not a list of texts.
    """
    if not path.exists():
        return None
    try:
        check_regular(path)
        notes = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(notes, list) or not all(isinstance(note, str) for note in notes):
            raise ValueError("expected a list of texts")
    except (OSError, ValueError, RecursionError) as error:
        raise ConfigError(
            f"{path}: cannot be read as the notes of a run ({error}). Restore it, or delete it to go on without them."
        ) from error
    return tuple(notes)
