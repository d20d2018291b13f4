"""A folder of results: made for a new plan, or opened again to go on with its plan."""

import contextlib
import os
from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import IO, Any

from allmlp.bulk.claims import CLAIMS_FILE, Claims
from allmlp.bulk.list_file import check_list
from allmlp.bulk.part_files import PartState, check_foreign_files, is_leftover, owner, part_path, part_state
from allmlp.bulk.photo_list import PhotoList
from allmlp.bulk.plan import PLAN_FILE, ModelOptions, Plan, PlanOptions, Task, default_part_size
from allmlp.errors import ConfigError
from allmlp.io.atomic_write import reason_of, write_bytes, write_together
from allmlp.io.display import Report, escape, file_size, quote, summarise

__all__ = ["LIST_FILE", "PLAN_FILE", "Request", "ResultFolder", "is_result_folder", "open_results", "read_results"]

# Readers of Parquet folders (pyarrow, pandas, Spark) leave out names that start with "_" or ".".
LIST_FILE = "_photos.parquet"
_UNFINISHED = (f".{LIST_FILE}.", f".{PLAN_FILE}.")  # temporary files while a plan is made


@dataclass(frozen=True, kw_only=True)
class Request:
    """What a command asks for: the fields of a `Plan` before its photos are listed. `part_size` None: the default."""

    task: Task
    model: str
    model_sha256: str
    model_options: ModelOptions
    options: PlanOptions
    photos: tuple[str, ...]
    part_size: int | None = None


@dataclass(frozen=True)
class ResultFolder:
    """A folder with its plan. Parts appear in it, also from other processes."""

    path: Path
    plan: Plan

    @property
    def photo_list(self) -> Path:
        """The file that lists the photos."""
        return self.path / LIST_FILE

    def state(self, part: int) -> PartState:
        """Return the state of a part. Raises ConfigError if its file is not of this plan."""
        return part_state(self.path, self.plan, part)

    def states(self) -> list[PartState]:
        """Return the state of every part. Raises ConfigError if a file is not of this plan."""
        check_foreign_files(self.path, self.plan)
        return [self.state(part) for part in range(self.plan.num_parts)]

    def size(self) -> str:
        """Return the size of the parts, for people."""
        return file_size(sum(part_path(self.path, part).stat().st_size for part in range(self.plan.num_parts)))

    def finish(self) -> None:
        """Remove the file of claims, which a finished plan does not need."""
        with contextlib.suppress(OSError):
            (self.path / CLAIMS_FILE).unlink()


def is_result_folder(path: Path) -> bool:
    """Return whether a folder holds a plan."""
    with contextlib.suppress(OSError, ValueError):
        return (path / PLAN_FILE).is_file()
    return False


def read_results(folder: Path) -> ResultFolder:
    """Open a folder that has a plan.

    Raises:
        ConfigError: there is no plan, or it is damaged or newer.
    """
    if not is_result_folder(folder):
        raise ConfigError(
            f"{escape(folder)}: there is no {PLAN_FILE} in this folder; it was not written by predict or embed."
        )
    return ResultFolder(folder, Plan.read(folder / PLAN_FILE))


def open_results(
    folder: Path, request: Request, find: Callable[[], PhotoList], *, report: Report
) -> tuple[ResultFolder, bool]:
    """Return the folder with the plan of a request, and whether it is new; `find` lists the photos of a new one.

    Several processes may do so at once: one makes the plan, and the others read it.

    Raises:
        ConfigError: the folder has another plan, other contents, or cannot be written to.
        DataError: there are no photos.
    """
    if not is_result_folder(folder):
        _make(folder)
        claims = Claims(folder)
        try:
            with claims.plan():
                if not is_result_folder(folder):
                    report("Listing the photos ...")
                    return _new(folder, request, find()), True
        except BaseException:
            _remove_if_empty(folder)
            raise
        finally:
            claims.close()
    results = read_results(folder)
    _remove_unfinished(folder)
    _check_same(folder, results.plan, request)
    check_list(results.photo_list, results.plan.list_sha256)
    return results, False


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        names = sorted(os.listdir(folder))  # noqa: PTH208
    except OSError as error:
        raise ConfigError(f"{escape(folder)}: cannot be used ({reason_of(error)}). Choose another folder.") from error
    foreign = [name for name in names if name not in (CLAIMS_FILE, LIST_FILE) and not name.startswith(_UNFINISHED)]
    if foreign:
        raise ConfigError(
            f"{escape(folder)}: this folder is not empty ({summarise(foreign, limit=3)}), and has no plan of allmlp. "
            "Nothing is overwritten; choose a new folder."
        )


