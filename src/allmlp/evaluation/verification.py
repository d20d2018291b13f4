"""Verification of an export: the checkpoint and the export side by side, from the bytes of photos to the labels."""

import dataclasses
import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from allmlp.checkpoints import Checkpoint, ModelDescription, as_arrays, load_checkpoint
from allmlp.data import Preparation, Split, resized_images
from allmlp.errors import CheckFailedError, ConfigError
from allmlp.evaluation.answers import Answers, ChangedAnswers, answer_batches, changed_answers
from allmlp.evaluation.compare import ComparedPhotos, photos_to_compare
from allmlp.evaluation.description_differences import description_differences
from allmlp.evaluation.pixel_difference import ComparedPreparation, PixelDifference
from allmlp.exports import ChangedExportError, ExportInfo, Pixels, TorchExport, export_kind, open_export, weights_digest
from allmlp.hardware.num_decoding_threads import num_decoding_threads
from allmlp.inference import RunnableModel, choose_backend, open_model
from allmlp.io.display import Progress, escape, no_progress, quote, shorten
from allmlp.io.path_problem import path_text
from allmlp.metrics import softmax, wilson_interval

__all__ = ["DEFAULT_TOLERANCE", "ExportVerification", "check_verifiable", "verify_export"]

DEFAULT_TOLERANCE = 1e-4
"""Of the largest logit. Float32 engines that add in another order differ by about 1e-6."""

RESIZE_TOLERANCE = 1e-2
"""The same for exports with the pixels in the graph, unless they are exact: its pixels may differ, and so may the logits."""

BFLOAT16_AGREEMENT = 0.997
"""The share of photos that must get the same class from an export in bfloat16."""

_BATCH_SIZE = 64
_PIXEL_BACKEND = "onnxruntime"  # the only one that runs the pixels in a graph


@dataclass(frozen=True, kw_only=True)
class ExportVerification:
    """The differences between a checkpoint and its export, each with its own pre-processing, classes and temperature.

    Attributes:
        photos: a description of the photos, for display.
        num_photos: how many there are.
        num_same: photos with the same answer: the most probable class, by name, and whether the photo is "unknown".
        num_unknown_changed: photos that became "unknown", or no longer are.
        num_ties: photos with another answer that rounding explains: two classes whose logits, or a score and the threshold
            of "unknown", are closer than what the tolerance allows. Of a float32 export, they are not a problem.
        largest_logit: the largest absolute logit of the checkpoint.
        logit_difference, probability_difference: the largest absolute differences.
        tolerance: of `logit_difference`, as a fraction of `largest_logit`; None for int8 and bfloat16.
        min_agreement: of these, the share of photos that is asked for to get the same class; None for float32.
        num_correct: (checkpoint, export); None if the photos are unlabelled or the model does not know all of their classes.
        problems: what is wrong, in sentences; empty if the export answers as the checkpoint.
        pixels: how the pixels of its graph differ from the checkpoint's; None if they are outside of it.
    """

    photos: str
    num_photos: int
    num_same: int
    num_unknown_changed: int
    num_ties: int
    largest_logit: float
    logit_difference: float
    probability_difference: float
    tolerance: float | None
    num_correct: tuple[int, int] | None
    problems: tuple[str, ...]
    min_agreement: float | None = None
    pixels: PixelDifference | None = None

    @property
    def top1(self) -> "tuple[tuple[float, float, float], tuple[float, float, float]] | None":
        """The accuracy of the checkpoint and of the export, each with the ends of its 95 % interval; None without labels."""
        if self.num_correct is None:
            return None
        before, after = (
            (correct / self.num_photos, *wilson_interval(correct, self.num_photos)) for correct in self.num_correct
        )
        return before, after

    def to_dict(self) -> dict[str, Any]:
        """Return the values as JSON; a number that is not finite becomes None."""
        values = dataclasses.asdict(self)
        for name, value in values.items():
            if isinstance(value, float) and not math.isfinite(value):
                values[name] = None
        names = ("top1", "low", "high")
        scores = None if self.top1 is None else [dict(zip(names, score, strict=True)) for score in self.top1]
        return {
            **values,
            "problems": list(self.problems),
            "num_correct": None if self.num_correct is None else list(self.num_correct),
            "checkpoint": None if scores is None else scores[0],
            "export": None if scores is None else scores[1],
        }


class _Limit(NamedTuple):
    """What a verification asks for: equal classes and a tolerance of logits, or an agreement."""

    tolerance: float | None
    agreement: float | None


