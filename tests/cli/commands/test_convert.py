"""`allmlp convert`: from every form to every other, and what it says about it."""

import re
import shlex
import warnings
from dataclasses import replace
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
import torch
from PIL import Image
from tests.builders import GOLDEN

from allmlp import Checkpoint, MixerConfig, MlpMixer, Preprocessing, load_checkpoint, save_checkpoint
from allmlp.checkpoints import FORMATS
from allmlp.cli.commands.other_tools.convert import Target
from allmlp.cli.commands.other_tools.push import Form
from allmlp.data import label_names

CONFIG = MixerConfig(
    image_size=64,
    patch_size=32,
    num_blocks=8,
    hidden_dim=512,
    tokens_mlp_dim=6,
    channels_mlp_dim=10,
    num_classes=3,
    gelu="tanh",
)
CLASS_NAMES = ("cat", "dog", "owl")


@pytest.fixture(scope="module")
def tanh(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint of timm's shape with a large GELU error: weights far from zero."""
    torch.manual_seed(0)
    model = MlpMixer(CONFIG)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    checkpoint = Checkpoint(
        config=CONFIG,
        weights=model.state_dict(),
        preprocessing=Preprocessing(image_size=64, crop_fraction=0.875, mean=(0.4, 0.5, 0.6)),
        class_names=CLASS_NAMES,
        source="random weights",
    )
    return save_checkpoint(checkpoint, tmp_path_factory.mktemp("convert") / "tanh")


@pytest.fixture(scope="module")
def erf(tanh: Path) -> Path:
    checkpoint = load_checkpoint(tanh)
    return save_checkpoint(replace(checkpoint, config=replace(CONFIG, gelu="erf")), tanh.parent / "erf")


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two photos a class, in a folder a class."""
    root = tmp_path_factory.mktemp("photos")
    for number, name in enumerate(CLASS_NAMES * 2):
        (root / name).mkdir(exist_ok=True)
        pixels = np.random.default_rng(number).integers(0, 256, (80, 70, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(root / name / f"{number}.png")
    return root


def test_timm_and_back_is_the_same_checkpoint(erf: Path, tmp_path: Path, allmlp) -> None:
    outcome = allmlp("convert", erf, tmp_path / "timm", "--to", "timm")
    assert (outcome.code, outcome.err) == (0, "")
    assert f"Wrote {tmp_path / 'timm'} (" in outcome.out
    assert "float32, 3 classes, 64 × 64 pixels, erf GELU): config.json, model.safetensors" in outcome.out
    assert "random weights" in outcome.out  # where they came from, which timm's form does not hold
    outcome = allmlp("convert", tmp_path / "timm", tmp_path / "back", "--to", "allmlp")
    assert outcome.code == 0
    assert f"predict {tmp_path / 'back'} PHOTO.jpg" in outcome.out
    assert (tmp_path / "back" / "model.safetensors").read_bytes() == (erf / "model.safetensors").read_bytes()
    back = load_checkpoint(tmp_path / "back")
    before = load_checkpoint(erf).with_preprocessing({"law": "timm"})  # whose code the folder is for
    assert replace(back, weights={**before.weights}, source=before.source) == replace(
        before, weights={**before.weights}
    )


def test_google_s_form_says_what_it_does_not_hold(erf: Path, tmp_path: Path, allmlp) -> None:
    outcome = allmlp("convert", erf, tmp_path / "x.npz", "--to", "google")
    assert (outcome.code, outcome.err) == (0, "")
    for words in ("GELU", "--gelu erf", "class names", "pre-processing", "bicubic", f"inspect {tmp_path / 'x.npz'}"):
        assert words in outcome.out
    outcome = allmlp("convert", tmp_path / "x.npz", tmp_path / "back", "--to", "allmlp", "--gelu", "erf")
    assert "measured" in outcome.out
    assert (tmp_path / "back" / "model.safetensors").read_bytes() == (erf / "model.safetensors").read_bytes()
    assert load_checkpoint(tmp_path / "back").config == load_checkpoint(erf).config


@pytest.mark.parametrize("name", ["timm", 'it\'s "$timm"'])
def test_the_printed_python_lines_run(name: str, erf: Path, tmp_path: Path, allmlp, capsys, monkeypatch) -> None:
    outcome = allmlp("convert", erf, tmp_path / name, "--to", "timm")
    lines = [line.partition("  # ")[0].strip() for line in outcome.out.splitlines() if "python -c" in line]
    assert len(lines) == 2
    Image.new("RGB", (80, 70), "red").save(tmp_path / "PHOTO.jpg")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    for line, words in zip(lines, ("MlpMixer(", "'label': "), strict=True):
        python, option, code = shlex.split(line)  # as a shell would
        assert (python, option) == ("python", "-c")
        with warnings.catch_warnings():
            # transformers imports what Python and its libraries are about to drop.
            warnings.simplefilter("ignore", DeprecationWarning)
            exec(code, {})
        assert words in capsys.readouterr().out


def test_a_tanh_model_needs_gelu_erf_for_timm(tanh: Path, tmp_path: Path, allmlp) -> None:
    outcome = allmlp("convert", tanh, tmp_path / "timm", "--to", "timm")
    assert outcome.code == 2
    assert "--gelu erf" in outcome.err
    assert not (tmp_path / "timm").exists()


def test_a_change_of_gelu_is_measured_on_labelled_photos(tanh: Path, photos: Path, tmp_path: Path, allmlp) -> None:
    outcome = allmlp("convert", tanh, tmp_path / "timm", "--to", "timm", "--gelu", "erf", "--photos", photos)
    assert (outcome.code, outcome.err) == (0, "")
    before, after = load_checkpoint(tanh), load_checkpoint(tmp_path / "timm")
    assert after.config.gelu == "erf"
    files = [photos / name / f"{number}.png" for number, name in enumerate(CLASS_NAMES * 2)]
    images = torch.from_numpy(np.stack([before.preprocessing(np.asarray(Image.open(file))) for file in files]))
    with torch.inference_mode():
        old, new = before.build()(images), after.build()(images)
    changed = int((old.argmax(1) != new.argmax(1)).sum())
    labels = torch.arange(6) % 3
    top1 = [float((logits.argmax(1) == labels).float().mean()) for logits in (old, new)]
    assert f"the 6 photos of {photos}" in outcome.out
    said = re.search(r"(\S+) \(the largest logit is (\S+)\)", outcome.out)
    assert said is not None, outcome.out
    # The difference is some 300 roundings of float32, which fall otherwise in another batch or on another processor.
    assert float(said[1]) == pytest.approx(float((old - new).abs().max()), rel=0.05)
    assert float(said[2]) == pytest.approx(float(old.abs().max()), rel=0.005)
    assert f"{changed} of 6 photos" in outcome.out
    assert f"{top1[0]:.2%} before, {top1[1]:.2%} after" in outcome.out


def test_a_change_of_gelu_is_measured_on_photos_without_labels(
    tanh: Path, photos: Path, tmp_path: Path, allmlp
) -> None:
    flat = tmp_path / "flat"
    flat.mkdir()
    for path in photos.rglob("*.png"):
        (flat / path.name).write_bytes(path.read_bytes())
    outcome = allmlp("convert", tanh, tmp_path / "x", "--to", "allmlp", "--gelu", "erf", "--photos", flat)
    assert outcome.code == 0
    assert "which have no labels" in outcome.out
    assert "of 6 photos" in outcome.out
    assert "top-1" not in outcome.out
    assert "GELU changed from tanh to erf by choice" in load_checkpoint(tmp_path / "x").source


def test_labels_that_the_model_does_not_know_are_left_out(tanh: Path, photos: Path, tmp_path: Path, allmlp) -> None:
    (tmp_path / "data").mkdir()
    for name, known in (("yak", "cat"), ("dog", "dog")):
        (tmp_path / "data" / name).symlink_to(photos / known)
    outcome = allmlp("convert", tanh, tmp_path / "x", "--to", "allmlp", "--gelu", "erf", "--photos", tmp_path / "data")
    assert outcome.code == 0
    assert "does not know all of its classes" in outcome.out
    assert "of 4 photos" in outcome.out
    assert "top-1" not in outcome.out


def test_an_unmeasured_change_of_gelu_says_how_to_measure_it(tanh: Path, tmp_path: Path, allmlp) -> None:
    outcome = allmlp("convert", tanh, tmp_path / "x", "--to", "allmlp", "--gelu", "erf")
    assert outcome.code == 0
    assert "not measured" in outcome.out
    assert f"convert {tanh} DST --to allmlp --gelu erf --photos PHOTOS" in outcome.out


def test_the_command_that_measures_is_for_the_same_size(tanh: Path, tmp_path: Path, allmlp) -> None:
    outcome = allmlp("convert", tanh, tmp_path / "x", "--to", "allmlp", "--gelu", "erf", "--image-size", "64x96")
    assert f"convert {tanh} DST --to allmlp --gelu erf --image-size 64x96 --photos PHOTOS" in outcome.out


def test_the_present_gelu_is_only_noted(erf: Path, tmp_path: Path, allmlp) -> None:
    outcome = allmlp("convert", erf, tmp_path / "x", "--to", "allmlp", "--gelu", "erf")
    assert outcome.code == 0
    assert "nothing changes" in outcome.err
    for name in ("model.safetensors", "config.json"):
        assert (tmp_path / "x" / name).read_bytes() == (erf / name).read_bytes()


def test_photos_that_cannot_be_read_leave_nothing_written(tanh: Path, tmp_path: Path, allmlp) -> None:
    arguments = ("convert", tanh, tmp_path / "x", "--to", "allmlp", "--gelu", "erf", "--photos")
    (tmp_path / "empty").mkdir()
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "photo.jpg").write_bytes(b"no photo")
    for data, words in (("nowhere", "nowhere"), ("empty", "no photos"), ("bad", "photo.jpg")):
        outcome = allmlp(*arguments, tmp_path / data)
        assert (outcome.code, outcome.out) == (3, "")
        assert words in outcome.err
    assert not (tmp_path / "x").exists()


def test_another_image_size_is_written(erf: Path, tmp_path: Path, allmlp) -> None:
    outcome = allmlp("convert", erf, tmp_path / "x", "--to", "timm", "--image-size", "64x96")
    assert outcome.code == 0
    assert "64 × 96 pixels" in outcome.out
    written = load_checkpoint(tmp_path / "x")
    assert written.config.image_size == written.preprocessing.image_size == (64, 96)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_the_precision_is_kept(dtype: torch.dtype, erf: Path, tmp_path: Path, allmlp) -> None:
    checkpoint = load_checkpoint(erf)
    weights = {name: weight.to(dtype) for name, weight in checkpoint.weights.items()}
    save_checkpoint(replace(checkpoint, weights=weights), tmp_path / "narrow")
    for source, place, target in (("narrow", "a", "timm"), ("a", "b.npz", "google"), ("b.npz", "c", "allmlp")):
        outcome = allmlp("convert", tmp_path / source, tmp_path / place, "--to", target)
        assert outcome.code == 0
        assert str(dtype).removeprefix("torch.") in outcome.out
    assert (tmp_path / "c" / "model.safetensors").read_bytes() == (
        tmp_path / "narrow" / "model.safetensors"
    ).read_bytes()


def test_the_grid_of_a_file_that_does_not_say_it_is_that_of_the_image_size(tmp_path: Path, allmlp) -> None:
    """1 × 4 tokens could be 2 × 2: --image-size says which, and nothing is resampled."""
    config = replace(CONFIG, image_size=(32, 128))
    checkpoint = Checkpoint(
        config=config,
        weights=MlpMixer(config).state_dict(),
        preprocessing=Preprocessing(image_size=(32, 128)),
        class_names=CLASS_NAMES,
        source="random weights",
    )
    save_checkpoint(checkpoint, tmp_path / "wide")
    outcome = allmlp("convert", tmp_path / "wide", tmp_path / "x.npz", "--to", "google")
    assert f"allmlp inspect {tmp_path / 'x.npz'} --image-size 32x128" in outcome.out
    outcome = allmlp("convert", tmp_path / "x.npz", tmp_path / "back", "--to", "allmlp", "--image-size", "32x128")
    assert outcome.code == 0
    assert "Its 4 tokens are assumed to be those of 32 × 128 pixels" in outcome.err
    assert load_checkpoint(tmp_path / "back").config == config
    weights = [(tmp_path / name / "model.safetensors").read_bytes() for name in ("wide", "back")]
    assert weights[0] == weights[1]
    # What says its size is resampled.
    outcome = allmlp("convert", tmp_path / "wide", tmp_path / "square", "--to", "allmlp", "--image-size", "64")
    assert "resample" in outcome.err


def test_folders_named_by_synsets_are_labels_of_imagenets_classes(photos: Path, tmp_path: Path, allmlp) -> None:
    config = replace(CONFIG, num_classes=1000)
    checkpoint = Checkpoint(
        config=config,
        weights=MlpMixer(config).state_dict(),
        preprocessing=Preprocessing(image_size=64),
        class_names=label_names("imagenet-1k"),
        source="random weights",
    )
    save_checkpoint(checkpoint, tmp_path / "tanh")
    (tmp_path / "data").mkdir()
    for name, known in (("n01440764", "cat"), ("n01443537", "dog")):
        (tmp_path / "data" / name).symlink_to(photos / known)
    arguments = ("--to", "allmlp", "--gelu", "erf", "--photos", tmp_path / "data")
    outcome = allmlp("convert", tmp_path / "tanh", tmp_path / "x", *arguments)
    assert outcome.code == 0
    assert "top-1" in outcome.out


# Refusals


@pytest.mark.parametrize("target", ["allmlp", "timm", "google"])
def test_nothing_is_overwritten(target: str, erf: Path, tmp_path: Path, allmlp) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "mine").write_bytes(b"mine")
    (tmp_path / "file").write_bytes(b"mine")
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    for name in ("folder", "file", "link"):
        outcome = allmlp("convert", erf, tmp_path / name, "--to", target)
        assert outcome.code == 2
        assert outcome.err.startswith(f"allmlp: {tmp_path / name}: ")
    assert (tmp_path / "folder" / "mine").read_bytes() == (tmp_path / "file").read_bytes() == b"mine"
    assert not (tmp_path / "nowhere").exists()


def test_an_empty_folder_is_filled(erf: Path, tmp_path: Path, allmlp) -> None:
    assert allmlp("convert", erf, tmp_path, "--to", "timm").code == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["config.json", "model.safetensors"]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--to", "timm", "--photos", "DATA"], "--gelu"),
        (["--to", "google", "--gelu", "tanh"], "no effect"),
        (["--to", "onnx"], "onnx"),
        ([], "--to"),
    ],
)
def test_options_that_cannot_be_are_refused(options: list[str], words: str, erf: Path, tmp_path: Path, allmlp) -> None:
    outcome = allmlp("convert", erf, tmp_path / "x", *options)
    assert outcome.code == 2
    assert words in outcome.err
    assert not (tmp_path / "x").exists()


def test_an_empty_or_impossible_destination_is_refused(erf: Path, tmp_path: Path, allmlp) -> None:
    assert "DST is empty" in allmlp("convert", erf, "", "--to", "timm").err
    assert allmlp("convert", erf, "x" * 300, "--to", "timm").code == 2
    assert allmlp("convert", erf, erf / "config.json" / "x", "--to", "timm").code == 2
    assert allmlp("convert", tmp_path / "nowhere", tmp_path / "x", "--to", "timm").code == 4


def test_a_shape_that_timm_lacks_is_found_before_photos_are_read(saved_checkpoint, tmp_path: Path, allmlp) -> None:
    outcome = allmlp(
        "convert", saved_checkpoint, tmp_path / "x", "--to", "timm", "--gelu", "erf", "--photos", "nowhere"
    )
    assert outcome.code == 2
    assert "(8, 1, 16)" in outcome.err
    assert "mixer_s32_224" in outcome.err


def test_the_choices_are_the_formats_that_there_are() -> None:
    assert get_args(Target) == tuple(FORMATS)
    assert get_args(Form) == tuple(name for name, form in FORMATS.items() if form.is_folder)


def test_a_converted_checkpoint_keeps_the_preprocessing_that_was_given(tmp_path, allmlp):
    options = ["--mean", "0,0,0", "--std", "1,1,1", "--interpolation", "bilinear", "--fit", "squash"]
    source = GOLDEN / "tiny_linen.npz"
    assert allmlp("convert", source, tmp_path / "mine", "--to", "allmlp", *options).code == 0
    written = load_checkpoint(tmp_path / "mine").preprocessing
    assert (written.mean, written.std) == ((0, 0, 0), (1, 1, 1))
    assert (written.interpolation, written.fit) == ("bilinear", "squash")
