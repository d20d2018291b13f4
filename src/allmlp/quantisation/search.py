"""The attempts at int8, from the most layers to the fewest, each judged on photos that set nothing."""

import hashlib
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from allmlp.checkpoints import ArrayCheckpoint, Checkpoint, as_arrays
from allmlp.data import resized_images
from allmlp.errors import CheckFailedError, DataError
from allmlp.evaluation import photos_to_compare
from allmlp.exports import MAX_WEIGHT, Quantisation, QuantisationNote, QuantisedWeight, is_token_mixing, layer_widths
from allmlp.hardware.num_decoding_threads import num_decoding_threads
from allmlp.inference import open_model
from allmlp.io.display import Progress, Report
from allmlp.metrics import Forward, softmax, wilson_interval
from allmlp.quantisation.calibration import LayerInputs, measure_inputs
from allmlp.quantisation.weights import equal_ranges, quantise

__all__ = [
    "ATTEMPTS",
    "DEFAULT_AGREEMENT",
    "Attempt",
    "Int8Export",
    "Judged",
    "JudgingPhotos",
    "divide_photos",
    "plan_layers",
    "search",
]

DEFAULT_AGREEMENT = 0.99
"""The share of photos that must keep float32's class."""

CLEAR_MARGIN = 0.1
"""Between the two largest probabilities: below it, a photo's class may change by rounding alone."""

_MAX_CALIBRATION_PHOTOS, _MAX_JUDGING_PHOTOS, _MIN_PHOTOS = 256, 2000, 6
_BATCH_SIZE = 32

Write = Callable[[ArrayCheckpoint, Path, Quantisation, QuantisationNote], object]


@dataclass(frozen=True)
class Attempt:
    """Which layers become int8.

    Attributes:
        name: for people.
        multiplies: whether a layer, such as "blocks.3.token_mixing.fc1", multiplies in integers.
        stores: whether its weights are int8.
    """

    name: str
    multiplies: Callable[[str], bool]
    stores: Callable[[str], bool]


def _is_any(_: str) -> bool:
    return True


def _is_none(_: str) -> bool:
    return False


def _is_before_classifier(layer: str) -> bool:
    return layer != "head"


def _is_in_block(layer: str) -> bool:
    return layer.startswith("blocks.")


def _is_first(layer: str) -> bool:
    return layer.endswith(".fc1")


ATTEMPTS = (
    Attempt("all layers", _is_before_classifier, _is_any),
    Attempt("without patch projection and classifier", _is_in_block, _is_in_block),
    # The inputs of the second layers are outputs of GELU, with a long tail on one side.
    Attempt("first layers of the MLPs", _is_first, _is_first),
    Attempt("weights only", _is_none, _is_any),
)
"""From the most to the fewest products in integers. The classifier's weights become int8, its product never does."""


@dataclass(frozen=True, kw_only=True)
class Judged:
    """The answers of one attempt on the judging photos, next to float32's.

    Attributes:
        attempt: which layers became int8.
        num_photos, num_same: how many, and how many with the class of float32.
        num_clear, num_clear_same: the same of photos whose two most probable classes differ by over 0.1 in float32.
        num_correct: (float32, int8); None without labels.
    """

    attempt: str
    num_photos: int
    num_same: int
    num_clear: int
    num_clear_same: int
    num_correct: tuple[int, int] | None

    @property
    def agreement(self) -> float:
        """The share of photos with the class of float32."""
        return self.num_same / self.num_photos

    @property
    def clear_agreement(self) -> float:
        """The same of the clear photos; 1 if there is none."""
        return self.num_clear_same / self.num_clear if self.num_clear else 1.0

    def to_dict(self) -> dict[str, Any]:
        """Return the values as JSON, with the accuracies and their 95 % intervals."""
        values = {**asdict(self), "agreement": self.agreement, "clear_agreement": self.clear_agreement}
        values["agreement_interval"] = list(wilson_interval(self.num_same, self.num_photos))
        if self.num_correct is not None:
            values["num_correct"] = list(self.num_correct)
            for name, correct in zip(("float32", "int8"), self.num_correct, strict=True):
                low, high = wilson_interval(correct, self.num_photos)
                values[name] = {"top1": correct / self.num_photos, "low": low, "high": high}
        return values