def _limit(info: ExportInfo, tolerance: float | None, agreement: float | None, path: str) -> _Limit:
    where, note = shorten(escape(path), 300), info.quantisation
    if info.precision == "bfloat16":
        if tolerance is not None:
            raise ConfigError(
                f"{where}: a bfloat16 export, whose logits differ by rounding; give agreement instead of tolerance."
            )
        return _Limit(None, BFLOAT16_AGREEMENT if agreement is None else agreement)
    if note is None:
        if agreement is not None:
            raise ConfigError(f"{where}: a float32 export, which must give every photo its class; omit agreement.")
        usual = DEFAULT_TOLERANCE if info.pixels == "out" or info.has_exact_pixels else RESIZE_TOLERANCE
        return _Limit(usual if tolerance is None else tolerance, None)
    if tolerance is not None:
        raise ConfigError(
            f"{where}: an int8 export, whose logits differ by design; give agreement instead of tolerance."
        )
    return _Limit(None, note.min_agreement if agreement is None else agreement)


def check_verifiable(description: ModelDescription, path: Path, photos: str | Path, *, pixels: Pixels = "out") -> None:
    """Check, before an export is written to `path`, that it can be verified afterwards.

    Raises:
        ConfigError: a model without a classifier.
        DataError: no photos at `photos`, or photos that cannot be decoded.
        MissingExtraError: no engine for the export is installed.
    """
    _check_classes(description)
    choose_backend("auto" if pixels == "out" else _PIXEL_BACKEND, path)
    found = photos_to_compare(photos, description)
    for _ in resized_images(found.split, description.preprocessing, num_workers=num_decoding_threads()):
        pass  # photos that cannot be decoded are an error


def _check_classes(description: ModelDescription) -> None:
    if not description.class_names:
        raise ConfigError("This checkpoint has no classifier, so there are no labels to compare.")


def verify_export(
    export: str | Path,
    checkpoint: str | Path | Checkpoint,
    photos: str | Path,
    *,
    tolerance: float | None = None,
    agreement: float | None = None,
    backend: str = "auto",
    progress: Progress = no_progress,
) -> ExportVerification:
    """Compare an export with the checkpoint that it was made from, on photos; `allmlp export --verify` prints the result.

    Args:
        export: an export's file.
        checkpoint: a path or a name, as `load_checkpoint` takes it, or a `Checkpoint`. It runs in PyTorch on the CPU.
        photos: a data set, as `open_dataset` takes it (test, else validation, else train), or a folder without labels.
        tolerance: of a float32 export, the largest difference of a logit, as a fraction of the largest logit; None takes 1e-4,
            and 1e-2 for pixels="in".
        agreement: of an int8 or bfloat16 export, the share of photos that must get the same class; None takes what an int8 file
            promises, and 0.997 for bfloat16. It is missed if the upper end of the 95 % interval of the share is below it.
        backend: the engine of the export. Of a .pt2 file, torch runs the program, if it is the one that allmlp writes. An
            export with the pixels in its graph is verified with these, in ONNX Runtime.
        progress: called with the number of photos done and their total, for both models together.

    Raises:
        CheckFailedError: the export was changed since it was written, or has other classes or another program: nothing can be
            compared.
        CheckpointError, DataError: nothing usable at `checkpoint`, `export` or `photos`.
        ConfigError: not an export, or an invalid tolerance.
    """
    if tolerance is not None and (not isinstance(tolerance, int | float) or not 0 <= tolerance < math.inf):
        raise ConfigError(f"tolerance is {quote(tolerance)}; expected a fraction of the largest logit, such as 1e-4.")
    if agreement is not None and (not isinstance(agreement, int | float) or not 0 <= agreement <= 1):
        raise ConfigError(f"agreement is {quote(agreement)}; expected a share of the photos, such as 0.99.")
    if (path := path_text(export)) is None:
        raise ConfigError(f"export is {quote(export)}; expected a path.")
    if export_kind(path) is None:
        raise ConfigError(
            f"{shorten(escape(path), 300)}: not an export; expected an .onnx, .xml, .pt2 or .tflite file."
        )
    loaded = checkpoint if isinstance(checkpoint, Checkpoint) else load_checkpoint(checkpoint)
    _check_classes(loaded.description)
    try:
        opened = open_export(export)
    except ChangedExportError as error:
        raise CheckFailedError(str(error)) from error
    info = opened.info
    limit = _limit(info, tolerance, agreement, path)
    problems = description_differences(loaded.description, opened)
    if info.weights_sha256 != weights_digest(as_arrays(loaded).weights):
        problems.append("The export was made from other weights.")
    if len(info.description.class_names) != len(loaded.class_names):
        raise CheckFailedError(f"{export}: {' '.join(problems)}")
    if info.pixels != "out" and backend == "auto":
        backend = _PIXEL_BACKEND
    before = open_model(loaded, backend="eager", device="cpu")
    after = _program(opened) if isinstance(opened, TorchExport) else open_model(export, backend=backend)
    if info.pixels != "out" and after.pixels is None:
        raise ConfigError(
            f"The backend {backend} does not run the pixels in the graph of this export, so it cannot verify them; use "
            f"'{_PIXEL_BACKEND}'."
        )
    chosen = photos_to_compare(photos, loaded.description)
    total, done = 2 * len(chosen.split), 0
    watched = None if after.pixels is None else ComparedPreparation(after.pixels, loaded.preprocessing)

    def count(num_photos: int) -> None:
        nonlocal done
        done += num_photos
        progress(done, total)

    answers = (
        answer_batches(before, _batches(chosen.split, before.preparation), done=count),
        answer_batches(after, _batches(chosen.split, watched or after.preparation), done=count),
    )
    difference = None if watched is None else watched.difference()
    if difference is not None:
        problem = difference.problem(loaded.preprocessing, is_exact=info.has_exact_pixels)
        problems += [problem] if problem else []
    result = _compared(before.description, after.description, answers, chosen, limit, problems)
    return dataclasses.replace(result, pixels=difference)


