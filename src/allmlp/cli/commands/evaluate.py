"""The command `allmlp evaluate`."""

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from allmlp.cli.arguments.checkpoint import (
    BackendOption,
    FitOption,
    ImageSizeOption,
    InterpolationOption,
    LawOption,
    MeanOption,
    ModelArgument,
    PrecisionOption,
    StdOption,
    changed_preprocessing,
    check_order,
    load_source,
    open_source,
    option_words,
)
from allmlp.cli.arguments.folder_options import ClassesFromOption, SplitFoldersOption, folder_options
from allmlp.cli.arguments.output_format import Format, FormatOption
from allmlp.cli.arguments.photos import MaxMegapixelsOption, limit_photos
from allmlp.cli.console import (
    BatchSizeOption,
    DeviceOption,
    aligned,
    command_line,
    heading,
    is_first_process,
    next_commands,
    note,
    say,
)
from allmlp.cli.outputs.evaluation_files import check_outputs, class_maps_of, write_outputs
from allmlp.cli.outputs.few_shot_scores import parse_shots, print_few_shot
from allmlp.cli.processes import joined_shares
from allmlp.cli.progress import photo_bar
from allmlp.errors import CheckFailedError, ConfigError
from allmlp.io.display import discard
from allmlp.io.json_object import json_text

if TYPE_CHECKING:
    from allmlp.evaluation import Evaluation
    from allmlp.metrics import FewShotOptions

__all__ = ["evaluate"]


def evaluate(
    checkpoint: ModelArgument,
    data: Annotated[
        str,
        typer.Argument(metavar="PHOTOS", help="Labelled photos, in any form that train accepts.", show_default=False),
    ],
    split: Annotated[
        str | None,
        typer.Option(
            help="The split to score: train, validation (val) or test.",
            show_default="test, else validation, else train",
        ),
    ] = None,
    report: Annotated[
        Path | None,
        typer.Option(
            metavar="OUT",
            help="Write a page to this new HTML file: confusions, scores of each class, worst mistakes, least sure photos.",
            show_default=False,
        ),
    ] = None,
    per_photo: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Write one row per photo to this new .csv or .parquet file: path, SHA-256, label, prediction, score.",
            show_default=False,
        ),
    ] = None,
    output_format: FormatOption = Format.TEXT,
    min_top1: Annotated[
        float | None, typer.Option(help="Exit with 6 if top-1 is lower than this fraction.", show_default=False)
    ] = None,
    image_size: ImageSizeOption = None,
    batch_size: BatchSizeOption = 64,
    device: DeviceOption = "auto",
    backend: BackendOption = "auto",
    precision: PrecisionOption = "auto",
    bad_photos: Annotated[
        str | None,
        typer.Option(
            metavar="stop|skip",
            help="What to do if photos cannot be decoded: name them and stop, or leave them out and count them.",
            show_default="stop",
        ),
    ] = None,
    classes_from: ClassesFromOption = None,
    split_folders: SplitFoldersOption = None,
    max_megapixels: MaxMegapixelsOption = None,
    labels: Annotated[
        Path | None,
        typer.Option(
            metavar="JSON",
            help="Score by these label sets, such as ImageNet's ReaL: any label in a photo's set counts as correct.",
            show_default=False,
        ),
    ] = None,
    shots: Annotated[
        str | None,
        typer.Option(
            metavar="N,N,...",
            help="Score a linear classifier on frozen features instead, from N training photos per class.",
            show_default=False,
        ),
    ] = None,
    draws: Annotated[
        int | None, typer.Option(min=1, help="With --shots: how often photos are drawn.", show_default="3")
    ] = None,
    seed: Annotated[
        int | None, typer.Option(help="With --shots: the random seed of the draws.", show_default="0")
    ] = None,
    mean: MeanOption = None,
    std: StdOption = None,
    interpolation: InterpolationOption = None,
    fit: FitOption = None,
    law: LawOption = None,
) -> None:
    """Score a checkpoint on labelled photos. Prints top-1, balanced accuracy, loss and class scores; --report writes a page.

    \b
    Examples:
      allmlp evaluate runs/mine PHOTOS --split test
      allmlp evaluate runs/mine PHOTOS --report scores.html --per-photo scores.csv
      allmlp evaluate runs/mine PHOTOS --format json --min-top1 0.9
    """
    limit_photos(max_megapixels)
    check_order("evaluate", checkpoint, [data])
    if min_top1 is not None and not 0.0 <= min_top1 <= 1.0:
        raise ConfigError(f"--min-top1 is {min_top1}; expected a fraction from 0 to 1, such as 0.9.")
    few_shot = _few_shot_options(shots, draws, seed, labels=labels, min_top1=min_top1)
    outputs = check_outputs(report, per_photo, is_few_shot=few_shot is not None)
    changes = changed_preprocessing(mean, std, interpolation, fit, law)
    photo_options = folder_options(classes_from, split_folders)
    from allmlp.data import open_dataset
    from allmlp.evaluation import split_of_run

    source = load_source(checkpoint, image_size, changes, backend)
    open_runnable = partial(open_source, source, backend=backend, precision=precision)
    is_json = output_format is Format.JSON
    is_quiet = is_json or not is_first_process()
    wrote = note if is_json else say
    options: dict[str, Any] = {
        "split": split,
        "batch_size": batch_size,
        "run": checkpoint if split_of_run(checkpoint) else None,
        "bad_photos": bad_photos or "stop",
    }
    options["report"] = discard if is_quiet else print
    if few_shot is not None:
        from allmlp.evaluation import evaluate_few_shot

        with joined_shares(device) as (shares, own_device), photo_bar() as progress:
            photos = open_dataset(data, **photo_options)
            options |= {"shares": shares, "progress": progress}
            result = evaluate_few_shot(open_runnable(own_device, "features"), photos, few_shot, **options)
        if is_first_process():
            print_few_shot(
                result,
                checkpoint,
                data,
                options=option_words(image_size, changes, backend=backend, precision=precision),
                as_json=output_format is Format.JSON,
            )
        return
    from allmlp.evaluation import evaluate as score

    with joined_shares(device) as (shares, own_device), photo_bar() as progress:
        photos = open_dataset(data, **photo_options)
        options |= {"shares": shares, "progress": progress}
        model = open_runnable(own_device, "logits")
        evaluation = score(model, photos, labels=labels, **options)
    if is_first_process():
        words = option_words(image_size, changes, backend=backend, precision=precision)
        if is_json:
            print(_as_json(evaluation, checkpoint, data, labels))
        else:
            _print(evaluation, by_sets=labels is not None)
        maps = () if outputs.report is None else class_maps_of(source, evaluation, backend=backend, device=device)
        write_outputs(
            outputs,
            evaluation,
            model=model.description,
            name=checkpoint,
            photos=photos,
            words=words,
            class_maps=maps,
            report=wrote,
        )
        if not is_json:
            command = f"{command_line('predict', checkpoint, *words)} PHOTO.jpg"
            next_commands([(command, "classify photos or whole folders")])
    if min_top1 is not None and evaluation.top1 < min_top1:
        raise CheckFailedError(f"top-1 is {evaluation.top1:.4f}, less than --min-top1 {min_top1}.")


