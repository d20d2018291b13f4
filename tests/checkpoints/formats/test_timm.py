"""Folders for timm and transformers: both load what we write and compute our logits, and we load what they write."""

import functools
import json
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from tests.builders import assert_same_weights, tiny_description
from tests.checkpoints.timm_folder import NARROW_S32
from timm.models._hub import save_config_for_hf  # what save_for_hf and push_to_hf_hub write as config.json

from allmlp import (
    VARIANTS,
    Checkpoint,
    ConfigError,
    MixerConfig,
    Predictor,
    Preprocessing,
    load_checkpoint,
)
from allmlp.checkpoints.formats.timm import lost_in_timm, save_timm
from allmlp.checkpoints.naming.schemes import NAMING_SCHEMES
from allmlp.data.laws import scaled_size
from allmlp.inference import eager_forward
from allmlp.model import MlpMixer, parameter_shapes

NARROW = replace(NARROW_S32, num_classes=7)
CLASS_NAMES = ("dress", 'T-shirt "L"\n', "тапки 👟", "n01440764", "1", "hat", "shoe")
TIMM = next(scheme for scheme in NAMING_SCHEMES if scheme.name == "timm")

# Of the largest logit. In float32 the two differ by the order of additions, most where few tokens are averaged.
FLOAT32_TOLERANCE = 1e-6


def make_checkpoint(
    config: MixerConfig = NARROW, dtype: torch.dtype = torch.float32, **preprocessing: Any
) -> Checkpoint:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        weights = MlpMixer(config).state_dict()
        weights = {
            # Biases and the classifier are zero in a new Mixer, and norms one.
            name: weight + 0.1 * torch.randn_like(weight) if weight.ndim == 1 or name == "head.weight" else weight
            for name, weight in weights.items()
        }
    description = tiny_description(
        config=config,
        preprocessing=Preprocessing(image_size=config.image_size, **preprocessing),
        class_names=CLASS_NAMES[: config.num_classes],
    )
    return Checkpoint(description=description, weights={name: weight.to(dtype) for name, weight in weights.items()})


def images_for(config: MixerConfig) -> torch.Tensor:
    return torch.randn(3, 3, *config.image_size, generator=torch.Generator().manual_seed(1))


def logits(model: torch.nn.Module, images: torch.Tensor) -> torch.Tensor:
    with torch.inference_mode():
        return model.eval()(images)


def assert_close(found: torch.Tensor, other: torch.Tensor, *, tolerance: float) -> None:
    assert found.shape == other.shape
    assert (found - other).abs().max() <= tolerance * other.abs().max()


def assert_same_function(model: torch.nn.Module, other: torch.nn.Module, config: MixerConfig) -> None:
    """Compare logits in float64, in which a difference is one of the formula and not of rounding."""
    images = images_for(config).double()
    assert_close(logits(model.double(), images), logits(other.double(), images), tolerance=1e-12)


def timm_model(folder: Path) -> torch.nn.Module:
    return timm.create_model(f"local-dir:{folder}", pretrained=True).eval()


def timm_transform(model: torch.nn.Module) -> Callable[[Image.Image], torch.Tensor]:
    return timm.data.create_transform(**timm.data.resolve_model_data_config(model), is_training=False)


@functools.cache
def photo(size: tuple[int, int]) -> Image.Image:
    """Return a photo of (height, width) with shapes, shades and noise."""
    height, width = size
    rng = np.random.default_rng(0)
    coarse = Image.fromarray(rng.integers(0, 256, (5, 5, 3), dtype=np.uint8))
    pixels = np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC)).astype(int)
    pixels += rng.integers(-30, 31, pixels.shape)
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))


# Ours to timm


@pytest.mark.parametrize(
    "config",
    [
        NARROW,
        replace(NARROW, image_size=(64, 96)),
        replace(NARROW, num_classes=0),
        replace(NARROW, num_classes=1),
        replace(NARROW, tokens_mlp_dim=511, channels_mlp_dim=1),
    ],
    ids=["narrow", "not square", "no classifier", "one class", "odd widths"],
)
def test_timm_computes_our_logits(config: MixerConfig, tmp_path: Path) -> None:
    checkpoint = make_checkpoint(config)
    model = timm_model(save_timm(checkpoint, tmp_path / "a folder #1"))
    assert_same_function(model, checkpoint.build(), config)
    assert model.num_classes == config.num_classes
    assert tuple(model.pretrained_cfg.get("label_names", ())) == checkpoint.class_names


