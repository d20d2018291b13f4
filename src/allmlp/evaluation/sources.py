"""The forms in which an evaluation accepts a model and a data set, and their conversion."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from allmlp.checkpoints import STARTER, Checkpoint, PreprocessingChanges, dropped_threshold, load_for_size
from allmlp.data import BadPhotos, ImageDataset, is_skipping, open_dataset, skip_bad_photos
from allmlp.errors import ConfigError
from allmlp.evaluation.choose_split import split_of_run
from allmlp.exports import export_kind
from allmlp.hardware.num_decoding_threads import num_decoding_threads
from allmlp.inference import Output, RunnableModel, open_model
from allmlp.io.display import Report, quote
from allmlp.io.path_problem import path_text
from allmlp.model import as_sides
from allmlp.runs.photo_digests import trained_digests

__all__ = ["Data", "Model", "as_dataset", "as_runnable", "saved_split_for", "trained_on_by"]

Model = str | Path | Checkpoint | RunnableModel
Data = str | Path | ImageDataset


def as_runnable(
    model: Model,
    *,
    image_size: int | tuple[int, int] | None,
    preprocessing: PreprocessingChanges | None,
    device: str,
    output: Output,
    report: Report,
) -> RunnableModel:
    """Open a model, converted to `image_size` and with another pre-processing if given; report its remarks.

    Raises:
        CheckpointError: nothing usable at `model`.
        ConfigError: an unavailable device, an invalid image size, or one that differs from a `RunnableModel`'s.
    """
    sides = None if image_size is None else as_sides(image_size)
    if isinstance(model, RunnableModel):
        if sides is not None and sides != model.description.config.image_size:
            raise ConfigError(
                f"image_size is {sides}, but this model is already open at {model.description.config.image_size}. Open it at "
                "the size that you want: open_model(load_checkpoint(...).at_resolution(...))."
            )
        if preprocessing is None:
            return model
        description = model.description.with_preprocessing(preprocessing)
        if remark := dropped_threshold(model.description, description):
            report(remark)
        return replace(model, description=description, pixels=None)
    if not isinstance(model, Checkpoint) and export_kind(model) is not None:
        opened = open_model(model, device=device, output=output)
        return as_runnable(
            opened, image_size=sides, preprocessing=preprocessing, device=device, output=output, report=report
        )
    checkpoint = model if isinstance(model, Checkpoint) else load_for_size(model, sides)
    if sides is not None:
        checkpoint = checkpoint.at_resolution(sides)
    if preprocessing is not None:
        checkpoint = checkpoint.with_preprocessing(preprocessing)
    for remark in checkpoint.remarks if checkpoint is not model else ():
        report(remark)
    return open_model(checkpoint, device=device, output=output)


def as_dataset(data: Data, bad_photos: BadPhotos) -> ImageDataset:
    """Open a data set that is given as a path or a name; return an `ImageDataset` as it is, or without its bad photos.

    Raises:
        DataError: nothing usable at `data`.
        ConfigError: `bad_photos` is neither "stop" nor "skip".
    """
    is_cleaned = is_skipping(bad_photos)
    dataset = data if isinstance(data, ImageDataset) else open_dataset(data)
    return skip_bad_photos(dataset, num_workers=num_decoding_threads()) if is_cleaned else dataset


def saved_split_for(model: Model, run: str | Path | None) -> Mapping[str, list[str]]:
    """Return the `split_of_run` of `run`, or of `model` if `run` is None and `model` is a path.

    Raises:
        ConfigError: `run` is not a run folder that saved its split.
        CheckpointError: the run's saved split cannot be read.
    """
    if run is None:
        return split_of_run(model) if isinstance(model, str | Path) else {}
    path = path_text(run)
    saved = {} if path is None else split_of_run(path)
    if not saved:
        raise ConfigError(f"run is {quote(run)}, which is not a run folder with recipe.json and split.json.")
    return saved


def trained_on_by(model: Model, run: str | Path | None) -> frozenset[str]:
    """Return the SHA-256 of every photo that `run`, or the run of `model`, trained on; empty if that is unknown.

    Raises:
        ConfigError: the run's photos.csv cannot be read.
    """
    source = model if run is None else run
    if not isinstance(source, str | Path) or source == STARTER:
        return frozenset()
    return trained_digests(Path(source))
