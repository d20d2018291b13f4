"""`verify_export`: equal answers pass, and every way in which an export can differ is named."""

import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from PIL import Image
from tests.builders import tiny_checkpoint, unknown_rule

from allmlp import (
    CheckFailedError,
    Checkpoint,
    CheckpointError,
    ConfigError,
    Embedder,
    Preprocessing,
    export,
    open_model,
    verify_export,
)
from allmlp.checkpoints import UnknownRule, encode_statistics
from allmlp.exports import EXPORT_FORMATS

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


@pytest.mark.parametrize("to", ["onnx", "torch", "litert"])
def test_answers_that_become_unknown_are_a_disagreement(
    to: str, checkpoint: Checkpoint, photos: Path, tmp_path: Path
) -> None:
    """Fault: only classes were compared. Here, features are moved and logits stay, so that all classes stay, too."""
    rule, moved = with_rule(checkpoint, photos)
    path = export(moved, to=to, out=tmp_path / f"x{EXPORT_FORMATS[to].ending}")
    result = verify_export(path, rule, photos)
    assert result.logit_difference < 1e-4 * result.largest_logit
    assert result.num_unknown_changed > 0 and result.num_same == 21 - result.num_unknown_changed
    assert result.num_ties == 0
    assert f'{result.num_unknown_changed} of 21 photos became "unknown", or no longer are.' in result.problems
    assert verify_export(export(rule, out=tmp_path / "same.onnx"), rule, photos).problems == ()


def with_rule(checkpoint: Checkpoint, photos: Path) -> tuple[Checkpoint, Checkpoint]:
    """Return a checkpoint that finds half of the photos unknown, and one with larger features and the same logits."""
    features = Embedder(open_model(checkpoint, output="features", device="cpu")).embed(sorted(photos.rglob("*.png")))
    lengths = np.sort((features.astype(np.float64) ** 2).sum(axis=1))
    known = checkpoint.replace(unknown=unknown_rule(features.shape[1], threshold=-float(lengths[9:11].mean())))
    weights = dict(known.weights)
    for part in ("weight", "bias"):
        weights[f"pre_head_norm.{part}"] = 1.5 * weights[f"pre_head_norm.{part}"]
    weights["head.weight"] = weights["head.weight"] / 1.5
    return known, known.replace(weights=weights)


def test_a_tie_within_the_tolerance_is_not_another_class(checkpoint: Checkpoint, photos: Path, tmp_path: Path) -> None:
    """Fault: with two classes that are equal but for rounding, an honest export failed, whatever the tolerance."""
    weights = dict(checkpoint.weights)
    for part in ("weight", "bias"):
        values = weights[f"head.{part}"].clone()
        values[1] = values[0]
        weights[f"head.{part}"] = values
    near, far = (dict(weights) for _ in range(2))
    near["head.bias"], far["head.bias"] = (weights["head.bias"] + torch.tensor([0, by, 0]) for by in (1e-5, 1e-3))
    equal = checkpoint.replace(weights=weights)
    result = verify_export(export(checkpoint.replace(weights=near), out=tmp_path / "x.onnx"), equal, photos)
    assert 0 < result.num_ties == 21 - result.num_same
    assert result.problems == ("The export was made from other weights.",)
    problems = verify_export(export(checkpoint.replace(weights=far), out=tmp_path / "y.onnx"), equal, photos).problems
    assert problems[-1].startswith("A logit differs by 0.001, more than the tolerance")


@pytest.mark.parametrize("to", ["onnx", "openvino"])
def test_what_other_programs_read_is_compared_with_the_checkpoint(
    to: str, checkpoint: Checkpoint, photos: Path, tmp_path: Path
) -> None:
    """Without the digest, as whoever changes a file on purpose may delete it."""
    path = export(checkpoint, to=to, out=tmp_path / f"x{EXPORT_FORMATS[to].ending}")
    if to == "onnx":
        proto = onnx.load(path)
        entries = {entry.key: entry for entry in proto.metadata_props}
        entries["model_info resize_type"].value = "standard"
        proto.metadata_props.remove(entries["allmlp_sha256"])
        onnx.save(proto, path)
    else:
        text = re.sub(r"<allmlp_sha256 [^>]*>", "", path.read_text())
        path.write_text(text.replace('<resize_type value="crop"', '<resize_type value="standard"'))
    assert verify_export(path, checkpoint, photos).problems == (
        "Other programs read other values from the export (model_info resize_type).",
    )