def test_timm_s_float32_logits_are_ours_for_a_real_variant(tmp_path: Path) -> None:
    checkpoint = make_checkpoint(replace(VARIANTS["S/32"], num_classes=7, gelu="erf"))
    model, images = timm_model(save_timm(checkpoint, tmp_path)), images_for(checkpoint.config)
    assert_close(logits(model, images), logits(checkpoint.build(), images), tolerance=FLOAT32_TOLERANCE)


def test_a_new_classifier_can_be_trained_on_what_we_write(tmp_path: Path) -> None:
    checkpoint = make_checkpoint()
    model = timm.create_model(f"local-dir:{save_timm(checkpoint, tmp_path)}", pretrained=True, num_classes=3)
    assert model.head.weight.shape == (3, 512)
    assert torch.equal(model.norm.weight, checkpoint.weights["pre_head_norm.weight"])


@pytest.mark.parametrize("variant", [variant for variant in VARIANTS if variant != "H/14"])
def test_the_six_variants_are_timm_s(variant: str, tmp_path: Path) -> None:
    name = f"mixer_{variant.lower().replace('/', '')}_224"
    with torch.device("meta"):
        model = timm.create_model(name)
    ours = {TIMM.theirs(name): shape for name, shape in parameter_shapes(VARIANTS[variant]).items()}
    assert {name: tuple(weight.shape) for name, weight in model.state_dict().items()} == ours


def test_the_config_holds_what_timm_s_own_holds(tmp_path: Path) -> None:
    checkpoint = make_checkpoint(crop_fraction=0.875)
    ours = json.loads((save_timm(checkpoint, tmp_path / "ours") / "config.json").read_text())
    arguments = {"img_size": 64, "mlp_ratio": [12 / 512, 40 / 512]}
    with torch.device("meta"):
        model = timm.create_model("mixer_s32_224", num_classes=7, **arguments)
    save_config_for_hf(model, tmp_path / "config.json", model_config={"label_names": list(CLASS_NAMES)})
    theirs = json.loads((tmp_path / "config.json").read_text())
    # timm writes all arguments here. transformers passes num_classes itself and fails on two of them.
    assert theirs.pop("model_args").items() > {"num_classes": 7, "mlp_ratio": arguments["mlp_ratio"]}.items()
    assert ours.pop("model_args") == arguments
    for key in ("tag", "license"):
        theirs["pretrained_cfg"].pop(key)
    # timm scales 64 / 0.875 = 73.14 pixels as we do: to 73.
    assert ours == theirs


@pytest.mark.parametrize("hidden_dim", [512, 768, 1024])
def test_every_width_of_an_mlp_is_kept(hidden_dim: int, tmp_path: Path) -> None:
    # Widths for which timm's int(ratio * hidden_dim) of the plain quotient would be one too few, and others.
    awkward = [width for width in range(1, 5000) if int(width / hidden_dim * hidden_dim) != width]
    variant = {512: "S/32", 768: "B/32", 1024: "L/32"}[hidden_dim]
    from allmlp.checkpoints.formats.timm import _mlp_ratio

    assert all(int(_mlp_ratio(width, hidden_dim) * hidden_dim) == width for width in range(1, 5000))
    for width in awkward[:2]:
        with torch.device("meta"):
            name = f"mixer_{variant.lower().replace('/', '')}_224"
            model = timm.create_model(name, mlp_ratio=json.loads(json.dumps([_mlp_ratio(width, hidden_dim)] * 2)))
        assert model.blocks[0].mlp_tokens.fc1.out_features == width


