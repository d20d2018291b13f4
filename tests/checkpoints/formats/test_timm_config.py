"""config.json as timm and transformers write it: what it says, where it is written, and what allmlp cannot do alike."""

import math
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from timm.models._hub import save_config_for_hf  # what save_for_hf and push_to_hf_hub write as config.json

from allmlp import CheckpointError, Preprocessing
from allmlp.checkpoints.formats.timm_config import TimmDescription, matching_fraction, parse_timm_config
from allmlp.io.json_object import read_json_object


@pytest.mark.parametrize("crop_fraction", [0.875, 0.9, 0.95, 1.0, 0.7, 1 / 3, 0.999])
@pytest.mark.parametrize("image_size", [(32, 32), (64, 64), (224, 224), (256, 192), (384, 384)])
def test_timm_s_rounding_down_reaches_our_scale(image_size: tuple[int, int], crop_fraction: float) -> None:
    scaled = [round(side / crop_fraction) for side in image_size]
    chosen = matching_fraction(image_size, scaled, near=crop_fraction)
    assert chosen is not None
    assert 0 < chosen <= 1
    assert [math.floor(side / chosen) for side in image_size] == scaled
    if image_size[0] == image_size[1]:  # then it also comes back to us as it was
        assert [round(side / chosen) for side in image_size] == scaled


@pytest.mark.parametrize(
    ("tag", "architecture", "num_classes"),
    [
        ("goog_in21k", "mixer_b16_224", 21_843),
        ("goog_in21k", "mixer_l16_224", 21_843),
        ("goog_in21k_ft_in1k", "mixer_b16_224", 1_000),
        ("goog_in21k_ft_in1k", "mixer_l16_224", 1_000),
        ("miil_in21k", "mixer_b16_224", 11_221),
        ("miil_in21k_ft_in1k", "mixer_b16_224", 1_000),
    ],
)
def test_the_hub_s_configurations_are_read(tag: str, architecture: str, num_classes: int, tmp_path: Path) -> None:
    with torch.device("meta"):
        model = timm.create_model(f"{architecture}.{tag}")
    save_config_for_hf(model, tmp_path / "config.json")
    colour = {"mean": (0.0,) * 3, "std": (1.0,) * 3, "interpolation": "bilinear"} if "miil" in tag else {}
    assert parse_timm_config(read_json_object(tmp_path / "config.json"), where="config.json") == TimmDescription(
        architecture=architecture,
        num_classes=num_classes,
        image_size=(224, 224),
        preprocessing=Preprocessing(image_size=224, crop_fraction=0.875, law="timm", **colour),
        class_names=None,
        tag=tag,
    )


CONFIG: dict[str, Any] = {
    "architecture": "mixer_s32_224",
    "num_classes": 3,
    "label_names": ["a", "b", "c"],
    "model_args": {},
    "pretrained_cfg": {"input_size": [3, 64, 96], "mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5], "crop_pct": 1.0},
}


def described(**changes: Any) -> TimmDescription:
    """Return what CONFIG with changes says; None removes a key, and "pretrained_cfg" is changed key by key."""
    changes["pretrained_cfg"] = {**CONFIG["pretrained_cfg"], **changes.pop("pretrained_cfg", {})}
    values = {key: value for key, value in {**CONFIG, **changes}.items() if value is not None}
    return parse_timm_config(values, where="config.json")


@pytest.mark.parametrize(
    ("changes", "class_names"),
    [
        ({}, ("a", "b", "c")),
        ({"label_names": {"0": "a", "2": "c"}}, ("a", "1", "c")),
        ({"label_names": None, "id2label": {"0": "a", "1": "b", "2": "c"}}, ("a", "b", "c")),
        ({"label_names": None, "label2id": {"b": 1, "a": 0, "c": 2}}, ("a", "b", "c")),
        ({"label_names": None, "labels": ["a", "b", "c"]}, ("a", "b", "c")),
        ({"label_names": None, "pretrained_cfg": {"label_names": ["a", "b", "c"]}}, ("a", "b", "c")),
        ({"label_names": None}, None),
        ({"label_names": []}, None),
        ({"label_names": ["LABEL_0", "LABEL_1", "LABEL_2"]}, None),
        ({"label_descriptions": {"a": "x", "b": "y", "c": "z"}}, ("x", "y", "z")),
        ({"label_descriptions": {"a": "x", "b": "y", "c": "y"}}, ("a", "b", "c")),
        ({"label_descriptions": {"a": "x", "b": "y"}}, ("a", "b", "c")),
        ({"label_names": ["crane", "b", "crane"]}, ("crane (class 0)", "b", "crane (class 2)")),
    ],
)
def test_class_names_are_found_wherever_they_are_written(
    changes: dict[str, Any], class_names: tuple[str, ...] | None
) -> None:
    assert described(**changes).class_names == class_names


def test_the_image_size_is_that_of_the_weights() -> None:
    assert described().image_size == (64, 96)
    larger = {"test_input_size": [3, 256, 256]}
    assert described(pretrained_cfg=larger).image_size == (64, 96)
    found = described(model_args={"img_size": 128})
    assert found.image_size == (128, 128)
    assert found.preprocessing == Preprocessing(image_size=128, law="timm")
    assert described(model_args={"img_size": [32, 64]}).image_size == (32, 64)


def test_pre_processing_that_is_not_written_is_timm_s() -> None:
    nothing = dict.fromkeys(("mean", "std", "crop_pct"))
    assert described(pretrained_cfg=nothing).preprocessing is None
    square = {**nothing, "input_size": [3, 224, 224], "crop_mode": "center"}
    assert described(pretrained_cfg=square).preprocessing == Preprocessing(
        image_size=224, crop_fraction=0.875, mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225), law="timm"
    )
    for crop_mode, fit in (("center", "crop"), ("squash", "squash"), ("border", "pad")):
        preprocessing = described(pretrained_cfg={"crop_mode": crop_mode}).preprocessing
        assert preprocessing is not None
        assert preprocessing.fit == fit


