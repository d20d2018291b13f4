"""Which tasks are here: in a folder of the user, or as public data sets by name."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from allmlp.checkpoints import STARTER
from allmlp.data import DATASETS, is_downloaded, open_dataset
from allmlp.errors import ConfigError, DataError, did_you_mean
from allmlp.io.display import escape
from allmlp.studies.study import Arm, StudyOptions
from allmlp.studies.tasks.task import Task

__all__ = ["LABEL_SETS", "find_label_sets", "find_tasks", "task_arms"]

LABEL_SETS = "imagenet_real.json"
"""ImageNet's ReaL labels, next to the tasks."""

_SUFFIXES = ("", ".zip", ".csv")
_SUFFIXES_OF_ONE_SPLIT = (".parquet", ".tar")


def find_tasks(data: str | None, names: Sequence[str]) -> dict[str, str]:
    """Return the source of each task that is here, as `open_dataset` takes it, in the order of `names`.

    Args:
        data: a folder with a sub-folder NAME (of photos, Parquet files or tar shards), or a file NAME.zip or NAME.csv, per
            task, or with the folders of public data sets as torchvision names them; or public data sets by name,
            "cifar10,pets". None takes those public data sets that are on this machine.
        names: of the tasks.

    Raises:
        ConfigError: a name that is not a task or not a public data set.
        DataError: the folder does not exist or holds no task, a task is a file with a single split, or a named data set is
            not on this machine.
    """
    if data is None:
        return {name: name for name in names if name in DATASETS and is_downloaded(name)}
    words = data.split(",")
    if all(word.partition(":")[0] in DATASETS for word in words):
        return _named(words, names)
    folder = Path(data)
    if not folder.exists() and any(word.partition(":")[0] in DATASETS for word in words):
        unknown = next(word for word in words if word.partition(":")[0] not in DATASETS)
        raise ConfigError(
            f"{escape(data)}: {escape(unknown) or 'an empty name'} is not a public data set.{did_you_mean(unknown, names)} "
            f"Expected some of {', '.join(name for name in names if name in DATASETS)}, separated by commas."
        )
    if not data:
        raise DataError(
            "The name of the folder of tasks is empty; a shell variable may be unset. . is the current folder."
        )
    if not folder.is_dir():
        raise DataError(
            f"{escape(data)}: there is no such folder. Expected a folder with a sub-folder or zip per task, or public data "
            f"sets by name, such as cifar10,pets. The tasks are {', '.join(names)}."
        )
    found = {name: source for name in names if (source := _in_folder(folder, name)) is not None}
    if not found:
        raise DataError(
            f"{escape(folder)}: none of the tasks is in this folder. Expected sub-folders, or files such as {names[0]}.zip, "
            f"with the names of tasks: {', '.join(names)}."
        )
    return found


def find_label_sets(data: str | None) -> Path | None:
    """Return the file with ImageNet's ReaL labels in the folder of the tasks; None if it is not there."""
    path = Path(data or ".") / LABEL_SETS
    return path if data is not None and path.is_file() else None


def task_arms(tasks: Mapping[str, Task], options: StudyOptions, *, num_seeds: int) -> list[Arm]:
    """Return one arm per seed and task that is here; with other rules or another checkpoint, it is another measurement.

    Raises:
        ConfigError, DataError: as `find_tasks`.
    """
    here = find_tasks(options.data, list(tasks))
    return [
        Arm(name, _settings(tasks[name], options), seed)
        for seed in range(options.num_seeds or num_seeds)
        for name in here
    ]


def _settings(task: Task, options: StudyOptions) -> dict[str, Any]:
    return {
        "task": task.name,
        "checkpoint": options.checkpoint or STARTER,
        "num_steps": options.num_steps or task.num_steps,
        "learning_rates": list(task.learning_rates),
        "held_out": task.held_out,
        "crops": task.crops,
        "flips": task.flips,
        "squashed": task.squashed,
        "has_large_images": task.has_large_images,
        "has_label_sets": task.name == "imagenet" and find_label_sets(options.data) is not None,
    }


def _named(words: Sequence[str], names: Sequence[str]) -> dict[str, str]:
    given = {word.partition(":")[0]: word for word in words}
    for name, word in given.items():
        if name not in names:
            raise ConfigError(
                f"{name} is not a task here.{did_you_mean(name, names)} Expected some of {', '.join(names)}."
            )
        if not is_downloaded(word):
            open_dataset(word)  # says how to get it
    return {name: given[name] for name in names if name in given}


def _in_folder(folder: Path, name: str) -> str | None:
    for suffix in _SUFFIXES:
        if (folder / f"{name}{suffix}").exists():
            return str(folder / f"{name}{suffix}")
    for suffix in _SUFFIXES_OF_ONE_SPLIT:
        if (path := folder / f"{name}{suffix}").exists():
            raise DataError(
                f"{escape(path)}: a task needs train and test photos, and this file has one split. Make a folder {name} with "
                f"train{suffix} and test{suffix}."
            )
    public = DATASETS.get(name)
    if public is not None and public.folder and (folder / public.folder).is_dir():
        return f"{name}:{folder}"
    return None