@pytest.mark.parametrize(
    ("config", "words"),
    [
        (
            replace(VARIANTS["S/16"], patch_size=8, gelu="erf"),
            ["(8, 8, 512)", "mixer_l16_224 (16, 24, 1024)", "allmlp export CHECKPOINT"],
        ),
        (replace(VARIANTS["H/14"], image_size=224, gelu="erf"), ["(14, 32, 1280)", "mixer_s32_224 (32, 8, 512)"]),
        (replace(NARROW, gelu="tanh"), ["--gelu erf"]),
        (replace(NARROW, num_blocks=1, gelu="tanh"), ["(32, 1, 512)", "--gelu erf"]),
    ],
    ids=["S/8", "H/14", "tanh", "both"],
)
def test_what_timm_does_not_have_is_refused_by_name(config: MixerConfig, words: list[str], tmp_path: Path) -> None:
    small = make_checkpoint(replace(NARROW, num_blocks=1))
    object.__setattr__(
        small.description, "config", config
    )  # weights of H/14 would take two gigabytes, and are not looked at
    with pytest.raises(ConfigError) as caught:
        save_timm(small, tmp_path / "new")
    for word in words:
        assert word in str(caught.value)
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_a_checkpoint_comes_back_bit_for_bit(dtype: torch.dtype, tmp_path: Path) -> None:
    checkpoint = make_checkpoint(
        dtype=dtype,
        fit="squash",
        crop_fraction=0.8,
        interpolation="bilinear",
        mean=(0.1, 0.2, 0.3),
        std=(0.3, 0.2, 0.1),
        law="timm",
    )
    weights = {**checkpoint.weights, "pre_head_norm.bias": torch.zeros(512, dtype=dtype).neg()}  # -0.0
    checkpoint = replace(checkpoint, weights=weights)
    back = load_checkpoint(save_timm(checkpoint, tmp_path / "one"))
    assert replace(back, weights=checkpoint.weights, source=checkpoint.source) == checkpoint
    assert_same_weights(back.weights, checkpoint.weights)
    save_timm(back, tmp_path / "two")
    for name in ("model.safetensors", "config.json"):
        assert (tmp_path / "two" / name).read_bytes() == (tmp_path / "one" / name).read_bytes()


# Pre-processing

