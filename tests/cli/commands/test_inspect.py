import json
import re
import shutil

import pytest
import torch
from tests.builders import GOLDEN, tiny_checkpoint

from allmlp import VARIANTS, load_checkpoint, save_checkpoint


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_variant_is_shown_without_weights(variant, allmlp):
    outcome = allmlp("inspect", variant, "--json")
    facts = json.loads(outcome.out)
    assert (outcome.code, outcome.err) == (0, "")
    assert facts["model"]["num_blocks"] == VARIANTS[variant].num_blocks
    assert facts["parameters"] == sum(part["parameters"] for part in facts["parts"])
    assert facts["gflops"] == pytest.approx(sum(part["gflops"] for part in facts["parts"]))
    assert "class_names" not in facts


def test_parameters_are_the_published_ones(allmlp):
    # vit_jax's own tests count these.
    assert json.loads(allmlp("inspect", "B/16", "--json").out)["parameters"] == 59_880_472
    assert json.loads(allmlp("inspect", "L/16", "--json").out)["parameters"] == 208_196_168
    assert "59,880,472" in allmlp("inspect", "B/16").out


def test_a_checkpoint_is_shown_with_preprocessing_classes_and_source(saved_checkpoint, allmlp):
    facts = json.loads(allmlp("inspect", saved_checkpoint, "--json").out)
    assert facts["source"] == "made by a test"
    assert facts["class_names"] == ["cat", "=dog", "[red]fox", "owl", "yak", "zebra"]
    assert facts["preprocessing"]["image_size"] == [16, 16]
    shown = allmlp("inspect", saved_checkpoint)
    assert shown.code == 0
    assert "[red]fox" in shown.out
    assert "interpolation" in shown.out
    assert f"predict {saved_checkpoint}" in shown.out


@pytest.mark.parametrize("law", ["timm", "big_vision", "vit_jax"])
def test_a_law_can_be_given_and_is_repeated_in_the_next_commands(law, saved_checkpoint, allmlp):
    facts = json.loads(allmlp("inspect", saved_checkpoint, "--law", law, "--json").out)
    assert facts["preprocessing"]["law"] == law
    assert facts["preprocessing"]["fit"] == ("squash" if law == "vit_jax" else "crop")
    assert f"predict {saved_checkpoint} --law {law} PHOTO.jpg" in allmlp("inspect", saved_checkpoint, "--law", law).out


def test_size_and_speed_are_shown_with_how_they_were_measured(saved_checkpoint, allmlp):
    facts = json.loads(allmlp("inspect", saved_checkpoint, "--format", "json").out)
    weights = sum(weight.nbytes for weight in load_checkpoint(saved_checkpoint).weights.values())
    assert facts["float32_bytes"] == weights
    assert facts["speed"]["milliseconds"] > 0
    assert facts["speed"]["num_threads"] == torch.get_num_threads()
    shown = allmlp("inspect", saved_checkpoint).out
    assert re.search(r"^size +[\d.]+ kB in float32$", shown, re.M)
    how = r"\(\w+, .*float32, without decoding; median of \d+ batches of \d+\)"
    assert re.search(rf"^speed +\S+ ms per photo on this machine {how}$", shown, re.M)
    assert "on this machine" not in allmlp("inspect", "B/16").out
    assert "240 MB in float32" in allmlp("inspect", "B/16").out


@pytest.mark.parametrize("size", ["64x", "x64", "6_4", "64x64x64", "٦٤", "-64", "64.0", "9" * 5000, ""])
def test_what_is_no_size_exits_2(size, allmlp):
    outcome = allmlp("inspect", "B/16", f"--image-size={size}")
    assert outcome.code == 2
    assert "expected pixels such as 64, or HxW such as 64x96" in outcome.err
    assert len(outcome.err) < 1000


@pytest.mark.parametrize(("size", "sides"), [("64", [64, 64]), ("64x96", [64, 96]), ("64×96", [64, 96])])
def test_a_size_is_a_side_or_height_and_width(size, sides, allmlp):
    facts = json.loads(allmlp("inspect", "B/16", "--image-size", size, "--json").out)
    assert facts["model"]["image_size"] == sides


def test_what_is_no_checkpoint_exits_4(tmp_path, allmlp):
    outcome = allmlp("inspect", tmp_path / "nothing")
    assert outcome.code == 4
    assert outcome.out == ""
    assert outcome.err.startswith(f"allmlp: {tmp_path / 'nothing'}: ")


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["--mean", "0,0,0", "--std", "1", "--interpolation", "bilinear"], {"mean": [0, 0, 0], "std": [1, 1, 1]}),
        (["--mean", "0.485,0.456,0.406"], {"mean": [0.485, 0.456, 0.406]}),
        (["--fit", "pad"], {"fit": "pad", "crop_fraction": 1}),
        (["--fit", "squash", "--image-size", "48"], {"fit": "squash", "image_size": [48, 48]}),
    ],
)
def test_the_preprocessing_of_a_bare_file_is_assumed_aloud_and_can_be_given(options, expected, allmlp):
    path = GOLDEN / "tiny_linen.npz"
    assumed = allmlp("inspect", path)
    assert assumed.code == 0
    assert "The file does not state its pre-processing. No published Mixer" in assumed.err
    given = allmlp("inspect", path, *options, "--json")
    facts = json.loads(given.out)
    assert {key: facts["preprocessing"][key] for key in expected} == expected
    assert "does not state its pre-processing" not in given.err
    assert f"predict {path} {' '.join(options[:2])}" in allmlp("inspect", path, *options[:2]).out


@pytest.mark.parametrize("value", ["", "a,b,c", "0,0", "1,2,3,4", "0.5;0.5;0.5", "nan", "1,,2"])
@pytest.mark.parametrize("option", ["--mean", "--std"])
def test_what_is_no_colour_exits_2(option, value, allmlp):
    outcome = allmlp("inspect", GOLDEN / "tiny_linen.npz", option, value)
    assert outcome.code == 2
    assert "Traceback" not in outcome.err
    assert option in outcome.err or "finite" in outcome.err


@pytest.mark.parametrize(
    "name", ["lightning_plain_reads.ckpt", "lightning_weighted_loss.ckpt", "lightning_torchmetrics.ckpt"]
)
def test_a_lightning_checkpoint_is_shown_with_what_was_left_out(name, tmp_path, allmlp):
    shutil.copy(GOLDEN.parent / "cases" / "weights" / name, tmp_path)
    outcome = allmlp("inspect", tmp_path / name)
    assert outcome.code == 0
    assert ("Left out: " in outcome.err) == (name != "lightning_plain_reads.ckpt")


def test_a_mixer_without_a_classifier_is_not_offered_for_what_it_cannot_do(allmlp, tmp_path):
    save_checkpoint(tiny_checkpoint(num_classes=0, class_names=()), tmp_path / "headless")
    outcome = allmlp("inspect", tmp_path / "headless")
    assert outcome.code == 0 and "no classes, only features" in outcome.out
    assert "allmlp embed" in outcome.out and "predict" not in outcome.out and "evaluate" not in outcome.out
