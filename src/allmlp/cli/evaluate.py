"""`allmlp evaluate`."""

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from allmlp.cli.console import BatchSizeOption, DeviceOption, aligned, command_line, heading, next_commands
from allmlp.cli.loading import CheckpointArgument, ImageSizeOption, load
from allmlp.errors import CheckFailedError, CheckpointError, ConfigError, DataError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from allmlp.checkpoints import Checkpoint
    from allmlp.data import ImageDataset, Split
    from allmlp.evaluation import Metrics

__all__ = ["class_indices", "evaluate"]


class _Choice(NamedTuple):
    """The photos to score, and what to call them."""

    name: str
    photos: "Split"
    remark: str


def evaluate(
    checkpoint: CheckpointArgument,
    data: Annotated[
        str, typer.Argument(metavar="DATA", help="Labelled photos, in any form that train takes.", show_default=False)
    ],
    split: Annotated[
        str | None,
        typer.Option(help="train, validation (val) or test.", show_default="test, else validation, else train"),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    min_top1: Annotated[
        float | None, typer.Option(help="Exit with 6 when top-1, a fraction, is lower.", show_default=False)
    ] = None,
    image_size: ImageSizeOption = None,
    batch_size: BatchSizeOption = 64,
    device: DeviceOption = "auto",
) -> None:
    """Score a checkpoint on labelled photos. Prints top-1, top-5, balanced accuracy, loss, and every class."""
    if min_top1 is not None and not 0.0 <= min_top1 <= 1.0:
        raise ConfigError(f"--min-top1 is {min_top1}; expected a fraction from 0 to 1, such as 0.9.")
    from allmlp.data import open_dataset

    loaded = load(checkpoint, image_size)
    dataset = open_dataset(data)
    indices = class_indices(dataset.class_names, loaded.class_names, where=dataset.source)
    choice = _choose(dataset, _saved_split(Path(checkpoint)), split)
    if not as_json:
        for line in (*dataset.notes, f"{choice.name}: {len(choice.photos):,} photos. {choice.remark}".rstrip()):
            print(line)
    metrics = _score(loaded, dataset, choice, indices, batch_size=batch_size, device=device)
    if as_json:
        facts = {"checkpoint": checkpoint, "data": data, "split": choice.name, "remark": choice.remark}
        print(json.dumps({**facts, **metrics.to_dict()}, indent=2, allow_nan=False))
    else:
        _print(metrics)
        next_commands([(f"{command_line('predict', checkpoint)} PHOTO.jpg", "name photos or whole folders of them")])
    if min_top1 is not None and metrics.top1 < min_top1:
        raise CheckFailedError(f"top-1 is {metrics.top1:.4f}, less than --min-top1 {min_top1}.")


def class_indices(names: "Sequence[str]", known: "Sequence[str]", *, where: str) -> "NDArray[np.int64]":
    """Return, for each class of a data set, its index among a checkpoint's classes, by name: int64 (n,).

    Where the checkpoint's classes are ImageNet's, folders may be named by synsets (n01440764), as ImageNet's are.

    Raises:
        DataError: classes that the checkpoint does not know, all of them.
    """
    import numpy as np

    from allmlp.data import printable, synsets_of

    aliases = synsets_of(known) or ()
    positions = {name: index for index, name in (*enumerate(aliases), *enumerate(known))}
    unknown = sorted(set(names) - set(positions))
    if unknown:
        raise DataError(
            f"{printable(where)}: the checkpoint does not know {len(unknown)} of {len(names)} classes: "
            f"{', '.join(map(printable, unknown))}. It knows: {', '.join(map(printable, known[:50]))}"
            f"{', ...' if len(known) > 50 else ''}. Rename or remove the folders (or labels) of the others."
        )
    return np.array([positions[name] for name in names], dtype=np.int64)


def _saved_split(checkpoint: Path) -> "Mapping[str, list[str]]":
    """Return identities by split as the run kept them; nothing when the checkpoint is not in a run folder."""
    if not checkpoint.exists():  # a name of `allmlp models`, a repository on the hub
        return {}
    folder = (checkpoint if checkpoint.is_dir() else checkpoint.parent).absolute()
    # RUN, RUN/checkpoints or RUN/checkpoints/best. A run also has a recipe: another tool's split.json is not ours.
    places = (folder, *(place.parent for place in (folder, folder.parent) if place.name == "checkpoints"))
    paths = (place / "split.json" for place in places if (place / "recipe.json").is_file())
    path = next((path for path in paths if path.is_file()), None)
    if path is None:
        return {}
    try:
        saved = json.loads(path.read_text(encoding="utf-8"))
        return {str(name): [str(identity) for identity in identities] for name, identities in saved.items()}
    except (OSError, ValueError, AttributeError, TypeError) as error:
        raise CheckpointError(
            f"{path}: cannot be read as a run's split ({error}). Restore it, or delete it."
        ) from error


def _choose(dataset: "ImageDataset", saved: "Mapping[str, list[str]]", wanted: str | None) -> _Choice:
    from allmlp.data import split_named

    splits, is_divided = _divided(dataset, saved)
    name = split_named(wanted or "") or wanted  # val and valid mean validation, as everywhere
    name = name or next(name for name in ("test", "validation", "train") if name in splits)
    if name not in splits:
        raise ConfigError(f"--split {name}: {dataset.source} has no such split. It has: {', '.join(splits)}.")
    remark = ""
    if is_divided and name != "test":
        remark = "Divided as the run's split.json says."
    elif list(splits) == ["train"]:
        remark = "These are all photos."
    num_known = len(set(splits[name].identities) & set(saved.get("train", ())))
    if name == "train" and num_known:
        remark += f" The model was trained on {num_known:,} photos of the same names: expect too good a score."
    return _Choice(name, splits[name], remark.strip())


def _divided(dataset: "ImageDataset", saved: "Mapping[str, list[str]]") -> "tuple[dict[str, Split], bool]":
    """Divide the train photos as the run did, when they are the photos that the run had; say whether they are."""
    splits = dict(dataset.splits)
    if "validation" in splits or "train" not in splits or not {"train", "validation"} <= set(saved):
        return splits, False
    photos = splits["train"]
    if set(photos.identities) != {*saved["train"], *saved["validation"]}:
        return splits, False
    for name in ("train", "validation"):
        members = set(saved[name])
        splits[name] = photos.subset([index for index, one in enumerate(photos.identities) if one in members])
    return splits, True


def _score(
    checkpoint: "Checkpoint",
    dataset: "ImageDataset",
    choice: _Choice,
    indices: "NDArray[np.int64]",
    *,
    batch_size: int,
    device: str,
) -> "Metrics":
    from dataclasses import replace

    from allmlp.data import check_photos, evaluation_batches, fitted_photos
    from allmlp.evaluation import evaluate as score
    from allmlp.inference import eager_forward

    num_workers = min(os.cpu_count() or 1, 16)
    forward = eager_forward(checkpoint, device=device)
    batches = evaluation_batches(
        fitted_photos(choice.photos, checkpoint.preprocessing, num_workers=num_workers),
        indices[choice.photos.labels],
        checkpoint.preprocessing,
        num_classes=len(checkpoint.class_names),
        batch_size=min(batch_size, len(choice.photos)),  # a batch is filled up to its size
    )
    try:
        return score(forward, batches, checkpoint.class_names)
    except DataError:
        # Scoring stopped at the first bad photo: read them all, so that all are named.
        chosen = replace(dataset, splits={choice.name: choice.photos})
        check_photos(chosen, splits=(choice.name,), num_workers=num_workers)
        raise


def _print(metrics: "Metrics") -> None:
    from allmlp.data import printable

    print()
    rows = [
        ("top-1", f"{metrics.top1:.2%}"),
        ("top-5", f"{metrics.top5:.2%}"),
        ("balanced", f"{metrics.balanced_accuracy:.2%}"),
        ("loss", f"{metrics.loss:.4f}"),
    ]
    for line in aligned(rows, right=(1,)):
        print(line)
    print()
    classes = [
        (printable(one.name), f"{one.num_examples:,}", f"{one.recall:.1%}", f"{one.precision:.1%}")
        for one in metrics.per_class
        if one.num_examples
    ]
    lines = aligned([("class", "photos", "accuracy", "precision"), *classes], right=(1, 2, 3))
    heading(lines[0])
    print("\n".join(lines[1:]))
