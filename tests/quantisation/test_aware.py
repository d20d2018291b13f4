"""Training for int8: it rounds as the file does, an epoch brings answers nearer to those of float32, and the note says so."""

from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from tests.builders import tiny_checkpoint

from allmlp import Checkpoint, Predictor, verify_export
from allmlp.checkpoints import as_arrays
from allmlp.exports import Quantisation, QuantisationNote, onnx_bytes, open_export
from allmlp.quantisation import ATTEMPTS, Judged, export_int8, search
from allmlp.quantisation.aware import RoundedMixer, trained_plan
from allmlp.quantisation.calibration import measure_inputs
from allmlp.quantisation.search import plan_layers

NAMES = ("cat", "dog", "two words")


def photos_of(number: int, seed: int) -> NDArray[np.uint8]:
    generator = np.random.default_rng(seed)
    colours = generator.integers(0, 256, (number, 1, 1, 3))
    return (colours + generator.integers(-60, 60, (number, 16, 24, 3))).clip(0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def mixer() -> Checkpoint:
    """A Mixer that is hard to round: one weight of each output is far larger than the others, and takes the range."""
    plain = tiny_checkpoint(image_size=(16, 24), class_names=NAMES, hidden_dim=16, channels_mlp_dim=24)
    weights = dict(plain.weights)
    for name, weight in weights.items():
        if ".fc" in name and weight.ndim == 2:
            changed = weight.clone()
            changed[:, 0] = 25 * weight.abs().max() * torch.sign(weight[:, 0])
            weights[name] = changed
    return plain.replace(weights=weights)


def plan_of(mixer: Checkpoint, number: int, photos: NDArray[np.uint8]) -> Quantisation:
    inputs = measure_inputs(mixer, [mixer.preprocessing.normalise(photos)])
    return plan_layers(ATTEMPTS[number], as_arrays(mixer), inputs, 7, {})


def file_outputs(mixer: Checkpoint, plan: Quantisation, images: NDArray[np.float32]) -> NDArray[np.float32]:
    """The graph as it is written: integers restored to float32, and no kernel for integers."""
    note = QuantisationNote(
        attempt="",
        num_integer_layers=len(plan.inputs),
        weight_bits=7,
        needs_vnni=False,
        min_agreement=0.0,
        num_calibration_photos=0,
        num_judging_photos=0,
        agreement=0.0,
        num_clear_photos=0,
        clear_agreement=0.0,
    )
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    content = onnx_bytes(as_arrays(mixer), plan, note)
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    logits: NDArray[np.float32] = session.run(["logits"], {"images": images})[0]
    return logits


@pytest.mark.parametrize("number", range(len(ATTEMPTS)), ids=[attempt.name for attempt in ATTEMPTS])
def test_training_rounds_as_the_file_does(number: int, mixer: Checkpoint) -> None:
    photos = photos_of(64, 0)
    plan = plan_of(mixer, number, photos)
    rounded = RoundedMixer(mixer, plan, 7)
    for layer, (integers, scales) in rounded.plan().weights.items():
        np.testing.assert_array_equal(integers, plan.weights[layer].integers)
        np.testing.assert_array_equal(scales, plan.weights[layer].scales)
    images = mixer.preprocessing.normalise(photos_of(20, 1))
    trained = trained_plan(mixer, plan, photos, 7)
    for each in (plan, trained):
        expected = file_outputs(mixer, each, images)
        with torch.no_grad():
            found = RoundedMixer(_with_floats(mixer, each), each, 7)(torch.from_numpy(images)).numpy()
        # An input at the middle between two integers may be rounded to either, if it differs in its last bit.
        assert np.median(np.abs(found - expected)) <= 1e-4 * np.abs(expected).max()
        assert np.abs(found - expected).max() <= 0.05 * np.abs(expected).max()


def _with_floats(mixer: Checkpoint, plan: Quantisation) -> Checkpoint:
    floats = {name: torch.from_numpy(weight) for name, weight in plan.floats.items()}
    return mixer.replace(weights={**mixer.weights, **floats})


def test_the_gradient_passes_rounding_and_stops_beyond_the_range(mixer: Checkpoint) -> None:
    photos = photos_of(64, 0)
    rounded = RoundedMixer(mixer, plan_of(mixer, 0, photos), 7)
    rounded(torch.from_numpy(mixer.preprocessing.normalise(photos[:8]))).square().sum().backward()
    for name, weight in rounded.weights.items():
        assert weight.grad is not None and weight.grad.isfinite().all() and weight.grad.any(), name


@pytest.mark.parametrize("number", [0, 3], ids=[ATTEMPTS[0].name, ATTEMPTS[3].name])
def test_an_epoch_brings_logits_of_other_photos_nearer_to_those_of_float32(number: int, mixer: Checkpoint) -> None:
    photos, others = photos_of(128, 0), mixer.preprocessing.normalise(photos_of(400, 1))
    plan = plan_of(mixer, number, photos)
    with torch.no_grad():
        expected = mixer.build().eval()(torch.from_numpy(others)).numpy()
    before, after = (file_outputs(mixer, each, others) for each in (plan, trained_plan(mixer, plan, photos, 7)))
    errors = [float(np.square(found - expected).mean()) for found in (before, after)]
    assert errors[1] < 0.99 * errors[0]
    same = [int((found.argmax(1) == expected.argmax(1)).sum()) for found in (before, after)]
    assert same[1] >= same[0]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("photos")
    for number, photo in enumerate(photos_of(200, 2)):
        Image.fromarray(photo).save(folder / f"{number}.png")
    return folder


def test_training_is_the_last_resort_and_the_file_says_so(
    mixer: Checkpoint, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    judged = search.judge
    counts = iter((100, 110, 120, 105, 133))

    def counted(*arguments: object) -> Judged:
        found = judged(*arguments)  # type: ignore[arg-type]
        return Judged(**{**vars(found), "num_same": next(counts)})

    monkeypatch.setattr(search, "judge", counted)
    lines: list[str] = []
    result = export_int8(mixer, folder, out=tmp_path / "x.onnx", agreement=0.99, report=lines.append)
    name = "first layers of the MLPs, trained for an epoch"
    assert [each.attempt for each in result.judged] == [*(attempt.name for attempt in ATTEMPTS), name]
    assert lines[-2:] == [
        "None agrees enough. Training the best one, first layers of the MLPs, on the calibration photos.",
        f"{name}: 99.25% of the photos keep their answer.",
    ]
    info = open_export(result.path).info
    assert info.quantisation is not None and info.quantisation.attempt == name
    assert verify_export(result.path, mixer, folder, agreement=0.0).problems == ()  # not from other weights
    assert Predictor.from_checkpoint(result.path).predict(next(folder.iterdir()))[0].label in NAMES
