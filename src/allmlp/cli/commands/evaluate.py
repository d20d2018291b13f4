"""`allmlp evaluate`."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from allmlp.cli.arguments.checkpoint import CheckpointArgument, ImageSizeOption, load, size_words
from allmlp.cli.commands.few_shot import FewShotOptions, evaluate_few_shot, parse_shots
from allmlp.cli.commands.splits import Choice, choose, saved_split
from allmlp.cli.console import BatchSizeOption, DeviceOption, aligned, command_line, heading, next_commands
from allmlp.errors import CheckFailedError, ConfigError, DataError

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    from allmlp.checkpoints import Checkpoint
    from allmlp.data import ImageDataset
    from allmlp.metrics import Metrics

__all__ = ["class_indices", "evaluate"]


def evaluate(
    checkpoint: CheckpointArgument,
    data: Annotated[
        str, typer.Argument(metavar="DATA", help="Labelled photos, in any form that train takes.", show_default=False)
    ],
    split: Annotated[
        str | None,
        typer.Option(help="train, validation (val) or test.", show_default="test, else validation, else train"),
    ] = None,
    shots: Annotated[
        str | None,
        typer.Option(
            metavar="N,N,...",
            help="Few-shot instead: a linear classifier on frozen features, from N train photos a class.",
            show_default=False,
        ),
    ] = None,
    labels: Annotated[
        Path | None,
        typer.Option(
            metavar="JSON",
            help="Sets of labels instead of DATA's, such as ImageNet's ReaL: right is what is in the set.",
            show_default=False,
        ),
    ] = None,
    draws: Annotated[int | None, typer.Option(min=1, help="With --shots: of other photos.", show_default="3")] = None,
    seed: Annotated[int | None, typer.Option(help="With --shots: another gives others.", show_default="0")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    min_top1: Annotated[
        float | None, typer.Option(help="Exit with 6 when top-1, a fraction, is lower.", show_default=False)
    ] = None,
    image_size: ImageSizeOption = None,
    batch_size: BatchSizeOption = 64,
    device: DeviceOption = "auto",
) -> None:
    """Score a checkpoint on labelled photos. Prints top-1, top-5, balanced accuracy, loss, calibration, and every class."""
    if min_top1 is not None and not 0.0 <= min_top1 <= 1.0:
        raise ConfigError(f"--min-top1 is {min_top1}; expected a fraction from 0 to 1, such as 0.9.")
    few_shot = _few_shot_options(shots, draws, seed, labels=labels, min_top1=min_top1)
    from allmlp.data import open_dataset

    loaded = load(checkpoint, image_size)
    dataset = open_dataset(data)
    if few_shot is not None:
        evaluate_few_shot(
            checkpoint,
            data,
            loaded,
            dataset,
            few_shot,
            image_size=image_size,
            split=split,
            as_json=as_json,
            batch_size=batch_size,
            device=device,
        )
        return
    indices = _indices(dataset, loaded, are_needed=labels is None)
    choice = choose(dataset, saved_split(checkpoint), split)
    if not as_json:
        for line in (*dataset.notes, f"{choice.name}: {len(choice.photos):,} photos. {choice.remark}".rstrip()):
            print(line)
    truths = None if indices is None else indices[choice.photos.labels]
    wanted = truths if labels is None else _label_sets(labels, dataset, choice, loaded)
    assert wanted is not None
    metrics = _score(loaded, choice, wanted, batch_size=batch_size, device=device)
    original = None if labels is None or truths is None else float((metrics.predictions == truths).mean())
    if as_json:
        facts: dict[str, Any] = {"checkpoint": checkpoint, "data": data, "split": choice.name, "remark": choice.remark}
        facts["image_size"] = list(loaded.config.image_size)
        facts |= {"labels": None if labels is None else str(labels), "original_top1": original}
        facts = {name: value for name, value in facts.items() if value is not None}
        print(json.dumps({**facts, **metrics.to_dict()}, indent=2, allow_nan=False))
    else:
        _print(metrics, original, by_sets=labels is not None)
        command = f"{command_line('predict', checkpoint, *size_words(image_size))} PHOTO.jpg"
        next_commands([(command, "name photos or whole folders of them")])
    if min_top1 is not None and metrics.top1 < min_top1:
        raise CheckFailedError(f"top-1 is {metrics.top1:.4f}, less than --min-top1 {min_top1}.")


def _few_shot_options(
    shots: str | None, draws: int | None, seed: int | None, *, labels: Path | None, min_top1: float | None
) -> FewShotOptions | None:
    """Return what --shots and its companions ask for; None without it.

    Raises:
        ConfigError: an option that would have no effect, all of them.
    """
    if shots is None:
        alone = [name for name, value in (("--draws", draws), ("--seed", seed)) if value is not None]
        if alone:
            raise ConfigError(
                f"{' and '.join(alone)} without --shots has no effect; add --shots 1,5,10,25 or leave it out."
            )
        return None
    if labels is not None or min_top1 is not None:
        other = "--labels" if min_top1 is None else "--min-top1" if labels is None else "--labels and --min-top1"
        raise ConfigError(
            f"{other} cannot go with --shots, which fits a classifier of its own for each number of examples."
        )
    return FewShotOptions(parse_shots(shots), 3 if draws is None else draws, seed or 0)


def _indices(dataset: "ImageDataset", checkpoint: "Checkpoint", *, are_needed: bool) -> "NDArray[np.int64] | None":
    """Return the `class_indices` of a data set; None where they are not needed and the checkpoint does not know them all."""
    if not checkpoint.class_names:
        raise ConfigError(
            "This checkpoint has no classifier (num_classes is 0), so it cannot be scored. With --shots 1,5,10 one is fitted "
            "on its features."
        )
    try:
        return class_indices(dataset.class_names, checkpoint, where=dataset.source)
    except DataError:
        if are_needed:
            raise
        return None


def class_indices(names: "Sequence[str]", checkpoint: "Checkpoint", *, where: str) -> "NDArray[np.int64]":
    """Return, for each class of a data set, its index among a checkpoint's classes, by name: int64 (n,).

    Raises:
        DataError: classes that the checkpoint does not know, all of them.
    """
    import numpy as np

    from allmlp.io.display import escape

    rows, known = checkpoint.class_rows(names), checkpoint.class_names
    unknown = sorted(set(names) - set(rows))
    if unknown and checkpoint.has_placeholders:
        raise DataError(
            f"{escape(where)}: the checkpoint's classes are called 0 to {len(known) - 1}, as those of weights without names "
            "are; such numbers count as names only where the data has all of them. Load the weights from where their names "
            "come with them, such as a name of `allmlp models` or a folder with config.json."
        )
    if unknown:
        raise DataError(
            f"{escape(where)}: the checkpoint does not know {len(unknown)} of {len(names)} classes: "
            f"{', '.join(map(escape, unknown))}. It knows: {', '.join(map(escape, known[:50]))}"
            f"{', ...' if len(known) > 50 else ''}. Rename or remove the folders (or labels) of the others."
        )
    return np.array([rows[name] for name in names], dtype=np.int64)


def _label_sets(
    path: Path, dataset: "ImageDataset", choice: Choice, checkpoint: "Checkpoint"
) -> tuple[tuple[int, ...], ...]:
    from allmlp.data import read_label_sets

    rows = checkpoint.class_rows(dataset.class_names)
    return read_label_sets(path, choice.photos.sample_ids, rows, num_classes=len(checkpoint.class_names))


def _score(
    checkpoint: "Checkpoint",
    choice: Choice,
    labels: "NDArray[np.int64] | Sequence[Sequence[int]]",
    *,
    batch_size: int,
    device: str,
) -> "Metrics":
    from allmlp.data import split_batches
    from allmlp.inference import eager_forward
    from allmlp.metrics import evaluate as score

    forward = eager_forward(checkpoint, device=device)
    num_classes = len(checkpoint.class_names)
    batches = split_batches(
        choice.photos, labels, checkpoint.preprocessing, num_classes=num_classes, batch_size=batch_size
    )
    return score(forward, batches, checkpoint.class_names, temperature=checkpoint.temperature)


def _print(metrics: "Metrics", original_top1: float | None, *, by_sets: bool) -> None:
    from allmlp.io.display import escape

    print()
    if by_sets:
        print(f"By the sets of labels, {metrics.num_examples:,} photos that have one:")
    rows = [
        ("top-1", f"{metrics.top1:.2%}"),
        *([] if original_top1 is None else [("top-1 by DATA's own labels", f"{original_top1:.2%}")]),
        ("top-5", f"{metrics.top5:.2%}"),
        ("balanced", f"{metrics.balanced_accuracy:.2%}"),
        ("loss", f"{metrics.loss:.4f}"),
        ("calibration error", f"{metrics.expected_calibration_error:.2%}"),
    ]
    for line in aligned(rows, right=(1,)):
        print(line)
    if metrics.temperature != 1.0:
        print(
            f"\nLoss and calibration error are with the checkpoint's temperature, {metrics.temperature:.3g}. As trained: loss "
            f"{metrics.loss_as_trained:.4f}, calibration error {metrics.expected_calibration_error_as_trained:.2%}."
        )
    print()
    classes = [
        (escape(one.name), f"{one.num_examples:,}", f"{one.recall:.1%}", f"{one.precision:.1%}")
        for one in metrics.per_class
        if one.num_examples
    ]
    lines = aligned([("class", "photos", "accuracy", "precision"), *classes], right=(1, 2, 3))
    heading(lines[0])
    print("\n".join(lines[1:]))
