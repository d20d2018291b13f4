"""The files of a study's arms: the figures of those that are finished, and the folder of one that is measured."""

import hashlib
import json
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from allmlp.errors import CheckpointError
from allmlp.io.atomic_write import write_json
from allmlp.io.display import Report, escape
from allmlp.studies.study import Arm

__all__ = ["finished_arms", "store_figures", "stored_figures", "working_folder"]

_ARMS, _SETTINGS = "arms", "settings.json"


def finished_arms(folder: Path) -> list[Arm]:
    """Return the arms whose figures are stored in the folder of a study.

    Raises:
        CheckpointError: a file is damaged.
    """
    arms = []
    for path in sorted((folder / _ARMS).glob("*.json")):
        try:
            stored = json.loads(path.read_bytes())
            arms.append(Arm(stored["name"], stored["settings"], stored["seed"]))
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise _damaged(path) from error
    return arms


def stored_figures(folder: Path, arm: Arm) -> dict[str, Any] | None:
    """Return what was stored for an arm, or None if it is not finished or its settings have changed.

    Raises:
        CheckpointError: the file is damaged.
    """
    path = _figures_file(folder, arm)
    if not path.exists():
        return None
    try:
        stored = json.loads(path.read_bytes())
        is_same = {"settings": stored["settings"], "seed": stored["seed"]} == _identity(arm)
        if not (isinstance(stored["figures"], dict) and isinstance(stored["environment"], dict)):
            raise TypeError
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise _damaged(path) from error
    return dict(stored) if is_same else None


def store_figures(folder: Path, arm: Arm, figures: Mapping[str, Any], environment: Mapping[str, str]) -> dict[str, Any]:
    """Store the figures of a finished arm, delete the folder that it worked in, and return what `stored_figures` does."""
    content = {"name": arm.name, **_identity(arm), "environment": dict(environment), "figures": dict(figures)}
    path = write_json(_figures_file(folder, arm), content)
    shutil.rmtree(folder / _ARMS / _slug(arm), ignore_errors=True)
    return dict(json.loads(path.read_text()))


def working_folder(folder: Path, arm: Arm, report: Report) -> Path:
    """Return the folder in which an arm is measured, with what the arm left there when it was stopped.

    What was left there with other settings is deleted: weights in training say nothing about the settings of their schedule.
    """
    path = folder / _ARMS / _slug(arm)
    try:
        is_same = json.loads((path / _SETTINGS).read_bytes()) == _identity(arm)
    except (OSError, ValueError):
        is_same = False
    if path.exists() and not is_same:
        report("  what this arm left has other settings, or is of an older version; it starts again")
        shutil.rmtree(path)
    path.mkdir(parents=True, exist_ok=True)
    if not is_same:
        write_json(path / _SETTINGS, _identity(arm))
    return path


def _identity(arm: Arm) -> dict[str, Any]:
    """Return what decides the result of an arm, as it is read from a file."""
    return dict(json.loads(json.dumps({"settings": dict(arm.settings), "seed": arm.seed})))


def _figures_file(folder: Path, arm: Arm) -> Path:
    return folder / _ARMS / f"{_slug(arm)}.json"


def _slug(arm: Arm) -> str:
    """Return a file name, which differs between arms whose names differ."""
    words = re.sub(r"[^a-z0-9]+", "-", arm.name.lower()).strip("-")[:60]
    return f"{words}-{hashlib.sha256(arm.name.encode()).hexdigest()[:6]}-{arm.seed}"


def _damaged(path: Path) -> CheckpointError:
    return CheckpointError(f"{escape(path)}: this file is damaged. Delete it: the arm is then measured again.")