def _program(export: TorchExport) -> RunnableModel:
    """Return the program of a .pt2 file, which `open_model` does not run."""
    joined, num_classes = export.checked_program(with_features=True), export.description.config.num_classes
    return RunnableModel(
        lambda images: joined(images)[:, :num_classes], export.description, "logits", with_features=lambda: joined
    )


def _batches(split: Split, preparation: Preparation) -> Iterator[list[NDArray[Any]]]:
    """Yield photos batch by batch, decoded and resized as the file of a model says."""
    images = resized_images(split, preparation, num_workers=num_decoding_threads())
    while chunk := list(islice(images, _BATCH_SIZE)):
        yield chunk


def _compared(
    before: ModelDescription,
    after: ModelDescription,
    answers: tuple[Answers, Answers],
    photos: ComparedPhotos,
    limit: _Limit,
    problems: list[str],
) -> ExportVerification:
    old, new = answers
    probabilities = [
        softmax(each.logits, temperature=model.temperature)
        for model, each in zip((before, after), answers, strict=True)
    ]
    largest, difference = float(np.abs(old.logits).max()), float(np.abs(old.logits - new.logits).max())
    allowed = 0.0 if limit.tolerance is None else limit.tolerance * largest
    # The score of "unknown" is a sum of squares of features, which has no bound as that of logits: a share of the threshold.
    rule = before.unknown
    score_rounding = 0.0 if rule is None else (limit.tolerance or 0.0) * abs(rule.threshold)
    changed = changed_answers(old, new, logit_rounding=allowed, score_rounding=score_rounding)
    num_photos = len(old.logits)
    if limit.agreement is None:
        problems += _changed_classes(changed, is_same_rule=before.unknown == after.unknown)
    elif not (wilson_interval(changed.num_same, num_photos)[1] >= limit.agreement and math.isfinite(difference)):
        unknown = ', and are as before "unknown" or not' if changed.by_unknown.any() else ""
        problems.append(
            f"{changed.num_same / num_photos:.2%} of {num_photos:,} photos keep their class{unknown}; the export promises "
            f"{limit.agreement:.2%}."
        )
    if limit.tolerance is not None and not difference <= allowed:  # also if it is NaN
        problems.append(
            f"A logit differs by {difference:.3g}, more than the tolerance of {limit.tolerance:g} times the largest logit "
            f"({largest:.3g})."
        )
    num_correct = None
    if photos.labels is not None:
        truth = np.array(before.class_names, dtype=object)[photos.labels]
        correct = [int((each.labels == truth).sum()) for each in answers]
        num_correct = correct[0], correct[1]
    return ExportVerification(
        photos=photos.description,
        num_photos=num_photos,
        num_same=changed.num_same,
        num_unknown_changed=int(changed.by_unknown.sum()),
        num_ties=int(changed.is_tie.sum()),
        largest_logit=largest,
        logit_difference=difference,
        probability_difference=float(np.abs(probabilities[0] - probabilities[1]).max()),
        tolerance=limit.tolerance,
        min_agreement=limit.agreement,
        num_correct=num_correct,
        problems=tuple(problems),
    )


def _changed_classes(changed: ChangedAnswers, *, is_same_rule: bool) -> list[str]:
    """Return what is wrong with the answers of a float32 export, of which only ties may change."""
    num_photos, problems = len(changed.is_tie), []
    if num_classes := int((changed.by_class & ~changed.is_tie).sum()):
        problems.append(f"{num_classes:,} of {num_photos:,} photos get another class.")
    num_unknown = int((changed.by_unknown & ~changed.is_tie).sum())
    if num_unknown and is_same_rule:  # another rule is a problem of its own
        problems.append(f'{num_unknown:,} of {num_photos:,} photos became "unknown", or no longer are.')
    return problems
