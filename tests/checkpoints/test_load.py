"""Any source: the authors' golden files in every disguise, timm's and transformers' state, and clear refusals."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file
from tests.builders import GOLDEN, GOLDEN_CONFIG, random_weights
from tests.checkpoints.refusal import refused
from tests.checkpoints.timm_folder import timm_weights, write_timm_folder
from tests.reference.other_layouts import timm_name
from timm.models.mlp_mixer import MlpMixer as TimmMixer
from torch import Tensor

from allmlp import CheckpointError, ConfigError, MixerConfig, load_checkpoint, save_checkpoint
from allmlp.inference import eager_forward
from allmlp.model import parameter_shapes


def golden(layout: str) -> dict[str, NDArray[np.float32]]:
    with np.load(GOLDEN / f"tiny_{layout}.npz") as file:
        return dict(file)


def error_of(checkpoint_logits: NDArray[np.float32]) -> float:
    """Return the largest difference from the authors' logits, of their largest."""
    with np.load(GOLDEN / "tiny_expected.npz") as file:
        expected = file["logits"]
    return float(np.abs(checkpoint_logits - expected).max() / np.abs(expected).max())


def golden_images() -> NDArray[np.float32]:
    with np.load(GOLDEN / "tiny_expected.npz") as file:
        return np.ascontiguousarray(file["images"].transpose(0, 3, 1, 2))


# Google's files


@pytest.mark.parametrize("layout", ["linen", "prelinen"])
def test_the_authors_files_give_the_authors_logits(layout: str) -> None:
    checkpoint = load_checkpoint(GOLDEN / f"tiny_{layout}.npz")
    assert checkpoint.config == GOLDEN_CONFIG
    assert checkpoint.class_names == tuple("0123456")
    assert error_of(eager_forward(checkpoint)(golden_images())) < 1e-5  # the golden files' README


def as_void(array: NDArray[np.float32]) -> NDArray[np.generic]:
    """Return bfloat16 as NumPy files hold it: two bytes without a meaning."""
    return torch.from_numpy(np.ascontiguousarray(array)).bfloat16().view(torch.int16).numpy().view("V2")


DISGUISES: dict[str, tuple[Callable[[NDArray[np.float32]], NDArray[np.generic]], float]] = {
    # How an array is stored, and the error that its width allows.
    "big-endian": (lambda array: array.astype(">f4"), 1e-5),
    "Fortran order": (np.asfortranarray, 1e-5),
    "float64": (lambda array: array.astype(np.float64), 1e-5),
    "big-endian float64 in Fortran order": (lambda array: np.asfortranarray(array.astype(">f8")), 1e-5),
    "float16": (lambda array: array.astype(np.float16), 5e-3),
    "bfloat16": (as_void, 5e-2),
    "an axis of length 1 in front": (lambda array: array[None], 1e-5),
    "two axes of length 1 behind": (lambda array: array[..., None, None], 1e-5),
}


@pytest.mark.parametrize(
    ("disguise", "layout"),
    [(disguise, ("linen", "prelinen")[index % 2]) for index, disguise in enumerate(DISGUISES)]
    + [("an axis of length 1 in front", "prelinen"), ("two axes of length 1 behind", "linen")],
)
def test_every_way_to_store_an_array_gives_the_authors_logits(disguise: str, layout: str, tmp_path: Path) -> None:
    change, tolerance = DISGUISES[disguise]
    path = tmp_path / "weights"
    with path.open("wb") as file:
        np.savez(file, **{name: change(array) for name, array in golden(layout).items()})
    assert error_of(eager_forward(load_checkpoint(path))(golden_images())) < tolerance


def test_a_compressed_file_loads(tmp_path: Path) -> None:
    np.savez_compressed(tmp_path / "x.npz", **golden("linen"))
    assert error_of(eager_forward(load_checkpoint(tmp_path / "x.npz"))(golden_images())) < 1e-5


# timm's names, and wrappers


TIMM_CONFIG = replace(GOLDEN_CONFIG, gelu="erf")


@pytest.fixture(scope="module")
def timms() -> tuple[dict[str, Tensor], Tensor, Tensor]:
    """timm's state of a small Mixer, images, and timm's logits of them."""
    state = {timm_name(name): weight for name, weight in random_weights(TIMM_CONFIG).items()}
    model = TimmMixer(
        img_size=32, patch_size=8, num_blocks=3, embed_dim=24, mlp_ratio=(12 / 24, 40 / 24), num_classes=7
    )
    model.load_state_dict(state)
    images = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        return state, images, model.eval()(images)


def wrapped(state: dict[str, Tensor], how: str) -> object:
    if how in ("state_dict", "model", "state_dict_ema", "model_ema"):
        return {how: state, "epoch": 3}
    if how in ("module.", "_orig_mod.", "module._orig_mod.", "timm_model.", "model."):
        return {f"{how}{name}": weight for name, weight in state.items()}
    return state


