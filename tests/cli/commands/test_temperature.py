"""What commands do with a checkpoint's temperature."""

import dataclasses
import json
import re

import pytest
from tests.builders import tiny_checkpoint

from allmlp import MixerConfig, Predictor, load_checkpoint, save_checkpoint
from allmlp.checkpoints import FORMATS
from allmlp.checkpoints.publish.model_card import model_card_text


@pytest.fixture
def mended(saved_checkpoint, tmp_path):
    checkpoint = dataclasses.replace(load_checkpoint(saved_checkpoint), temperature=2.5)
    return save_checkpoint(checkpoint, tmp_path / "mended")


@pytest.fixture
def photos(tmp_path, write_photo):
    for number, name in enumerate(("yak", "cat")):
        for index in range(50):  # with fewer than 100 photos, no calibration error is shown
            write_photo(tmp_path / "photos" / name / f"{index}.png", seed=10 * number + index)
    return tmp_path / "photos"


def test_evaluate_prints_both_and_top1_stays(mended, saved_checkpoint, photos, allmlp):
    plain = json.loads(allmlp("evaluate", saved_checkpoint, photos, "--json").out)
    found = json.loads(allmlp("evaluate", mended, photos, "--json").out)
    assert found["temperature"] == 2.5
    assert (found["top1"], found["per_class"]) == (plain["top1"], plain["per_class"])
    assert found["loss_as_trained"] == plain["loss"] != found["loss"]
    assert found["expected_calibration_error_as_trained"] == plain["expected_calibration_error"]
    shown = allmlp("evaluate", mended, photos).out
    assert re.search(rf"^calibration error +{found['expected_calibration_error']:.2%}$", shown, re.MULTILINE)
    assert f"temperature, 2.5. Without it: loss {plain['loss']:.4f}, calibration error " in shown
    as_trained = allmlp("evaluate", saved_checkpoint, photos).out
    assert "Without it" not in as_trained
    error = f"{plain['expected_calibration_error']:.2%}"
    assert re.search(rf"^calibration error +{error} \(temperature not fitted\)$", as_trained, re.MULTILINE)


def test_predict_gives_probabilities_with_it(mended, saved_checkpoint, photos, allmlp):
    path = photos / "cat" / "0.png"
    (answer,) = json.loads(allmlp("predict", mended, path, "--format", "json").out)
    (plain,) = json.loads(allmlp("predict", saved_checkpoint, path, "--format", "json").out)
    assert [each["label"] for each in answer["predictions"]] == [each["label"] for each in plain["predictions"]]
    assert answer["predictions"][0]["score"] < plain["predictions"][0]["score"]
    assert answer["predictions"] == list(Predictor.from_checkpoint(mended, device="cpu").predict(path)[0].labels)


def test_inspect_shows_it(mended, saved_checkpoint, allmlp):
    assert json.loads(allmlp("inspect", mended, "--json").out)["temperature"] == 2.5
    assert json.loads(allmlp("inspect", saved_checkpoint, "--json").out)["temperature"] == 1.0
    assert "2.5: probabilities are the softmax of logits / temperature" in allmlp("inspect", mended).out
    assert "temperature" not in allmlp("inspect", saved_checkpoint).out


def test_convert_keeps_it_or_says_that_it_cannot(mended, saved_checkpoint, tmp_path, allmlp):
    outcome = allmlp("convert", mended, tmp_path / "again", "--to", "allmlp")
    assert outcome.code == 0
    assert (tmp_path / "again" / "config.json").read_bytes() == (mended / "config.json").read_bytes()
    outcome = allmlp("convert", mended, tmp_path / "x.npz", "--to", "google")
    lines = [line for line in outcome.out.splitlines() if "temperature" in line]
    assert lines == [
        "  - The temperature, 2.5: only allmlp divides the logits by it before the softmax. Elsewhere the probabilities "
        "differ; predictions do not change."
    ]
    allmlp("convert", saved_checkpoint, tmp_path / "y.npz", "--to", "google")
    assert (tmp_path / "x.npz").read_bytes() == (tmp_path / "y.npz").read_bytes()  # the logits are the same
    back = allmlp("convert", tmp_path / "x.npz", tmp_path / "back", "--to", "allmlp")
    assert back.code == 0
    assert load_checkpoint(tmp_path / "back").temperature == 1.0
    assert not any("temperature" in line for line in FORMATS["google"].lost(load_checkpoint(saved_checkpoint)))


def test_timms_form_cannot_hold_it_and_its_card_does_not_claim_so(checkpoint_of_timms_shape):
    (line,) = (each for each in FORMATS["timm"].lost(checkpoint_of_timms_shape) if "temperature" in each)
    assert line.startswith("The temperature, 0.75: ")
    cards = [
        model_card_text(
            checkpoint_of_timms_shape, repository="a/b", revision="main", form=form, license_id=None, evaluations=[]
        )
        for form in ("allmlp", "timm")
    ]
    assert ["| temperature | 0.75 |" in card for card in cards] == [True, False]


@pytest.fixture
def checkpoint_of_timms_shape():
    config = MixerConfig(
        image_size=32,
        patch_size=32,
        num_blocks=8,
        hidden_dim=512,
        tokens_mlp_dim=2,
        channels_mlp_dim=2,
        num_classes=2,
        gelu="erf",
    )
    return tiny_checkpoint(config=config, class_names=("a", "b"), temperature=0.75)
