"""Resolution of a source: a catalogue name, a repository on the Hub, a folder of ours or timm's, or a weight file."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from allmlp.checkpoints.containers.unknown_kinds import describe_folder
from allmlp.checkpoints.description import FORMAT
from allmlp.checkpoints.formats.file_names import CONFIG_FILE, WEIGHTS_FILE, WEIGHTS_FILES
from allmlp.checkpoints.sources.advice import advice_for
from allmlp.checkpoints.sources.catalog import PublishedModel, find_published
from allmlp.checkpoints.sources.published import fetch_hub, fetch_published, known_digest
from allmlp.errors import CheckpointError
from allmlp.io.display import escape, shorten, summarise
from allmlp.io.http_download import ReportProgress
from allmlp.io.json_object import read_json_object
from allmlp.runs.layout import RunLayout, SweepLayout

__all__ = [
    "STARTER",
    "AllmlpFolder",
    "BareFile",
    "PublishedFile",
    "ResolvedSource",
    "TimmFolder",
    "resolve_source",
]

_HUB = ("hf:", "hf-hub:", "hf_hub:")  # ours, and timm's

STARTER = "starter"
"""The name of the weights that come with allmlp. It takes precedence over a folder of this name, which is "./starter"."""

_STARTER_FOLDER = Path(__file__).parents[1] / "starter"
_INDEX_FILES = tuple(f"{name}.index.json" for name in WEIGHTS_FILES)


@dataclass(frozen=True, kw_only=True)
class AllmlpFolder:
    """A checkpoint folder in our format; `values` is the content of its config.json, `weights` may not exist."""

    folder: Path
    weights: Path
    values: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class TimmFolder:
    """A folder of timm or transformers; `values` is the content of its config.json, `evidence` its origin in words."""

    folder: Path
    weights: Path
    values: Mapping[str, Any]
    evidence: str


@dataclass(frozen=True, kw_only=True)
class PublishedFile:
    """The weights of a published model; `evidence` says how that is known: by the source's name or by its digest."""

    weights: Path
    published: PublishedModel
    evidence: str


@dataclass(frozen=True, kw_only=True)
class BareFile:
    """A local weight file without a configuration; `evidence` is its path."""

    weights: Path
    evidence: str


ResolvedSource = AllmlpFolder | TimmFolder | PublishedFile | BareFile
"""Where a checkpoint was found."""


def resolve_source(source: str | Path, *, report_progress: ReportProgress | None = None) -> ResolvedSource:
    """Find a checkpoint and download it if needed. A path takes precedence over a catalogue name, but not over `STARTER`.

    `report_progress` takes the number of bytes downloaded so far and the total.

    Raises:
        CheckpointError: `source` is not a usable checkpoint, or its download failed.
    """
    if isinstance(source, str):
        if not source:  # pathlib would make it the current folder
            raise CheckpointError("The checkpoint's name is empty: a shell variable may be unset.")
        if source.startswith(_HUB):
            return _on_hub(source, report_progress)
        if source == STARTER:
            return _local(_STARTER_FOLDER, None, evidence=source)
    if _exists(Path(source)):
        return _local(Path(source), None, evidence=str(source))
    name = str(source)  # a Path that does not exist may be a name, too
    if name == STARTER:
        return _local(_STARTER_FOLDER, None, evidence=name)
    if (published := find_published(name)) is not None:
        return _published(published, report_progress)
    raise CheckpointError(f"{shorten(escape(name), 300)}: there is no such checkpoint. {advice_for(name)}")


def _on_hub(source: str, report_progress: ReportProgress | None) -> ResolvedSource:
    repository, _, revision = source.partition(":")[2].partition("@")
    if repository.count("/") != 1 or not all(repository.split("/")):
        example = "hf:timm/mixer_b16_224.goog_in21k"
        raise CheckpointError(
            f"{shorten(escape(source), 300)}: expected hf:OWNER/NAME or hf:OWNER/NAME@REVISION, such as {example}."
        )
    published = find_published(repository) if repository.startswith("timm/") else None
    # The catalogue describes the newest revision; another may hold other weights.
    if published is not None and not revision:
        return _published(published, report_progress)
    folder = fetch_hub(repository, revision=revision or None, report_progress=report_progress)
    return _local(folder, None, evidence=source)


def _published(published: PublishedModel, report_progress: ReportProgress | None) -> ResolvedSource:
    origin = f"hf:{published.hub_repository}" if published.hub_repository else f"Google's {published.url_path}"
    path = fetch_published(published, report_progress=report_progress)
    return _local(path, published, evidence=f"{published.name}: {published.trained_on}; {origin}")