@pytest.mark.parametrize(
    "how",
    [
        "plain",
        "state_dict",
        "model",
        "state_dict_ema",
        "model_ema",
        "module.",
        "_orig_mod.",
        "module._orig_mod.",
        "timm_model.",
        "model.",
    ],
)
def test_timms_state_gives_timms_logits(
    how: str, timms: tuple[dict[str, Tensor], Tensor, Tensor], tmp_path: Path
) -> None:
    state, images, expected = timms
    path = tmp_path / "weights.bin"
    torch.save(wrapped(state, how), path)
    checkpoint = load_checkpoint(path)
    assert checkpoint.config == TIMM_CONFIG
    with torch.inference_mode():
        logits = checkpoint.build()(images)
    assert (logits - expected).abs().max() < 1e-6 * expected.abs().max()


def test_the_moving_average_goes_before_the_raw_weights(tmp_path: Path) -> None:
    raw, average = (
        {timm_name(name): weight for name, weight in random_weights(GOLDEN_CONFIG, seed=seed).items()}
        for seed in (1, 2)
    )
    torch.save({"state_dict": raw, "state_dict_ema": average}, tmp_path / "x.pth")
    loaded = load_checkpoint(tmp_path / "x.pth")
    assert torch.equal(loaded.weights["head.bias"], average["head.bias"])
    assert "EMA" in loaded.source


def test_our_own_names_without_a_configuration_load(tmp_path: Path) -> None:
    state = random_weights(GOLDEN_CONFIG)
    save_file(state, tmp_path / "x.safetensors")
    loaded = load_checkpoint(tmp_path / "x.safetensors")
    assert loaded.config == GOLDEN_CONFIG
    assert all(torch.equal(loaded.weights[name], weight) for name, weight in state.items())


def test_a_state_without_a_classifier_gives_features(tmp_path: Path) -> None:
    state = {name: weight for name, weight in random_weights(GOLDEN_CONFIG).items() if not name.startswith("head.")}
    save_file({timm_name(name): weight for name, weight in state.items()}, tmp_path / "x.safetensors")
    loaded = load_checkpoint(tmp_path / "x.safetensors")
    assert loaded.config.num_classes == 0
    assert loaded.class_names == ()


# What the caller says


def test_gelu_and_class_names_override_what_the_file_says(tmp_path: Path) -> None:
    names = tuple("abcdefg")
    loaded = load_checkpoint(GOLDEN / "tiny_linen.npz", gelu="erf", class_names=names)
    assert loaded.config.gelu == "erf"
    assert loaded.class_names == names
    assert 1e-6 < error_of(eager_forward(loaded)(golden_images())) < 1e-2
    save_checkpoint(loaded, tmp_path / "native")
    again = load_checkpoint(tmp_path / "native", gelu="tanh", class_names=names[::-1])
    assert (again.config.gelu, again.class_names) == ("tanh", names[::-1])


@pytest.mark.parametrize("class_names", ["abcdefg", list(range(7))])
def test_class_names_that_are_no_names_are_refused(class_names: object) -> None:
    with pytest.raises(ConfigError, match=r"class_names is .*expected a list of names"):
        load_checkpoint(GOLDEN / "tiny_linen.npz", class_names=class_names)  # type: ignore[arg-type]


@pytest.mark.parametrize("image_size", [0, ()])
def test_an_image_size_of_nothing_is_refused(image_size: object) -> None:
    with pytest.raises(CheckpointError, match="image_size"):
        load_checkpoint(GOLDEN / "tiny_linen.npz", image_size=image_size)  # type: ignore[arg-type]


def test_overrides_that_cannot_be_are_refused() -> None:
    with pytest.raises(ConfigError, match="gelu is 'relu'"):
        load_checkpoint(GOLDEN / "tiny_linen.npz", gelu="relu")  # type: ignore[arg-type]
    with pytest.raises(CheckpointError, match=r"tiny_linen\.npz.*2 class names for a classifier of 7"):
        load_checkpoint(GOLDEN / "tiny_linen.npz", class_names=("a", "b"))


@pytest.mark.parametrize("form", ["google", "native"])
def test_an_image_size_that_the_weights_are_not_for_names_shapes_and_the_way_out(form: str, tmp_path: Path) -> None:
    source = GOLDEN / "tiny_linen.npz"
    if form == "native":
        source = save_checkpoint(load_checkpoint(source), tmp_path / "native")
    pattern = r"(?s)(16, 12|12, 16).*expected \((36, 12|12, 36)\).*at_resolution"
    with pytest.raises(CheckpointError, match=pattern):
        load_checkpoint(source, image_size=48)


# Folders of timm and transformers


