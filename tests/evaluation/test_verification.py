"""`verify_export`: equal answers pass, and every way in which an export can differ is named."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from PIL import Image
from tests.builders import tiny_checkpoint

from allmlp import CheckFailedError, Checkpoint, CheckpointError, ConfigError, Preprocessing, export, verify_export
from allmlp.checkpoints import UnknownRule, encode_statistics

NAMES = ("cat", "dog", "two words")


@pytest.fixture(scope="module")
def checkpoint() -> Checkpoint:
    return tiny_checkpoint(
        image_size=(16, 24),
        class_names=NAMES,
        temperature=0.7,
        preprocessing=Preprocessing(image_size=(16, 24), crop_fraction=0.8, mean=(0.4, 0.5, 0.6)),
    )


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("photos")
    generator = np.random.default_rng(0)
    for number in range(21):
        path = folder / NAMES[number % 3] / f"{number}.png"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(generator.integers(0, 256, (40 + number, 60 - number, 3), dtype=np.uint8)).save(path)
    return folder


@pytest.mark.parametrize("to", ["onnx", "openvino"])
@pytest.mark.parametrize("backend", ["auto", "openvino"])
def test_an_export_that_answers_the_same_passes(
    to: str, backend: str, checkpoint: Checkpoint, photos: Path, tmp_path: Path
) -> None:
    path = export(checkpoint, to=to, out=tmp_path / ("x.onnx" if to == "onnx" else "x.xml"))
    done: list[tuple[int, int]] = []
    result = verify_export(path, checkpoint, photos, backend=backend, progress=lambda *now: done.append(now))
    assert result.problems == ()
    assert (result.num_photos, result.num_same) == (21, 21)
    assert 0 <= result.logit_difference < 1e-5 * result.largest_logit
    assert 0 <= result.probability_difference < 1e-5
    assert result.num_correct is not None and result.num_correct[0] == result.num_correct[1]
    assert result.top1 is not None
    rate, low, high = result.top1[1]
    assert rate == result.num_correct[0] / 21 and low < rate < high
    assert done[-1] == (42, 42)
    values = json.loads(json.dumps(result.to_dict(), allow_nan=False))
    assert values["export"] == {"top1": rate, "low": low, "high": high}


def test_photos_without_labels_are_compared_without_an_accuracy(
    checkpoint: Checkpoint, photos: Path, tmp_path: Path
) -> None:
    path = export(checkpoint, out=tmp_path / "x.onnx")
    result = verify_export(path, checkpoint, photos / "cat")
    assert (result.problems, result.num_photos, result.num_correct, result.top1) == ((), 7, None, None)


def test_another_threshold_of_unknown_is_named_without_the_statistics_of_features(
    checkpoint: Checkpoint, photos: Path, tmp_path: Path
) -> None:
    """As of an export that is older than the threshold."""
    statistics = encode_statistics(np.ones((2, checkpoint.config.hidden_dim + 1), np.float32))
    rule = UnknownRule(score="closeness", threshold=-20.5, kept=0.95, num_photos=9, statistics=statistics)
    path = export(checkpoint, out=tmp_path / "x.onnx")
    result = verify_export(path, checkpoint.replace(unknown=rule), photos)
    assert result.problems == ('The export has no threshold of "unknown", not "unknown" below the closeness -20.5.',)


def tampered(path: Path, change: Callable[[dict[str, Any]], object], *, keep_digest: bool = False) -> Path:
    """Change the description inside an ONNX export."""
    proto = onnx.load(path)
    (own,) = (entry for entry in proto.metadata_props if entry.key == "allmlp")
    values = json.loads(own.value)
    change(values["checkpoint"])
    own.value = json.dumps(values)
    if not keep_digest:
        kept = [entry for entry in proto.metadata_props if entry.key != "allmlp_sha256"]
        del proto.metadata_props[:]
        proto.metadata_props.extend(kept)
    onnx.save(proto, path)
    return path


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            lambda values: values["preprocessing"].update(mean=[0, 0, 0]),
            "another pre-processing: mean is [0.0, 0.0, 0.0], not",
        ),
        (
            lambda values: values["preprocessing"].update(fit="squash"),
            "another pre-processing: fit is squash, not crop",
        ),
        (
            lambda values: values["preprocessing"].update(interpolation="bilinear"),
            "interpolation is bilinear, not bicubic",
        ),
        (lambda values: values["model"].update(gelu="erf"), "another configuration: gelu is erf, not tanh"),
        (
            lambda values: values.update(class_names=["dog", "cat", "two words"]),
            "other class names, or in another order",
        ),
        (lambda values: values.update(temperature=2.0), "the temperature 2.0, not 0.7"),
    ],
)
def test_a_description_that_was_tampered_with_is_a_problem(
    change: Callable[[dict[str, Any]], object], words: str, checkpoint: Checkpoint, photos: Path, tmp_path: Path
) -> None:
    path = tampered(export(checkpoint, out=tmp_path / "x.onnx"), change)
    result = verify_export(path, checkpoint, photos)
    assert words in " ".join(result.problems)


def test_an_export_that_changed_since_it_was_written_fails_the_check(
    checkpoint: Checkpoint, photos: Path, tmp_path: Path
) -> None:
    path = export(checkpoint, out=tmp_path / "x.onnx")
    tampered(path, lambda values: values["preprocessing"].update(mean=[0, 0, 0]), keep_digest=True)
    with pytest.raises(CheckFailedError, match="changed since it was written"):
        verify_export(path, checkpoint, photos)


def test_other_weights_are_a_problem_even_if_no_answer_changes(
    checkpoint: Checkpoint, photos: Path, tmp_path: Path
) -> None:
    path = export(checkpoint, out=tmp_path / "x.onnx")
    bias = checkpoint.weights["head.bias"]
    other = checkpoint.replace(weights={**checkpoint.weights, "head.bias": bias + 1e-7})
    assert verify_export(path, other, photos).problems == ("The export was made from other weights.",)
    far = checkpoint.replace(weights={**checkpoint.weights, "head.weight": -checkpoint.weights["head.weight"] * 9})
    problems = verify_export(path, far, photos).problems
    assert len(problems) == 3
    assert "photos get another class" in problems[1] and "A logit differs by" in problems[2]
    fewer = tiny_checkpoint(image_size=(16, 24), num_classes=2)
    with pytest.raises(CheckFailedError, match="other class names"):
        verify_export(path, fewer, photos)


def test_the_tolerance_decides(checkpoint: Checkpoint, photos: Path, tmp_path: Path) -> None:
    path = export(checkpoint, out=tmp_path / "x.onnx")
    result = verify_export(path, checkpoint, photos)
    share = result.logit_difference / result.largest_logit
    assert 0 < share < 1e-5
    (problem,) = verify_export(path, checkpoint, photos, tolerance=share / 2).problems
    assert problem.startswith("A logit differs by")


def test_what_cannot_be_verified_says_why(checkpoint: Checkpoint, photos: Path, tmp_path: Path) -> None:
    path = export(checkpoint, out=tmp_path / "x.onnx")
    with pytest.raises(ConfigError, match="starter: not an export"):
        verify_export("starter", checkpoint, photos)
    with pytest.raises(ConfigError, match="tolerance is nan"):
        verify_export(path, checkpoint, photos, tolerance=float("nan"))
    with pytest.raises(CheckpointError, match="no such file"):
        verify_export(tmp_path / "y.onnx", checkpoint, photos)
    headless = replace(checkpoint.description, class_names=(), config=replace(checkpoint.config, num_classes=0))
    weights = {name: weight for name, weight in checkpoint.weights.items() if not name.startswith("head.")}
    with pytest.raises(ConfigError, match="no classifier"):
        verify_export(path, Checkpoint(description=headless, weights=weights), photos)
