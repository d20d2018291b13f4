"""The attempts at int8, from the most layers to the fewest, each judged on photos that set nothing."""

import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from allmlp.checkpoints import ArrayCheckpoint, Checkpoint, as_arrays
from allmlp.errors import CheckFailedError
from allmlp.evaluation import Answers, answer_batches
from allmlp.exports import MAX_WEIGHT, Quantisation, QuantisationNote, QuantisedWeight, is_token_mixing, layer_widths
from allmlp.inference import RunnableModel, open_model
from allmlp.io.display import Progress, Report
from allmlp.quantisation.aware import MIN_TRAINING_PHOTOS, TRAINED, trained_plan
from allmlp.quantisation.calibration import LayerInputs, measure_inputs
from allmlp.quantisation.judging import CLEAR_MARGIN, Judged, JudgingPhotos, image_batches, judge
from allmlp.quantisation.weights import equal_ranges, quantise

__all__ = [
    "ATTEMPTS",
    "DEFAULT_AGREEMENT",
    "Attempt",
    "Int8Export",
    "plan_layers",
    "search",
]

DEFAULT_AGREEMENT = 0.99
"""The share of photos that must keep float32's class."""

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
class Int8Export:
    """An int8 export: its file, what it says about itself, and all attempts up to the one that was kept, in their order."""

    path: Path
    note: QuantisationNote
    judged: tuple[Judged, ...]


class _Trials:
    """Plans that are written to temporary files, and judged by the answers of the engine that opens them."""

    def __init__(
        self,
        checkpoint: Checkpoint,
        judging: JudgingPhotos,
        write: Callable[[Path, Quantisation, QuantisationNote], object],
        *,
        name: str,
        member: str,
        backend: str,
        num_plans: int,
        progress: Progress,
    ) -> None:
        self._judging, self._write, self._progress = judging, write, progress
        self._name, self._member, self._backend = name, member, backend
        self._temperature = checkpoint.temperature
        self._done, self._total = 0, len(judging.images) * (1 + num_plans)
        self._expected = self._answers(open_model(checkpoint, backend="eager", device="cpu"))

    def judged(self, attempt: str, plan: Quantisation, note: QuantisationNote) -> Judged:
        with tempfile.TemporaryDirectory() as folder:
            trial = Path(folder) / self._name
            self._write(trial, plan, note)
            found = self._answers(open_model(trial / self._member, backend=self._backend))
        return judge(attempt, self._expected, found, self._judging.labels, self._temperature)

    def finish(self) -> None:
        self._progress(self._total, self._total)

    def _answers(self, model: RunnableModel) -> Answers:
        # With the pixels of `Preprocessing`, wherever those of the file are.
        return answer_batches(replace(model, pixels=None), image_batches(self._judging.images), done=self._count)

    def _count(self, num_photos: int) -> None:
        self._done += num_photos
        self._progress(self._done, self._total)


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
    """Write the first attempt to `path` that gives enough judging photos the answer of float32.

    If none does, the best one is trained for an epoch (`aware`), if there are enough calibration photos, and judged again. If
    `write` writes folders, `member` is the name of the model in them.

    Raises:
        CheckFailedError: none does, and nothing is written.
    """
    model, preprocessing, bits = as_arrays(checkpoint), checkpoint.preprocessing, 7 if portable else 8
    report(_division(calibration, judging))
    inputs = measure_inputs(checkpoint, (preprocessing.normalise(batch) for batch in image_batches(calibration)))
    can_train = len(calibration) >= MIN_TRAINING_PHOTOS
    trials = _Trials(
        checkpoint,
        judging,
        partial(write, model),
        name=path.name,
        member=member,
        backend=backend,
        num_plans=len(attempts) + can_train,
        progress=progress,
    )
    judged: list[Judged] = []
    tried: list[Quantisation] = []

    def plans() -> Iterator[tuple[str, Quantisation]]:
        rounded: dict[tuple[str, int], QuantisedWeight] = {}
        for attempt in attempts:
            yield attempt.name, plan_layers(attempt, model, inputs, bits, rounded)
        if can_train:
            best = max(range(len(judged)), key=lambda number: judged[number].agreement)
            report(f"None agrees enough. Training the best one, {judged[best].attempt}, on the calibration photos.")
            yield f"{judged[best].attempt}{TRAINED}", trained_plan(checkpoint, tried[best], calibration, bits)

    for name, plan in plans():
        note = QuantisationNote(
            attempt=name,
            num_integer_layers=len(plan.inputs),
            weight_bits=7 if plan.inputs and portable else 8,
            needs_vnni=bool(plan.inputs) and not portable,
            min_agreement=min_agreement,
            num_calibration_photos=len(calibration),
            num_judging_photos=len(judging.images),
            agreement=0.0,
            num_clear_photos=0,
            clear_agreement=0.0,
            calibration_split=judging.calibration_split,
            judging_split=judging.split,
        )
        result = trials.judged(name, plan, note)
        judged.append(result)
        tried.append(plan)
        report(f"{name}: {result.agreement:.2%} of the photos keep their answer.")
        if result.agreement >= min_agreement:
            trials.finish()
            note = replace(
                note,
                agreement=result.agreement,
                num_clear_photos=result.num_clear,
                clear_agreement=result.clear_agreement,
            )
            write(model, path, plan, note)
            return Int8Export(path=path, note=note, judged=tuple(judged))
    raise CheckFailedError(_failure(judged, min_agreement))


def _division(calibration: NDArray[np.uint8], judging: JudgingPhotos) -> str:
    """Return which photos calibrate and which judge."""
    if judging.split == judging.calibration_split:
        place = (
            f" of {judging.split}" if judging.split not in ("", "train") else ""
        )  # train alone: photos without splits
        return f"Calibrating on {len(calibration):,} photos{place}; {len(judging.images):,} others judge."
    return (
        f"Calibrating on {len(calibration):,} photos of {judging.calibration_split}; {len(judging.images):,} of "
        f"{judging.split} judge."
    )


def _failure(judged: Sequence[Judged], min_agreement: float) -> str:
    best = max(judged, key=lambda each: each.agreement)
    clear = f"{best.clear_agreement:.2%} of the {best.num_clear:,} photos" if best.num_clear else "there is no photo"
    unknown = (
        f', and {best.num_unknown_changed:,} became "unknown" or no longer are' if best.num_unknown_changed else ""
    )
    return (
        f"No attempt at int8 gives {min_agreement:.2%} of {best.num_photos:,} photos the answer of float32. The best one, "
        f"{best.attempt}, reaches {best.agreement:.2%} ({clear} whose two most probable classes differ by over "
        f"{CLEAR_MARGIN:g}{unknown}). Nothing was written. Accept less with a lower --agreement, "
        "or calibrate on more photos, and on such as the model is for."
    )


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
        # Products in float32 cannot saturate, and the files have no engine round their inputs.
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