@dataclass(frozen=True, kw_only=True)
class Int8Export:
    """An int8 export: its file, what it says about itself, and all attempts up to the one that was kept, in their order."""

    path: Path
    note: QuantisationNote
    judged: tuple[Judged, ...]


@dataclass(frozen=True)
class JudgingPhotos:
    """Photos that no range depends on: uint8 (n, H, W, 3), and labels as indices of the model's classes, or None."""

    images: NDArray[np.uint8]
    labels: NDArray[np.int64] | None


def divide_photos(checkpoint: Checkpoint, photos: str | Path) -> tuple[NDArray[np.uint8], JudgingPhotos]:
    """Return the photos that calibrate and those that judge, resized. A photo's part depends on nothing but the sample IDs.

    A third calibrates, at most 256; of the others, at most 2,000 judge.

    Raises:
        DataError: no photos at `photos`, or fewer than 6.
    """
    found = photos_to_compare(photos, checkpoint.description)
    split = found.split
    if len(split) < _MIN_PHOTOS:
        raise DataError(
            f"{found.description}: too few to calibrate and to judge. Give some hundreds, at least {_MIN_PHOTOS}."
        )
    order = sorted(range(len(split)), key=lambda index: hashlib.sha256(split.sample_ids[index].encode()).digest())
    num_calibration = min(len(split) // 3, _MAX_CALIBRATION_PHOTOS)
    parts = order[:num_calibration], order[num_calibration:][:_MAX_JUDGING_PHOTOS]
    chosen = [np.sort(np.array(part, np.int64)) for part in parts]
    images = [
        np.stack(list(resized_images(split.subset(part), checkpoint.preprocessing, num_workers=num_decoding_threads())))
        for part in chosen
    ]
    return images[0], JudgingPhotos(images[1], None if found.labels is None else found.labels[chosen[1]])


def search(
    checkpoint: Checkpoint,
    calibration: NDArray[np.uint8],
    judging: JudgingPhotos,
    write: Write,
    path: Path,
    *,
    portable: bool = True,
    min_agreement: float = DEFAULT_AGREEMENT,
    backend: str = "auto",
    attempts: Sequence[Attempt] = ATTEMPTS,
    member: str = "",
    report: Report,
    progress: Progress,
) -> Int8Export:
    """Write the first attempt to `path` that gives enough judging photos the class of float32.

    If `write` writes folders, `member` is the name of the model in them.

    Raises:
        CheckFailedError: none does, and nothing is written.
    """
    model, preprocessing = as_arrays(checkpoint), checkpoint.preprocessing
    report(f"Calibrating on {len(calibration):,} photos; {len(judging.images):,} others judge.")
    inputs = measure_inputs(checkpoint, (preprocessing.normalise(batch) for batch in _batches(calibration)))
    total, done = len(judging.images) * (1 + len(attempts)), 0

    def answers(forward: Forward) -> NDArray[np.float32]:
        nonlocal done
        rows = []
        for batch in _batches(judging.images):
            rows.append(forward(preprocessing.normalise(batch)))
            done += len(batch)
            progress(done, total)
        return np.concatenate(rows)

    expected = answers(open_model(checkpoint, backend="eager", device="cpu").forward)
    rounded: dict[tuple[str, int], QuantisedWeight] = {}
    judged: list[Judged] = []
    for attempt in attempts:
        plan = plan_layers(attempt, model, inputs, 7 if portable else 8, rounded)
        note = QuantisationNote(
            attempt=attempt.name,
            num_integer_layers=len(plan.inputs),
            weight_bits=7 if plan.inputs and portable else 8,
            needs_vnni=bool(plan.inputs) and not portable,
            min_agreement=min_agreement,
            num_calibration_photos=len(calibration),
            num_judging_photos=len(judging.images),
            agreement=0.0,
            num_clear_photos=0,
            clear_agreement=0.0,
        )
        with tempfile.TemporaryDirectory() as folder:
            trial = Path(folder) / path.name
            write(model, trial, plan, note)
            result = _judged(
                attempt,
                expected,
                answers(open_model(trial / member, backend=backend).forward),
                judging.labels,
                checkpoint.temperature,
            )
        judged.append(result)
        report(f"{attempt.name}: {result.agreement:.2%} of the photos keep their class.")
        if result.agreement >= min_agreement:
            progress(total, total)
            note = replace(
                note,
                agreement=result.agreement,
                num_clear_photos=result.num_clear,
                clear_agreement=result.clear_agreement,
            )
            write(model, path, plan, note)
            return Int8Export(path=path, note=note, judged=tuple(judged))
    best = max(judged, key=lambda each: each.agreement)
    clear = f"{best.clear_agreement:.2%} of the {best.num_clear:,} photos" if best.num_clear else "there is no photo"
    raise CheckFailedError(
        f"No attempt at int8 gives {min_agreement:.2%} of {best.num_photos:,} photos the class of float32. The best one, "
        f"{best.attempt}, reaches {best.agreement:.2%} ({clear} whose two most probable classes differ by over "
        f"{CLEAR_MARGIN:g}). Nothing was written. Accept less with a lower --agreement, "
        "or calibrate on more photos, and on such as the model is for."
    )


def _batches(images: NDArray[np.uint8]) -> Iterator[NDArray[np.uint8]]:
    for start in range(0, len(images), _BATCH_SIZE):
        yield images[start : start + _BATCH_SIZE]


def plan_layers(
    attempt: Attempt,
    model: ArrayCheckpoint,
    inputs: Mapping[str, LayerInputs],
    bits: int,
    rounded: dict[tuple[str, int], QuantisedWeight],
) -> Quantisation:
    """Return what becomes integers. `rounded` remembers weights by layer and bits, 0 for products in float32."""
    weights, ranges, divisors = {}, {}, {}
    for layer in layer_widths(model.description.config):
        if not attempt.stores(layer):
            continue
        # Products in float32 cannot saturate.
        key = layer, bits if attempt.multiplies(layer) else 0
        low, high, moments = inputs[layer]
        divisor = equal_ranges(layer, low, high) if attempt.multiplies(layer) and layer.endswith(".fc1") else None
        if key not in rounded:
            weight = model.weights[f"{layer}.weight"]
            matrix = weight.reshape(len(weight), -1).T  # (inputs, outputs)
            if divisor is not None and not is_token_mixing(layer):
                matrix, moments = matrix * divisor[:, None], moments / np.outer(divisor, divisor)
            rounded[key] = quantise(matrix, MAX_WEIGHT[key[1] or 8], moments)
        weights[layer] = rounded[key]
        if divisor is not None:
            divisors[layer], low, high = divisor, low / divisor, high / divisor
        if attempt.multiplies(layer):
            ranges[layer] = float(low.min()), float(high.max())
    return Quantisation(weights=weights, inputs=ranges, divisors=divisors)


def _judged(
    attempt: Attempt,
    expected: NDArray[np.float32],
    found: NDArray[np.float32],
    labels: NDArray[np.int64] | None,
    temperature: float,
) -> Judged:
    before, after = expected.argmax(axis=1), found.argmax(axis=1)
    ordered = np.sort(softmax(expected, temperature=temperature), axis=1)
    is_clear = ordered[:, -1] - (ordered[:, -2] if ordered.shape[1] > 1 else 0) > CLEAR_MARGIN
    is_same = before == after
    correct = None if labels is None else (int((before == labels).sum()), int((after == labels).sum()))
    return Judged(
        attempt=attempt.name,
        num_photos=len(expected),
        num_same=int(is_same.sum()),
        num_clear=int(is_clear.sum()),
        num_clear_same=int((is_same & is_clear).sum()),
        num_correct=correct,
    )