def _remove_unfinished(folder: Path) -> None:
    """Delete what processes left that were killed while they made the plan. Now that there is one, none here writes such."""
    for path in list(folder.iterdir()):
        if path.name.startswith(_UNFINISHED) and is_leftover(path):
            with contextlib.suppress(OSError):  # a folder that is only read
                path.unlink()


def _remove_if_empty(folder: Path) -> None:
    with contextlib.suppress(OSError):
        (folder / CLAIMS_FILE).unlink()
        folder.rmdir()


def _new(folder: Path, request: Request, found: PhotoList) -> ResultFolder:
    num_photos = len(found.names)
    part_size = request.part_size or default_part_size(num_photos)
    digests: list[str] = []

    def write(file: IO[bytes]) -> None:
        digests.append(found.write(file, part_size=part_size))

    write_together({folder / LIST_FILE: write}, owner=owner())
    values: dict[str, Any] = {field.name: getattr(request, field.name) for field in fields(request)}
    plan = Plan(
        **(values | {"part_size": part_size}),
        folder=os.getcwd(),  # noqa: PTH109
        roots=tuple(found.roots),
        num_photos=num_photos,
        list_sha256=digests[0],
    )
    write_bytes(folder / PLAN_FILE, plan.to_json(), owner=owner())
    _remove_unfinished(folder)
    return ResultFolder(folder, plan)


def _check_same(folder: Path, plan: Plan, request: Request) -> None:
    """Raise ConfigError that names the first difference between a plan and a request."""
    shown = escape(folder)
    advice = "Give the same arguments to go on with it, or another --out FOLDER/ for a new one."
    if plan.task != request.task:
        raise ConfigError(f"{shown}: holds the results of `allmlp {plan.task}`, not {request.task}. {advice}")
    if plan.model_sha256 != request.model_sha256:
        raise ConfigError(
            f"{shown}: holds the results of another model, {escape(plan.model)}, or of that model before it changed. {advice}"
        )
    if plan.photos != request.photos:
        raise ConfigError(f"{shown}: holds the results for other photos, {summarise(plan.photos, limit=3)}. {advice}")
    asked = request.part_size or plan.part_size
    mine = _values(plan.options) | _values(plan.model_options) | {"part_size": plan.part_size}
    theirs = _values(request.options) | _values(request.model_options) | {"part_size": asked}
    for name, value in theirs.items():
        if mine[name] != value:
            raise ConfigError(f"{shown}: holds results {_shown(name, mine[name])}, not {_shown(name, value)}. {advice}")


def _values(options: PlanOptions | ModelOptions) -> dict[str, Any]:
    values = {field.name: getattr(options, field.name) for field in fields(options)}
    preprocessing = values.pop("preprocessing", None)
    return (
        values
        if preprocessing is None
        else values | {f.name: getattr(preprocessing, f.name) for f in fields(preprocessing)}
    )


def _shown(name: str, value: Any) -> str:
    """Return a value of an option in words: "with --top-k 5", "without --flip"."""
    option = f"--{name.replace('_', '-')}"
    if isinstance(value, bool):
        return f"with --no-{name}" if name == "unknown" and not value else f"{'with' if value else 'without'} {option}"
    if value is None:
        return f"without {option}"
    if isinstance(value, tuple):
        return f"with {option} {('x' if name == 'image_size' else ',').join(map(str, value))}"
    return f"with {option} {quote(value)}"
