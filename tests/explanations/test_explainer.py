"""Explanations of photos in any form: the answers of `Predictor`, "unknown", the chosen classes, and errors."""

import io
import json

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from tests.builders import tiny_checkpoint, unknown_rule

from allmlp import Checkpoint, ConfigError, DataError, Embedder, Explainer, Explanation, Predictor, explain
from allmlp.explanations.occlusion import tile_side


@pytest.fixture(scope="module")
def checkpoint() -> Checkpoint:
    return tiny_checkpoint(image_size=(16, 24), hidden_dim=16, num_classes=7, temperature=1.7)


@pytest.fixture(scope="module")
def explainer(checkpoint: Checkpoint) -> Explainer:
    return Explainer.from_checkpoint(checkpoint, device="cpu")


def photos(number: int) -> list[NDArray[np.uint8]]:
    random = np.random.default_rng(0)
    return [random.integers(0, 256, (30 + 7 * n, 60 - 5 * n, 3), dtype=np.uint8) for n in range(number)]


def test_scores_are_those_of_the_predictor(checkpoint: Checkpoint, explainer: Explainer) -> None:
    predictions = Predictor.from_checkpoint(checkpoint, device="cpu").predict(photos(5), top_k=7)
    for found, prediction in zip(explainer.stream(photos(5)), predictions, strict=True):
        assert isinstance(found, Explanation)
        assert found.source == prediction.source
        assert found.label == prediction.label
        assert found.classes == tuple(each["label"] for each in prediction.labels[:3])
        scores = dict(zip(found.class_names, found.probabilities, strict=True))
        for each in prediction.labels:
            assert scores[each["label"]] == pytest.approx(each["score"], abs=1e-6)
        assert found.block_labels()[-1] == (found.label, pytest.approx(prediction.score, abs=1e-6))


@pytest.mark.parametrize("backend", ["eager", "onnxruntime"])
def test_photos_are_unknown_as_for_the_predictor(checkpoint: Checkpoint, backend: str) -> None:
    lengths = np.square(Embedder.from_checkpoint(checkpoint, device="cpu").embed(photos(6)).astype(float)).sum(axis=1)
    rule = unknown_rule(checkpoint.config.hidden_dim, threshold=-float(np.median(lengths)))
    cautious = checkpoint.replace(unknown=rule)
    predictions = Predictor.from_checkpoint(cautious, backend=backend, device="cpu").predict(photos(6))
    expected = [prediction.is_unknown for prediction in predictions]
    assert sorted(expected) == [False] * 3 + [True] * 3
    for unknown in (True, False):
        explainer = Explainer.from_checkpoint(cautious, backend=backend, device="cpu", unknown=unknown)
        for found, is_unknown in zip(explainer.stream(photos(6)), expected, strict=True):
            assert isinstance(found, Explanation)
            assert found.is_unknown == (is_unknown and unknown)
            assert found.to_json_object().get("unknown", False) == found.is_unknown
            assert ("unknown, else" in repr(found)) == found.is_unknown


def test_maps_sum_to_logits_and_differences(explainer: Explainer) -> None:
    found = explain(explainer, photos(1)[0], ["class 5", "class 2"])
    assert found.classes == ("class 5", "class 2")
    assert found.contributions.shape == (2, 3, 7)
    for row in (5, 2):
        assert found.map(f"class {row}").sum() + found.bias[row] == pytest.approx(found.logits[row], abs=1e-5)
    difference = found.map("class 5", against="class 2")
    expected = found.logits[5] - found.logits[2] - (found.bias[5] - found.bias[2])
    assert difference.sum() == pytest.approx(expected, abs=1e-5)
    maps = [found.map("class 5"), found.map("class 2"), difference]
    assert found.scale == pytest.approx(np.abs(maps).max())


def test_occlusion_is_the_loss_of_covering_the_photo_itself(checkpoint: Checkpoint, explainer: Explainer) -> None:
    photo = np.random.default_rng(0).integers(0, 256, (16, 24, 3), dtype=np.uint8)
    found = explain(explainer, photo, occlusion=True)
    assert found.occlusion is not None
    assert found.occlusion.shape == (2, 3, 7)
    for row in range(2):
        for column in range(3):
            images = checkpoint.preprocessing.normalise(photo[None])
            images[..., 8 * row : 8 * row + 8, 8 * column : 8 * column + 8] = 0
            covered = explainer._model.compute(images).logits[0]
            np.testing.assert_allclose(found.occlusion[row, column], found.logits - covered, atol=1e-5)


@pytest.mark.parametrize(
    ("grid", "side"),
    [((1, 1), 1), ((8, 8), 1), ((7, 9), 1), ((14, 14), 2), ((16, 16), 2), ((1, 200), 4), ((32, 32), 4)],
)
def test_tiles_are_the_smallest_of_at_most_64(grid: tuple[int, int], side: int) -> None:
    assert tile_side(*grid) == side


def test_the_numbers_are_json(explainer: Explainer) -> None:
    found = explain(explainer, photos(1)[0], occlusion=True)
    values = json.loads(json.dumps(found.to_json_object(), allow_nan=False))
    assert values["photo"] == "image 1"
    assert values["photo_size"] == {"height": 30, "width": 60}
    assert values["grid"] == {"rows": 2, "columns": 3}
    assert len(values["blocks"]) == 2
    for entry in values["classes"]:
        assert np.sum(entry["contributions"]) + entry["bias"] == pytest.approx(entry["logit"], abs=1e-5)
        assert np.shape(entry["occlusion"]) == (2, 3)


def test_a_photo_may_come_in_any_form(explainer: Explainer) -> None:
    pixels = photos(1)[0]
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, format="PNG")
    expected = explain(explainer, pixels)
    for form in (file.getvalue(), ("a <b>.png", file.getvalue()), file, Image.fromarray(pixels)):
        np.testing.assert_array_equal(explain(explainer, form).contributions, expected.contributions)
    assert explain(explainer, ("a <b>.png", file.getvalue())).source == "a <b>.png"


def test_an_unreadable_photo_is_an_error_in_its_place(explainer: Explainer) -> None:
    answers = list(explainer.stream([photos(1)[0], ("broken.jpg", b"\xff\xd8\xff"), photos(2)[1]]))
    assert [isinstance(answer, DataError) for answer in answers] == [False, True, False]
    assert "broken.jpg" in str(answers[1])
    alone = explain(explainer, photos(2)[1])
    assert isinstance(answers[2], Explanation)
    np.testing.assert_allclose(answers[2].contributions, alone.contributions, atol=1e-5)
    with pytest.raises(DataError, match=r"broken\.jpg"):
        explain(explainer, ("broken.jpg", b"\xff\xd8\xff"))


def test_wrong_arguments_are_refused(explainer: Explainer) -> None:
    photo = photos(1)[0]
    with pytest.raises(ConfigError, match=r"'clas 5' is not a class of this model\. Did you mean 'class 5'"):
        explain(explainer, photo, ["clas 5"])
    with pytest.raises(ConfigError, match="classes is 'class 5'; expected a list"):
        explain(explainer, photo, "class 5")
    with pytest.raises(ConfigError, match="classes is empty"):
        explain(explainer, photo, [])
    with pytest.raises(ConfigError, match="has a backend and a device already"):
        explain(explainer, photo, device="cpu")
    with pytest.raises(DataError, match="takes one photo; for several"):
        explain(explainer, [photo, photo])  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="'hat' is not a class"):
        explain(explainer, photo).map("hat")