def _local(path: Path, published: PublishedModel | None, *, evidence: str) -> ResolvedSource:
    try:
        folder = _folder(path)
        if folder is None:
            return _weights_file(path, published, evidence)
        named_weights = path if path.name in WEIGHTS_FILES and not path.is_dir() else None
        return _described(folder, named_weights, published, evidence)
    except OSError as error:  # such as a name that is too long, or a folder without read permission
        raise CheckpointError(f"{path}: could not be read ({error.strerror or error}).") from error


def _folder(path: Path) -> Path | None:
    """Return the folder whose config.json describes the weights; None for a weight file without one."""
    if not path.is_dir():
        config_path = path.parent / CONFIG_FILE
        if path.name == CONFIG_FILE or (path.name in WEIGHTS_FILES and config_path.is_file()):
            return path.parent
        return None
    for candidate in (path, RunLayout(path).checkpoint("best"), path / "best"):
        if (candidate / CONFIG_FILE).is_file():
            return candidate
    _refuse_sweep(path)
    for name in WEIGHTS_FILES:
        if (path / name).exists():
            raise CheckpointError(
                f"{path}: not a checkpoint folder: it holds {name} but no {CONFIG_FILE}. "
                f"To load only the weights, name the file: {path / name}."
            )
    if RunLayout(path).recipe.is_file():
        raise CheckpointError(
            f"{path}: this run has no checkpoints/best yet: it was stopped before its first validation, or the folder was "
            f"removed. Continue it: allmlp train --resume {path}"
        )
    if description := describe_folder(path):
        raise CheckpointError(f"{path}: this is {description}.")
    raise CheckpointError(
        f"{path}: not a checkpoint folder: it holds no {CONFIG_FILE}. Expected a run folder (with checkpoints/best) or a "
        f"checkpoint folder (with {CONFIG_FILE} and {WEIGHTS_FILE})."
    )


def _refuse_sweep(folder: Path) -> None:
    """Name the best run of a learning-rate sweep (`allmlp finetune --lr-grid`)."""
    sweep = SweepLayout(folder)
    runs = sweep.runs()
    if not runs:
        return
    if sweep.scores.is_file():
        best = read_json_object(sweep.scores, what="the scores of a learning-rate sweep").get("best")
        shown = f"the best is {folder / best}" if isinstance(best, str) else f"{sweep.scores} has their scores"
    else:  # it was interrupted
        shown = summarise(runs)
    raise CheckpointError(
        f"{folder}: this is a learning-rate sweep: one run per learning rate. Name one of its runs: {shown}."
    )


def _described(
    folder: Path, named_weights: Path | None, published: PublishedModel | None, evidence: str
) -> ResolvedSource:
    """Return a folder with a config.json; `named_weights` is the weight file if the source named one."""
    values = read_json_object(folder / CONFIG_FILE)
    if values.get("format") == FORMAT:
        if named_weights is not None and named_weights.name != WEIGHTS_FILE:
            raise CheckpointError(
                f"{named_weights}: the {CONFIG_FILE} next to it describes only {WEIGHTS_FILE}. To load this file, move it to "
                "another folder."
            )
        return AllmlpFolder(folder=folder, weights=folder / WEIGHTS_FILE, values=values)
    if not {"architecture", "pretrained_cfg", "model_type"} & set(values):
        raise CheckpointError(
            f'{folder / CONFIG_FILE}: not a configuration written by allmlp (it lacks "format": "{FORMAT}") or timm '
            '(it lacks "architecture").'
        )
    weights = named_weights or next((folder / name for name in WEIGHTS_FILES if (folder / name).exists()), None)
    if weights is None:
        _refuse_shards(folder)
        raise CheckpointError(
            f"{folder}: there are no weights next to {CONFIG_FILE}; expected {' or '.join(WEIGHTS_FILES)}."
        )
    if published is not None:
        return PublishedFile(weights=weights, published=published, evidence=evidence)
    return TimmFolder(folder=folder, weights=weights, values=values, evidence=evidence)


def _refuse_shards(folder: Path) -> None:
    for name in _INDEX_FILES:
        if (folder / name).exists():
            raise CheckpointError(
                f"{folder / name}: these weights are in several files (shards), which allmlp does not read. "
                f"Save them as a single {WEIGHTS_FILE}."
            )


def _weights_file(path: Path, published: PublishedModel | None, evidence: str) -> ResolvedSource:
    if published is None and (published := known_digest(path)) is not None:
        evidence = f"{path}: {published.name} by its SHA-256: {published.trained_on}"
    if published is None:
        return BareFile(weights=path, evidence=evidence)
    return PublishedFile(weights=path, published=published, evidence=evidence)


def _exists(path: Path) -> bool:
    try:
        return path.exists() or path.is_symlink()
    except ValueError:  # a NUL character
        return False
    except OSError as error:
        raise CheckpointError(
            f"{shorten(escape(path), 300)}: could not be read ({error.strerror or error})."
        ) from error