def test_timm_s_older_configurations_are_read() -> None:
    values = {"architecture": "mixer_s32_224", "num_features": 512, "num_classes": 3, "labels": ["a", "b", "c"]}
    found = parse_timm_config({**values, **CONFIG["pretrained_cfg"]}, where="config.json")
    assert found.preprocessing == Preprocessing(image_size=(64, 96), law="timm")
    assert (found.num_classes, found.class_names) == (3, ("a", "b", "c"))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"architecture": "resmlp_12_224"}, "'resmlp_12_224' is not an MLP-Mixer"),
        ({"architecture": "gmixer_24_224"}, "'gmixer_24_224' is not an MLP-Mixer"),
        ({"architecture": None, "model_type": "timm_wrapper"}, "'resnet50' is not an MLP-Mixer"),
        ({"architecture": None, "model_type": "vit"}, "'vit' is not an MLP-Mixer"),
        ({"architecture": 7}, "architecture is 7; expected text"),
        ({"num_classes": -1}, "num_classes is -1"),
        ({"num_classes": True}, "num_classes is True"),
        ({"num_classes": 3.0}, "num_classes is 3.0"),
        ({"num_classes": 10**400}, "num_classes is 1000"),
        ({"num_classes": 4}, "label_names holds 3 names for 4 classes"),
        ({"label_names": "abc"}, "label_names is 'abc'; expected a list"),
        ({"label_names": ["a", "b", None]}, "label_names holds None"),
        ({"label_names": {"0": "a", "x": "b"}}, "label_names is an object whose keys"),
        ({"label_names": {"9999999": "a"}}, "names class 9,999,999"),
        ({"label_names": ["a", "a (class 0)", "a"]}, "more than once"),
        ({"label_descriptions": ["a"]}, "label_descriptions is ['a']; expected an object"),
        ({"model_args": []}, "model_args is []; expected an object"),
        ({"model_args": {"img_size": "64"}}, "model_args.img_size is '64'"),
        ({"model_args": {"img_size": [64, 64, 64]}}, "model_args.img_size is [64, 64, 64]"),
        ({"model_args": {"img_size": 0}}, "model_args.img_size is [0, 0]"),
        ({"model_args": {"in_chans": 1}}, "grey photos (one channel)"),
        ({"model_args": {"in_chans": 4}}, "images of 4 channels"),
        ({"model_args": {"global_pool": ""}}, "global_pool is ''"),
        ({"pretrained_cfg": {"input_size": [1, 64, 64]}}, "repeat stem.proj.weight three times along axis 1"),
        ({"pretrained_cfg": {"input_size": 64}}, "pretrained_cfg.input_size is 64"),
        ({"pretrained_cfg": {"tag": 1}}, "tag is 1"),
        ({"pretrained_cfg": {"mean": [0.5]}}, "mean is [0.5]; expected three numbers"),
        ({"pretrained_cfg": {"mean": [0.5, 0.5, "0.5"]}}, "expected three numbers"),
        ({"pretrained_cfg": {"mean": [0.5, 0.5, math.nan]}}, "mean is (0.5, 0.5, nan)"),
        ({"pretrained_cfg": {"mean": [0.5, 0.5, 10**400]}}, "numbers out of range"),
        ({"pretrained_cfg": {"std": [0.5, 0.5, 0.0]}}, "std is (0.5, 0.5, 0.0)"),
        ({"pretrained_cfg": {"std": 1}}, "std is 1; expected a list"),
        ({"pretrained_cfg": {"crop_pct": 1.1}}, "crop_pct is 1.1"),
        ({"pretrained_cfg": {"crop_pct": 1e-320}}, "crop_pct is 1e-320"),
        ({"pretrained_cfg": {"crop_pct": "0.9"}}, "crop_pct is '0.9'"),
        ({"pretrained_cfg": {"crop_mode": "fill"}}, "crop_mode is 'fill'"),
        ({"pretrained_cfg": {"crop_mode": "border", "crop_pct": 0.9}}, "crop_mode is 'border' with crop_pct 0.9"),
        ({"pretrained_cfg": {"interpolation": "lanczos"}}, "interpolation is 'lanczos'"),
    ],
)
def test_what_allmlp_cannot_do_alike_is_refused_by_name(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(CheckpointError) as caught:
        described(**changes)
    assert str(caught.value).startswith("config.json: ")
    assert words in str(caught.value)
    assert len(str(caught.value)) < 1000