def _few_shot_options(
    shots: str | None, draws: int | None, seed: int | None, *, labels: Path | None, min_top1: float | None
) -> "FewShotOptions | None":
    """Return the options of a few-shot evaluation; None without --shots.

    Raises:
        ConfigError: options that would have no effect, all of them in one message.
    """
    if shots is None:
        unused = [name for name, value in (("--draws", draws), ("--seed", seed)) if value is not None]
        if unused:
            options = " and ".join(unused)
            raise ConfigError(
                f"{options} without --shots would have no effect; add --shots 1,5,10,25 or omit {options}."
            )
        return None
    if labels is not None or min_top1 is not None:
        conflicting = "--labels" if min_top1 is None else "--min-top1" if labels is None else "--labels and --min-top1"
        raise ConfigError(
            f"{conflicting} cannot be combined with --shots, which scores one classifier per number of examples."
        )
    from allmlp.metrics import FewShotOptions

    return FewShotOptions(shots=parse_shots(shots), num_draws=3 if draws is None else draws, seed=seed or 0)


def _as_json(evaluation: "Evaluation", checkpoint: str, data: str, labels: Path | None) -> str:
    values: dict[str, Any] = {
        "checkpoint": checkpoint,
        "data": data,
        "split": evaluation.split,
        "remark": evaluation.remark,
        "num_trained_on": len(evaluation.trained_on),
        "image_size": list(evaluation.image_size),
        "labels": None if labels is None else str(labels),
        "original_top1": evaluation.original_top1,
    }
    values = {name: value for name, value in values.items() if value is not None}
    return json_text({**values, **evaluation.to_dict()}, indent=2, allow_nan=False)


def _print(metrics: "Evaluation", *, by_sets: bool) -> None:
    from allmlp.io.display import escape

    say()
    if by_sets:
        say(f"By label sets, on the {metrics.num_examples:,} photos that have one:")
    top1, *rows = metrics.rows()
    if metrics.original_top1 is not None:
        rows.insert(0, ("top-1 by the photos' own labels", f"{metrics.original_top1:.2%}"))
    say("\n".join(aligned([top1, *rows])))
    if metrics.has_fitted_temperature:
        error = f", calibration error {metrics.expected_calibration_error_as_trained:.2%}" * metrics.has_calibration
        say(
            f"\n{'Loss and calibration error use' if error else 'The loss uses'} the checkpoint's temperature, "
            f"{metrics.temperature:.3g}. Without it: loss {metrics.loss_as_trained:.4f}{error}."
        )
    say()
    classes = [
        (escape(row.name), f"{row.num_examples:,}", f"{row.recall:.1%}", f"{row.precision:.1%}")
        for row in metrics.per_class
        if row.num_examples
    ]
    lines = aligned([("class", "photos", "accuracy", "precision"), *classes], right=(1, 2, 3))
    heading(lines[0])
    say("\n".join(lines[1:]))