FITS = [
    {"fit": "crop", "crop_fraction": 0.875},
    {"fit": "crop", "interpolation": "bilinear", "mean": (0.0, 0.0, 0.0), "std": (1.0, 1.0, 1.0)},
    {"fit": "squash", "crop_fraction": 0.875},
    {"fit": "squash"},
    {"fit": "pad", "mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)},
]
PHOTO_SIZES = [(64, 64), (128, 96), (97, 131), (131, 97), (300, 200), (480, 640), (333, 500), (50, 40), (65, 31)]


def rounds_alike(preprocessing: Preprocessing, size: tuple[int, int]) -> bool:
    """Whether timm's two other roundings, of the long side and of the crop's place, give the same for a photo."""
    targets = [round(side / preprocessing.crop_fraction) for side in preprocessing.image_size]
    if preprocessing.fit == "pad":
        return True
    if preprocessing.fit == "crop":
        ratio = max(target / side for target, side in zip(targets, size, strict=True))
        exact = [side * ratio for side in size]
        if targets[0] == targets[1] and int(targets[0] * max(size) / min(size)) != round(max(exact)):
            return False
        targets = [round(side) for side in exact]
    spare = [target - side for target, side in zip(targets, preprocessing.image_size, strict=True)]
    return all(round(each / 2) == each // 2 for each in spare)


def is_height_first(preprocessing: Preprocessing, size: tuple[int, int]) -> bool:
    """Whether Pillow 13 resizes the height of a photo before its width."""
    scaled = scaled_size(
        preprocessing.law, preprocessing.fit, preprocessing.image_size, preprocessing.crop_fraction, size
    )
    return size[0] > scaled[0] and size[0] - scaled[0] > 2 * (size[1] - scaled[1])


@pytest.mark.parametrize("image_size", [(64, 64), (64, 96)])
@pytest.mark.parametrize("fit", FITS, ids=lambda fit: " ".join(str(value) for value in fit.values()))
def test_timm_prepares_photos_as_we_do_where_it_rounds_as_we_do(
    fit: dict[str, Any], image_size: tuple[int, int], tmp_path: Path
) -> None:
    checkpoint = make_checkpoint(replace(NARROW, image_size=image_size), **fit)
    folder = save_timm(checkpoint, tmp_path)
    with torch.device("meta"):
        model = timm.create_model(f"local-dir:{folder}")
    transform = timm_transform(model)
    alike = [size for size in PHOTO_SIZES if rounds_alike(checkpoint.preprocessing, size)]
    assert len(alike) >= 3
    back = load_checkpoint(folder).preprocessing
    assert back.law == "timm"
    for size in PHOTO_SIZES:
        theirs, ours = transform(photo(size)).numpy(), checkpoint.preprocessing(np.asarray(photo(size)))
        if is_height_first(checkpoint.preprocessing, size):  # Pillow 13 rounds in another order; see `resize_by_axes`
            continue
        assert np.array_equal(theirs, ours) == (size in alike)
        assert np.array_equal(theirs, back(np.asarray(photo(size))))  # timm's own law


def test_timm_s_scores_are_ours_from_the_photo_s_file_on(tmp_path: Path) -> None:
    checkpoint = make_checkpoint(replace(NARROW, image_size=224), crop_fraction=0.875)
    model = timm_model(save_timm(checkpoint, tmp_path / "timm"))
    transform = timm_transform(model)
    forward = eager_forward(checkpoint, device="cpu")
    predictor = Predictor.from_checkpoint(checkpoint, device="cpu")
    for size, kind in [((480, 640), "jpg"), ((128, 96), "png"), ((64, 64), "jpg")]:
        path = tmp_path / f"photo.{kind}"
        photo(size).save(path)
        with Image.open(path) as image:
            theirs = logits(model, transform(image.convert("RGB"))[None])
            ours = torch.from_numpy(forward(checkpoint.preprocessing(np.asarray(image.convert("RGB")))[None]))
        assert_close(theirs, ours, tolerance=FLOAT32_TOLERANCE)
        scores = {each["label"]: each["score"] for each in predictor.predict(path, top_k=7)[0].labels}
        expected = dict(zip(model.pretrained_cfg["label_names"], theirs[0].softmax(0).tolist(), strict=True))
        assert scores == pytest.approx(expected, abs=1e-6)


def test_a_scale_that_timm_cannot_reach_is_said() -> None:
    # 32 / 0.875 = 36.57 and 64 / 0.875 = 73.14: rounded down by one fraction, 37 would come with 74.
    checkpoint = make_checkpoint(replace(NARROW, image_size=(32, 64)), crop_fraction=0.875)
    assert any("37 × 73" in sentence for sentence in lost_in_timm(checkpoint))
    assert not any("Scale" in sentence for sentence in lost_in_timm(make_checkpoint(crop_fraction=0.875)))


def test_timms_own_law_loses_nothing_and_the_authors_their_filter() -> None:
    assert lost_in_timm(make_checkpoint(crop_fraction=0.875, law="timm")) == ()
    authors = make_checkpoint(crop_fraction=0.875, law="big_vision", interpolation="bilinear")
    assert any("timm resizes with antialiasing" in sentence for sentence in lost_in_timm(authors))


def test_a_shift_of_pixels_is_said(tmp_path: Path) -> None:
    always = make_checkpoint(fit="squash", crop_fraction=64 / 67)  # 3 pixels to cut: we cut 1 above, timm 2
    never = make_checkpoint(fit="squash", crop_fraction=64 / 68)
    for checkpoint, is_shifted in ((always, True), (never, False), (make_checkpoint(), True)):
        assert any("shifted" in sentence for sentence in lost_in_timm(checkpoint)) == is_shifted
    with torch.device("meta"):
        model = timm.create_model(f"local-dir:{save_timm(always, tmp_path)}")
    theirs = timm_transform(model)(photo((67, 67))).numpy()
    ours = always.preprocessing(np.asarray(photo((67, 67))))
    assert np.array_equal(theirs[:, :-1, :-1], ours[:, 1:, 1:])


# Ours to transformers


@pytest.fixture(scope="module")
def transformers() -> Any:
    with warnings.catch_warnings():
        # transformers imports what Python and its libraries are about to drop.
        warnings.simplefilter("ignore", DeprecationWarning)
        import transformers

        transformers.utils.logging.disable_progress_bar()
    return transformers


def test_transformers_pipeline_gives_our_labels_and_scores(transformers: Any, tmp_path: Path) -> None:
    checkpoint = make_checkpoint(replace(NARROW, image_size=(160, 224)), fit="squash", crop_fraction=0.8)
    pipeline = transformers.pipeline("image-classification", model=str(save_timm(checkpoint, tmp_path / "mixer")))
    path = tmp_path / "photo.png"
    photo((97, 131)).save(path)
    theirs = pipeline(str(path), top_k=7)
    ours = Predictor.from_checkpoint(checkpoint, device="cpu").predict(path, top_k=7)[0].labels
    assert [each["label"] for each in theirs] == [each["label"] for each in ours]
    assert [each["score"] for each in theirs] == pytest.approx([each["score"] for each in ours], abs=1e-6)


def test_transformers_computes_in_the_precision_of_the_weights(transformers: Any, tmp_path: Path) -> None:
    checkpoint = make_checkpoint(dtype=torch.bfloat16)
    model = transformers.AutoModelForImageClassification.from_pretrained(save_timm(checkpoint, tmp_path))
    assert {weight.dtype for weight in model.parameters()} == {torch.bfloat16}
    assert_same_function(model.timm_model, checkpoint.build(), checkpoint.config)


# Theirs to ours


@pytest.mark.parametrize("safe", [True, False], ids=["safetensors", "pickle"])
def test_what_timm_saves_is_loaded_to_its_logits(safe: bool, tmp_path: Path) -> None:
    torch.manual_seed(2)
    model = timm.create_model("mixer_s32_224", num_classes=3, img_size=(64, 96), mlp_ratio=(0.03, 0.1))
    torch.nn.init.normal_(model.head.weight)
    named = {"label_names": ["a", "b", "c"], "label_descriptions": {"a": "an A", "b": "a B", "c": "a C"}}
    timm.models.save_for_hf(model, tmp_path, model_config=named, safe_serialization=safe)
    checkpoint = load_checkpoint(tmp_path)
    assert checkpoint.config.tokens_mlp_dim == 15
    assert checkpoint.class_names == ("an A", "a B", "a C")
    assert checkpoint.preprocessing == Preprocessing(
        image_size=(64, 96), crop_fraction=checkpoint.preprocessing.crop_fraction, law="timm"
    )
    assert_same_function(checkpoint.build(), model, checkpoint.config)


@pytest.mark.parametrize("names", [None, {0: "a", 1: "b", 2: "c"}])
def test_what_transformers_saves_is_loaded_to_its_logits(
    names: dict[int, str] | None, transformers: Any, tmp_path: Path
) -> None:
    labels = {"id2label": names} if names else {"num_labels": 3}
    config = transformers.TimmWrapperConfig.from_dict(
        {
            "architecture": "mixer_s32_224",
            "num_classes": 3,
            "model_args": {"img_size": 64, "mlp_ratio": [0.03, 0.1]},
            "pretrained_cfg": {"input_size": [3, 64, 64], "mean": [0.5] * 3, "std": [0.5] * 3, "crop_pct": 0.9},
        },
        **labels,
    )
    torch.manual_seed(2)
    model = transformers.TimmWrapperForImageClassification(config)
    torch.nn.init.normal_(model.timm_model.head.weight)
    model.save_pretrained(tmp_path)
    checkpoint = load_checkpoint(tmp_path)
    assert checkpoint.class_names == (("a", "b", "c") if names else ("0", "1", "2"))
    images = images_for(checkpoint.config).double()
    with torch.inference_mode():
        theirs = model.double().eval()(images).logits
    assert_close(logits(checkpoint.build().double(), images), theirs, tolerance=1e-12)
    scaled = [round(side / checkpoint.preprocessing.crop_fraction) for side in (64, 64)]
    assert scaled == [71, 71]  # timm rounds 64 / 0.9 = 71.11 down
    assert checkpoint.preprocessing.fit == "crop"
