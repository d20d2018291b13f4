"""The photos of a study and those of its tasks: opened, checked, and identified by digests."""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from allmlp.checkpoints import CATALOG, STARTER
from allmlp.data import DATASETS, ImageDataset, open_dataset
from allmlp.errors import ConfigError, DataError
from allmlp.io.display import counted, escape, quote
from allmlp.studies.learning.known_photos import recognised
from allmlp.studies.learning.photos import scored_split
from allmlp.studies.study import Study, StudyOptions

__all__ = ["StudyData", "check_photo_options", "check_unchanged", "open_study", "with_absolute_paths"]

_MIN_CLASSES = 2
# Names of tasks are names of folders and words of a command.
_TASK_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,39}")


class StudyData(NamedTuple):
    """The data sets of a study.

    photos: None if it has none, or if its arms open those of its tasks.
    tasks: by name; empty if it transfers to none.
    name: of the public data set that the photos are; None if they are not recognised.
    """

    photos: ImageDataset | None
    tasks: Mapping[str, ImageDataset]
    name: str | None = None

    def digests(self) -> dict[str, Any]:
        """Return digests of the names and classes of all photos, as JSON values."""
        return {
            "photos": None if self.photos is None else _digest(self.photos),
            "task_photos": {name: _digest(task) for name, task in self.tasks.items()},
        }

    def facts(self) -> dict[str, Any] | None:
        """Return the name, and the numbers of classes and photos, as JSON values; None without photos."""
        if self.photos is None:
            return None
        num_scored = len(scored_split(self.photos))
        return {
            "name": self.name,
            "num_classes": len(self.photos.class_names),
            "num_train": _num_photos(self.photos) - num_scored,
            "num_scored": num_scored,
        }


def with_absolute_paths(options: StudyOptions) -> StudyOptions:
    """Return the options with absolute paths, so that the study continues from any working directory."""
    data = None if options.data is None else _absolute(options.data)
    tasks = None if options.tasks is None else {name: _absolute(source) for name, source in options.tasks.items()}
    checkpoint = options.checkpoint
    if checkpoint is not None and checkpoint not in (STARTER, *CATALOG) and Path(checkpoint).exists():
        checkpoint = str(Path(checkpoint).absolute())
    return replace(options, data=data, tasks=tasks, checkpoint=checkpoint)


def check_photo_options(study: Study, options: StudyOptions) -> None:
    """Check that a study takes the photos and the tasks that it is given.

    Raises:
        ConfigError: it takes none, or a name of a task cannot be used.
    """
    if options.data is not None and study.data is None and not study.has_tasks:
        raise ConfigError(f"study {study.name} takes no photos; omit --data.")
    if options.tasks is None:
        return
    if not study.tasks:
        raise ConfigError(f"study {study.name} takes no tasks by name; omit --task.")
    if not options.tasks:
        raise ConfigError(f"study {study.name} needs at least one task; without --task, it takes its own.")
    for name in options.tasks:
        if not _TASK_NAME.fullmatch(name):
            raise ConfigError(
                f"the name of a task is {quote(name)}; expected up to 40 letters, digits, dots, hyphens and underscores, of "
                "which a letter or a digit is the first."
            )


def open_study(study: Study, options: StudyOptions) -> StudyData:
    """Return the data sets of a study, unless its arms open those of their tasks; then check that there is any.

    Raises:
        DataError: a split is missing, or there is one class only; or no task is here.
    """
    tasks = {name: _opened(source) for name, source in (options.tasks or study.tasks).items()}
    if study.has_tasks:
        if not study.arms(options):
            raise DataError(
                f"study {study.name}: none of its tasks is on this machine. Give them with --data; "
                f"allmlp study {study.name} --describe says how."
            )
        return StudyData(None, tasks)
    source = study.data if options.data is None else options.data
    if source is None:
        return StudyData(None, tasks)
    photos = _opened(source)
    return StudyData(photos, tasks, _name_of(photos, source))


def check_unchanged(data: StudyData, stored: Mapping[str, Any], folder: Path) -> None:
    """Check that the photos are those with which a study began; `stored` has their digests.

    Raises:
        DataError: they have changed.
    """
    known, found = stored.get("task_photos") or {}, data.digests()
    changed = [
        task for name, task in data.tasks.items() if known.get(name, found["task_photos"][name]) != _digest(task)
    ]
    if data.photos is not None and stored.get("photos") not in (None, found["photos"]):
        changed.insert(0, data.photos)
    if changed:
        raise DataError(
            f"{escape(changed[0].source)}: these are not the photos with which the study in {escape(folder)} began: some were "
            "added, removed, renamed or moved to another class. Restore them, or start a new study."
        )


def _name_of(photos: ImageDataset, source: str) -> str | None:
    """Return the name of a public data set that was opened by it, or that is recognised in another folder."""
    name = source.partition(":")[0]
    if name in DATASETS:
        return name
    num_test = len(scored_split(photos))
    return recognised(photos.class_names, num_test=num_test, num_train=_num_photos(photos) - num_test)


def _num_photos(photos: ImageDataset) -> int:
    return sum(map(len, photos.splits.values()))


def _opened(source: str) -> ImageDataset:
    data = open_dataset(source)
    scored_split(data)
    if len(data.class_names) < _MIN_CLASSES:
        raise DataError(
            f"{escape(data.source)}: {counted(len(data.class_names), 'class')}; a study needs at least {_MIN_CLASSES}, since "
            "every network classifies the photos of one class correctly."
        )
    return data


def _absolute(source: str) -> str:
    words = source.split(",")
    if all(word.partition(":")[0] in DATASETS for word in words):  # several, for a study of tasks
        return ",".join(map(_absolute_name, words))
    if source.partition(":")[0] in DATASETS:
        return _absolute_name(source)
    return str(Path(source).absolute()) if source and Path(source).exists() else source


def _absolute_name(source: str) -> str:
    name, colon, folder = source.partition(":")
    return f"{name}{colon}{Path(folder).expanduser().absolute()}" if folder else source


def _digest(data: ImageDataset) -> str:
    """Return a digest of the names and classes of all photos, which a copy of them keeps."""
    hashed = hashlib.sha256("\0".join(data.class_names).encode("utf-8", "surrogateescape"))
    for name, split in sorted(data.splits.items()):
        hashed.update("\0".join(["", name, *split.sample_ids, ""]).encode("utf-8", "surrogateescape"))
        hashed.update(split.labels.astype("<i8").tobytes())
    return hashed.hexdigest()
