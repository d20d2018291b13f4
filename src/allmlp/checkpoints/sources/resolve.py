"""What a source is: a catalogue name, a repository on the hub, a folder of ours or timm's, or a file of weights."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from allmlp.checkpoints.description import FORMAT
from allmlp.checkpoints.formats.file_names import CONFIG_FILE, WEIGHTS_FILE, WEIGHTS_FILES
from allmlp.checkpoints.sources.catalog import CATALOG, PublishedModel, find_published
from allmlp.checkpoints.sources.published import fetch_hub, fetch_published, known_digest
from allmlp.errors import CheckpointError, did_you_mean
from allmlp.io.json_object import read_json_object
from allmlp.runs.layout import RunLayout, SweepLayout

__all__ = ["STARTER", "ResolvedSource", "is_bare_file", "resolve_source"]

_HUB = "hf:"

STARTER = "starter"
"""The name of the weights that come with allmlp, whatever lies beside: a folder of this name is "./starter"."""

_STARTER_FOLDER = Path(__file__).parents[1] / "starter"
_INDEX_FILES = tuple(f"{name}.index.json" for name in WEIGHTS_FILES)


@dataclass(frozen=True, kw_only=True)
class ResolvedSource:
    """Where a checkpoint was found.

    Attributes:
        kind: "allmlp" or "timm": a folder with config.json in their words; "weights": a file without one.
        folder: that holds `weights` and, but for kind "weights", config.json.
        weights: the file of the weights; it need not be there.
        published: what the weights are, when the source named it or the file's digest proves it.
        evidence: how `published` is known, or where the weights came from, for people.
    """

    kind: Literal["allmlp", "timm", "weights"]
    folder: Path
    weights: Path
    published: PublishedModel | None = None
    evidence: str


def resolve_source(source: str | Path) -> ResolvedSource:
    """Find a checkpoint. A path goes before a name of the catalogue, not before `STARTER`. Downloads what is not here.

    Raises:
        CheckpointError: nothing usable there, or a download that failed.
    """
    if isinstance(source, str):
        if not source:  # which pathlib takes for the current folder
            raise CheckpointError("The checkpoint's name is empty: a variable of the shell may not be set.")
        if source.startswith(_HUB):
            return _on_hub(source)
        if source == STARTER:
            return _local(_STARTER_FOLDER, None, evidence=source)
        if not _exists(Path(source)) and (published := find_published(source)) is not None:
            return _named(published)
    if not _exists(Path(source)):
        raise CheckpointError(f"{source}: there is no such checkpoint.{_advice(str(source))}")
    return _local(Path(source), None, evidence=str(source))


def is_bare_file(source: str | Path) -> bool:
    """Whether `source` is a file on this machine that nothing but its weights describes: no image size is known of it.

    Raises:
        CheckpointError: nothing usable there.
    """
    if (isinstance(source, str) and source.startswith(_HUB)) or not _exists(Path(source)):
        return False
    place = resolve_source(source)
    return place.kind == "weights" and place.published is None


def _on_hub(source: str) -> ResolvedSource:
    repository, _, revision = source.removeprefix(_HUB).partition("@")
    if repository.count("/") != 1 or not all(repository.split("/")):
        example = "hf:timm/mixer_b16_224.goog_in21k"
        raise CheckpointError(f"{source}: expected hf:OWNER/NAME or hf:OWNER/NAME@REVISION, such as {example}.")
    published = find_published(repository) if repository.startswith("timm/") else None
    # The catalogue speaks of the newest revision; another may hold other weights.
    if published is not None and not revision:
        return _named(published)
    return _local(fetch_hub(repository, revision=revision or None), None, evidence=source)


def _named(published: PublishedModel) -> ResolvedSource:
    origin = f"hf:{published.hub_repository}" if published.hub_repository else f"Google's {published.url_path}"
    return _local(fetch_published(published), published, evidence=f"{published.name}: {published.trained_on}; {origin}")


def _local(path: Path, published: PublishedModel | None, *, evidence: str) -> ResolvedSource:
    try:
        folder = _folder(path)
        if folder is None:
            return _weights_file(path, published, evidence)
        named = path if path.name in WEIGHTS_FILES and not path.is_dir() else None
        return _described(folder, named, published, evidence)
    except OSError as error:  # a name that is too long, a folder that may not be read
        raise CheckpointError(f"{path}: could not be read ({error.strerror or error}).") from error


def _folder(path: Path) -> Path | None:
    """Return the folder whose config.json describes the weights; None for a file of weights alone."""
    if not path.is_dir():
        beside = path.parent / CONFIG_FILE
        if path.name == CONFIG_FILE or (path.name in WEIGHTS_FILES and beside.is_file()):
            return path.parent
        return None
    for candidate in (path, RunLayout(path).checkpoint("best"), path / "best"):
        if (candidate / CONFIG_FILE).is_file():
            return candidate
    _refuse_grid(path)
    for name in WEIGHTS_FILES:
        if (path / name).exists():
            raise CheckpointError(
                f"{path}: not a checkpoint: there is no {CONFIG_FILE} beside {name} in it. "
                f"To read the weights alone, name the file: {path / name}."
            )
    raise CheckpointError(
        f"{path}: not a checkpoint: there is no {CONFIG_FILE} beside {WEIGHTS_FILE} in it. "
        f"Expected a run folder (with checkpoints/best) or a checkpoint folder."
    )


def _refuse_grid(folder: Path) -> None:
    """Name the best run of a grid, which is a run a learning rate (`allmlp finetune --lr-grid`)."""
    sweep = SweepLayout(folder)
    report = sweep.scores
    if not report.is_file() or not sweep.runs():
        return
    best = read_json_object(report).get("best")
    shown = f"the best is {folder / best}" if isinstance(best, str) else f"{report} has their scores"
    raise CheckpointError(f"{folder}: this is a grid, a run a learning rate. Name one of its runs: {shown}.")


def _described(folder: Path, named: Path | None, published: PublishedModel | None, evidence: str) -> ResolvedSource:
    """Return the place that a config.json describes; `named` is the file of weights that the source named, if it did."""
    values = read_json_object(folder / CONFIG_FILE)
    if values.get("format") == FORMAT:
        if named is not None and named.name != WEIGHTS_FILE:
            raise CheckpointError(
                f"{named}: {CONFIG_FILE} beside it describes {WEIGHTS_FILE} alone. To read other weights, move this file "
                "to a folder of its own."
            )
        return ResolvedSource(kind="allmlp", folder=folder, weights=folder / WEIGHTS_FILE, evidence=evidence)
    if not {"architecture", "pretrained_cfg", "model_type"} & set(values):
        raise CheckpointError(
            f'{folder / CONFIG_FILE}: not a configuration of allmlp (it lacks "format": "{FORMAT}"), and none of timm '
            '(it lacks "architecture").'
        )
    weights = named or next((folder / name for name in WEIGHTS_FILES if (folder / name).exists()), None)
    if weights is None:
        _refuse_shards(folder)
        raise CheckpointError(
            f"{folder}: there are no weights beside {CONFIG_FILE}: expected {' or '.join(WEIGHTS_FILES)}."
        )
    return ResolvedSource(kind="timm", folder=folder, weights=weights, published=published, evidence=evidence)


def _refuse_shards(folder: Path) -> None:
    for name in _INDEX_FILES:
        if (folder / name).exists():
            raise CheckpointError(
                f"{folder / name}: these weights lie in several files (shards), which allmlp does not read: no Mixer is so "
                f"large. Save them as one {WEIGHTS_FILE}."
            )


def _weights_file(path: Path, published: PublishedModel | None, evidence: str) -> ResolvedSource:
    if published is None and (published := known_digest(path)) is not None:
        evidence = f"{path}: {published.name} by its SHA-256: {published.trained_on}"
    return ResolvedSource(kind="weights", folder=path.parent, weights=path, published=published, evidence=evidence)


def _exists(path: Path) -> bool:
    try:
        return path.exists() or path.is_symlink()
    except OSError as error:
        raise CheckpointError(f"{path}: could not be read ({error.strerror or error}).") from error


def _advice(source: str) -> str:
    near = did_you_mean(source, CATALOG)
    if not near and source.count("/") == 1 and all(source.split("/")):
        near = f" Did you mean hf:{source}, a repository on the Hugging Face hub?"
    return (
        f"{near} Expected a run folder, a checkpoint folder, a file of weights (.npz, .safetensors, .pth), "
        "hf:OWNER/NAME, or a published Mixer (`allmlp models` lists them)."
    )