@pytest.mark.parametrize(("architecture", "num_classes"), [("mixer_s32_224", 0), ("mixer_s16_224", 5)])
def test_a_variant_that_was_never_published_loads_from_timms_own_folder(
    architecture: str, num_classes: int, tmp_path: Path
) -> None:
    """timm writes the tag "untrained" into its configuration."""
    options = {"num_classes": num_classes, "img_size": (32, 64), "mlp_ratio": (0.02, 0.02)}
    model = timm.create_model(architecture, pretrained=False, **options)
    timm.models.save_for_hf(model, tmp_path, safe_serialization=True)
    loaded = load_checkpoint(tmp_path)
    assert loaded.class_names == tuple(map(str, range(num_classes)))
    assert loaded.config.image_size == (32, 64)


def test_what_transformers_saves_without_a_classifier_gives_features(tmp_path: Path) -> None:
    write_timm_folder(tmp_path, architectures=["TimmWrapperModel"])
    features = {name: weight for name, weight in timm_weights().items() if not name.startswith("head.")}
    save_file({f"timm_model.{name}": weight for name, weight in features.items()}, tmp_path / "model.safetensors")
    loaded = load_checkpoint(tmp_path)
    assert (loaded.config.num_classes, loaded.class_names) == (0, ())


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("[" + "[]," * (5 << 20) + "[]]", "larger than 4 MiB"),
        (json.dumps({"architecture": "mixer_s32_224", "num_classes": 1 << 20, "id2label": {"0": "a"}}), "num_classes"),
    ],
    ids=["lists", "classes"],
)
def test_a_hostile_configuration_is_refused_at_once(content: str, words: str, tmp_path: Path) -> None:
    write_timm_folder(tmp_path)
    (tmp_path / "config.json").write_text(content)
    with refused(tmp_path / "config.json", words):
        load_checkpoint(tmp_path)


def test_a_folder_of_timm_brings_names_and_preprocessing(tmp_path: Path) -> None:
    for source in (write_timm_folder(tmp_path), tmp_path / "model.safetensors", tmp_path / "config.json"):
        loaded = load_checkpoint(source)
        assert loaded.class_names == tuple("abcde")
        assert loaded.preprocessing.image_size == (64, 64)
        assert 0.88 < loaded.preprocessing.crop_fraction < 0.92


@pytest.mark.parametrize("image_size", [224, 64])
def test_class_names_by_a_tag_are_those_of_the_shapes_that_it_names(image_size: int, tmp_path: Path) -> None:
    """A network that was fine-tuned keeps the tag; its classes may be others."""
    config = MixerConfig(
        image_size=image_size,
        patch_size=16,
        num_blocks=12,
        hidden_dim=768,
        tokens_mlp_dim=384,
        channels_mlp_dim=3072,
        num_classes=1000,
    )
    state = {
        timm_name(name): torch.zeros(shape, dtype=torch.float16) for name, shape in parameter_shapes(config).items()
    }
    save_file(state, tmp_path / "model.safetensors")
    pretrained = {"input_size": [3, image_size, image_size], "tag": "miil_in21k_ft_in1k"}
    described = {"architecture": "mixer_b16_224", "num_classes": 1000, "pretrained_cfg": pretrained}
    (tmp_path / "config.json").write_text(json.dumps(described))
    loaded = load_checkpoint(tmp_path)
    if image_size == 224:
        assert loaded.class_names[0] == "tench, Tinca tinca"
        assert "(timm; class names from its tag miil_in21k_ft_in1k): unknown origin" in loaded.source
    else:
        assert loaded.class_names == tuple(map(str, range(1000)))
        assert "(timm): unknown origin" in loaded.source


def test_a_head_of_another_size_than_the_configuration_says_is_refused(tmp_path: Path) -> None:
    write_timm_folder(tmp_path, num_classes=21_843, label_names=None)
    with pytest.raises(
        CheckpointError, match=r"config\.json: num_classes is 21,843, but the classifier .* has 5 classes"
    ):
        load_checkpoint(tmp_path)


def test_a_token_mlp_for_another_size_than_the_configuration_says_is_refused(tmp_path: Path) -> None:
    write_timm_folder(tmp_path, model_args={"img_size": 384})
    pattern = r"(?s)model\.safetensors.*blocks\.0\.mlp_tokens\.fc1\.weight is \(12, 4\), expected \(12, 144\)"
    with pytest.raises(CheckpointError, match=pattern):
        load_checkpoint(tmp_path)


def test_weights_of_another_architecture_than_the_configuration_says_are_refused(tmp_path: Path) -> None:
    write_timm_folder(tmp_path, architecture="mixer_b16_224")
    with pytest.raises(
        CheckpointError, match=r"config\.json.*mixer_b16_224, .*patch.* \(16, 12, 768\).*\(32, 8, 512\)"
    ):
        load_checkpoint(tmp_path)


def test_another_model_of_transformers_is_refused_by_its_type(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(
        json.dumps({"model_type": "vit", "architectures": ["ViTForImageClassification"]})
    )
    save_file({"vit.embeddings.cls_token": torch.zeros(1)}, tmp_path / "model.safetensors")
    with pytest.raises(CheckpointError, match=r"config\.json: 'vit' is not an MLP-Mixer"):
        load_checkpoint(tmp_path)
