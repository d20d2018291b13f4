"""Pre-processing that a file does not state: that of the published form that it fits, reported; the user can override it."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from tests.builders import GOLDEN, tiny_checkpoint
from tests.reference.other_layouts import timm_name

import allmlp
from allmlp import ConfigError, Predictor, Preprocessing, load_checkpoint, open_model
from allmlp.checkpoints.assumptions import assumed_preprocessing
from allmlp.checkpoints.sources.catalog import (
    CATALOG,
    MIIL_PREPROCESSING,
    PAPER_PREPROCESSING,
    TIMM_PREPROCESSING,
)
from allmlp.inference import Embedder
from allmlp.model import parameter_shapes


def test_a_bare_file_of_miils_classes_is_preprocessed_as_miils_and_says_so(tmp_path: Path) -> None:
    config = CATALOG["b16-miil-i21k"].config
    zeros = {
        timm_name(name): torch.zeros(shape, dtype=torch.float16) for name, shape in parameter_shapes(config).items()
    }
    save_file(zeros, tmp_path / "x.safetensors")
    loaded = load_checkpoint(tmp_path / "x.safetensors")
    assert loaded.preprocessing == MIIL_PREPROCESSING
    (remark,) = loaded.remarks
    assert "only b16-miil-i21k has weights with these names, shapes and classes" in remark
    assert "mean 0 0 0, std 1 1 1, bilinear" in remark
    assert "unknown origin; fits b16-miil-i21k" in loaded.source  # no claim that these are MIIL's


@pytest.mark.parametrize(
    ("name", "scheme", "is_miil", "words"),
    [
        ("b16-miil-i21k", "timm", True, "only b16-miil-i21k has"),
        ("b16-miil-i21k", "allmlp", True, "only b16-miil-i21k has"),
        ("b16-miil-i21k", "google linen", False, "No published Mixer has weights"),
        ("b16-miil-i1k", "timm", False, "differ (b16-miil-i1k: mean 0 0 0, std 1 1 1, bilinear, law timm)"),
        ("b16-i1k", "google linen", False, "b16-i1k, b16-sam, b16-gsam have"),
        ("b16-i1k", "google pre-linen", False, "b16-i1k, b16-sam, b16-gsam have"),
        ("s8-gsam", "google linen", False, "only s8-gsam has"),
        ("l16-i21k", "timm", False, "only l16-i21k-timm has"),
    ],
)
def test_what_is_assumed_follows_from_names_shapes_and_classes(
    name: str, scheme: str, is_miil: bool, words: str
) -> None:
    assumed, remark = assumed_preprocessing(CATALOG[name].config, scheme)
    by_scheme = TIMM_PREPROCESSING if scheme == "timm" else PAPER_PREPROCESSING
    assert assumed == (MIIL_PREPROCESSING if is_miil else by_scheme)
    assert words in remark and "--mean" in remark


def test_unpublished_shapes_get_the_papers_preprocessing_with_a_remark() -> None:
    config = replace(CATALOG["b16-miil-i21k"].config, num_classes=11_222, image_size=(448, 224), patch_size=32)
    assumed, remark = assumed_preprocessing(config, "timm")
    assert assumed == replace(TIMM_PREPROCESSING, image_size=(448, 224))
    assert "No published Mixer" in remark
    assumed, remark = assumed_preprocessing(config, "google linen")
    assert assumed == replace(PAPER_PREPROCESSING, image_size=(448, 224))
    assert "law big_vision" in remark


CHANGES = {"mean": (0, 0.25, 0), "std": (1, 1, 1), "interpolation": "bilinear", "fit": "pad"}
EXPECTED = Preprocessing(image_size=(32, 32), mean=(0, 0.25, 0), std=(1, 1, 1), interpolation="bilinear", fit="pad")


@pytest.mark.parametrize("preprocessing", [CHANGES, EXPECTED], ids=["fields", "whole"])
def test_the_callers_preprocessing_is_used_everywhere(
    preprocessing: Preprocessing | dict[str, object], tmp_path: Path
) -> None:
    path = GOLDEN / "tiny_linen.npz"
    loaded = load_checkpoint(path, preprocessing=preprocessing)
    assert loaded.preprocessing == EXPECTED
    assert loaded.remarks == ()  # nothing is assumed
    assert open_model(path, preprocessing=preprocessing).description.preprocessing == EXPECTED
    photo = np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8)
    given = Predictor.from_checkpoint(path, preprocessing=preprocessing).predict(photo)
    assert given == Predictor.from_checkpoint(loaded).predict(photo) != Predictor.from_checkpoint(path).predict(photo)
    features = Embedder.from_checkpoint(path, preprocessing=preprocessing).embed(photo)
    assert np.array_equal(features, Embedder.from_checkpoint(loaded).embed(photo))


def test_a_preprocessing_is_for_the_size_at_which_a_model_is_evaluated(tmp_path: Path) -> None:
    from PIL import Image

    for name in ("0", "1", "2", "3", "4", "5", "6"):
        (tmp_path / name).mkdir()
        Image.new("RGB", (9, 9), (int(name) * 30, 9, 9)).save(tmp_path / name / "a.png")
    wanted = replace(EXPECTED, image_size=(48, 48))
    lines: list[str] = []
    path = GOLDEN / "tiny_linen.npz"
    given = allmlp.evaluate(path, tmp_path, image_size=48, preprocessing=wanted, report=lines.append)
    converted = load_checkpoint(path).at_resolution(48).with_preprocessing(wanted)
    assert given.loss == allmlp.evaluate(converted, tmp_path).loss
    assert given.loss != allmlp.evaluate(path, tmp_path, image_size=np.int64(48)).loss  # type: ignore[arg-type]
    assert not any("does not state" in line for line in lines)
    assert allmlp.evaluate(open_model(path), tmp_path, preprocessing=CHANGES).image_size == (32, 32)


def test_remarks_stay_with_what_is_derived_and_are_reported_by_evaluate(tmp_path: Path) -> None:
    loaded = load_checkpoint(GOLDEN / "tiny_linen.npz")
    assert len(loaded.remarks) == 1
    assert loaded.at_resolution(48).with_new_head(["a", "b"]).remarks == loaded.remarks
    assert tiny_checkpoint().remarks == ()


@pytest.mark.parametrize(
    ("preprocessing", "words"),
    [
        (5, "preprocessing is 5; expected a Preprocessing, or a dictionary"),
        ("pad", "preprocessing is 'pad'"),
        ({"means": (0, 0, 0)}, "unknown key 'means'. Did you mean 'mean'"),
        ({"mean": 0.5}, "mean: expected a list"),
        ({"std": (0, 0, 0)}, "std is"),
        ({"fit": "stretch"}, "fit"),
        ({"fit": "pad", "crop_fraction": 0.9}, "fit='pad' crops nothing"),
    ],
)
def test_a_preprocessing_of_nothing_is_one_error(preprocessing: object, words: str) -> None:
    with pytest.raises(ConfigError, match=words.replace("(", r"\(")):
        load_checkpoint(GOLDEN / "tiny_linen.npz", preprocessing=preprocessing)  # type: ignore[arg-type]


# Arguments of other types


@pytest.mark.parametrize("source", [None, 5, b"runs/mine", ["runs/mine"], object(), tiny_checkpoint()])
def test_a_source_of_another_type_is_one_error(source: object) -> None:
    with pytest.raises(ConfigError, match=r"The source of a checkpoint is .*expected a path"):
        load_checkpoint(source)  # type: ignore[arg-type]


@pytest.mark.parametrize("source", [None, 5, b"runs/mine", ["runs/mine"]])
def test_a_model_of_another_type_is_one_error(source: object) -> None:
    with pytest.raises(ConfigError, match=r"The source of a (model|checkpoint) is .*; expected a path"):
        open_model(source)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=r"The source of a (model|checkpoint) is .*; expected a path"):
        Predictor.from_checkpoint(source)  # type: ignore[arg-type]


@pytest.mark.parametrize("size", [np.int64(32), np.int32(32), (np.int64(32), 32), [32, 32], np.uint8(32)])
def test_an_image_size_of_any_integer_type_is_taken(size: object) -> None:
    path = GOLDEN / "tiny_linen.npz"
    loaded = load_checkpoint(path, image_size=size)  # type: ignore[arg-type]
    assert loaded.config.image_size == (32, 32)
    assert all(type(side) is int for side in loaded.config.image_size)
    assert loaded.at_resolution(np.int64(48)).config.image_size == (48, 48)  # type: ignore[arg-type]


@pytest.mark.parametrize("size", [1.5, "32", 32.0, (32, 1.5), (32, 32, 32), True, np.float32(32), object()])
def test_an_image_size_of_another_type_is_one_error(size: object) -> None:
    path = GOLDEN / "tiny_linen.npz"
    with pytest.raises(allmlp.AllmlpError, match="image_size is"):
        load_checkpoint(path, image_size=size)  # type: ignore[arg-type]
    with pytest.raises(allmlp.AllmlpError, match="image_size is"):
        load_checkpoint(path).at_resolution(size)  # type: ignore[arg-type]
