"""Widths and depth read off the arrays: extra axes, grids, and every weight that does not fit by its name."""

import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file
from tests.builders import GOLDEN, GOLDEN_CONFIG, random_weights
from tests.checkpoints.refusal import refused
from tests.reference.other_layouts import linen_name, timm_name
from torch import Tensor

from allmlp import CheckpointError, MixerConfig, load_checkpoint
from allmlp.checkpoints.naming.infer_config import UnknownGridError
from allmlp.model import parameter_shapes


def linen() -> dict[str, NDArray[np.float32]]:
    with np.load(GOLDEN / "tiny_linen.npz") as file:
        return dict(file)


def in_timms_names(config: MixerConfig = GOLDEN_CONFIG) -> dict[str, Tensor]:
    return {timm_name(name): weight for name, weight in random_weights(config).items()}


def in_flax_axes(weights: dict[str, Tensor]) -> dict[str, NDArray[np.float32]]:
    axes = {4: (2, 3, 1, 0), 2: (1, 0), 1: (0,)}
    return {linen_name(name): weight.permute(axes[weight.ndim]).numpy() for name, weight in weights.items()}


def header_alone(path: Path, shapes: dict[str, tuple[int, ...]]) -> None:
    """Write a safetensors file without data."""
    header, end = {}, 0
    for name, shape in shapes.items():
        start, end = end, end + 4 * math.prod(shape)
        header[name] = {"dtype": "F32", "shape": shape, "data_offsets": [start, end]}
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text)


def timms_shapes(**changes: tuple[int, ...]) -> dict[str, tuple[int, ...]]:
    return {timm_name(name): shape for name, shape in parameter_shapes(GOLDEN_CONFIG).items()} | changes


# Axes of length 1


def test_one_class_and_one_channel_wide_axes_are_not_mistaken_for_extra_ones(tmp_path: Path) -> None:
    config = replace(GOLDEN_CONFIG, num_classes=1, tokens_mlp_dim=1)
    weights = random_weights(config)
    np.savez(tmp_path / "x.npz", **{name: array[None] for name, array in in_flax_axes(weights).items()})
    loaded = load_checkpoint(tmp_path / "x.npz")
    assert loaded.config == config
    assert all(torch.equal(loaded.weights[name], weight) for name, weight in weights.items())


@pytest.mark.parametrize("length", ["image_size", "tokens_mlp_dim", "hidden_dim", "patch_size", "channels_mlp_dim"])
@pytest.mark.parametrize("place", ["front", "back"])
def test_extra_axes_are_told_from_real_ones_of_length_1(length: str, place: str, tmp_path: Path) -> None:
    changes: dict[str, Any] = {"image_size": (8, 8)} if length == "image_size" else {length: 1}
    config = replace(GOLDEN_CONFIG, **changes)
    weights = random_weights(config)
    add_axis: Callable[[Any], Any] = {"front": lambda array: array[None], "back": lambda array: array[..., None]}[place]
    np.savez(tmp_path / "x.npz", **{name: add_axis(array) for name, array in in_flax_axes(weights).items()})
    loaded = load_checkpoint(tmp_path / "x.npz")
    assert loaded.config == config
    assert all(torch.equal(loaded.weights[name], weight) for name, weight in weights.items())


# Grids


def test_a_grid_that_is_no_square_takes_the_image_size(tmp_path: Path) -> None:
    config = replace(GOLDEN_CONFIG, image_size=(16, 48))
    save_file(in_timms_names(config), tmp_path / "x.safetensors")
    with pytest.raises(UnknownGridError, match=r"12 tokens do not form a square grid.*\(24, 32\), .*\(16, 48\)"):
        load_checkpoint(tmp_path / "x.safetensors")
    loaded = load_checkpoint(tmp_path / "x.safetensors", image_size=(16, 48))
    assert loaded.config == replace(config, gelu="erf")
    assert loaded.preprocessing.image_size == (16, 48)


def test_the_advice_for_an_image_size_leads_somewhere(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    save_file(in_timms_names(replace(GOLDEN_CONFIG, image_size=(16, 48))), path)
    pattern = r"(?s)12 tokens; 32 × 96 pixels make 48\..*load_checkpoint\(\.\.\., image_size=ORIGINAL\)\.at_resolution"
    pattern += r"\(\(32, 96\)\).*ORIGINAL may be .*\(16, 48\)"
    with pytest.raises(CheckpointError, match=pattern) as caught:
        load_checkpoint(path, image_size=(32, 96))
    assert "--image-size" not in str(caught.value)  # which asks for the original size, too
    assert load_checkpoint(path, image_size=(16, 48)).at_resolution((32, 96)).config.image_size == (32, 96)


@pytest.mark.parametrize(
    ("num_tokens", "image_size"),
    [((1 << 33) + 7, None), ((1 << 44) + 7, 32), (1 << 44, None), (1 << 44, 32), (0, None)],
)
def test_more_tokens_than_any_image_has_are_refused_at_once(
    num_tokens: int, image_size: int | None, tmp_path: Path
) -> None:
    shapes: dict[str, tuple[int, ...]] = {}
    for index in range(GOLDEN_CONFIG.num_blocks):
        mixing = f"blocks.{index}.mlp_tokens"
        shapes |= {f"{mixing}.fc1.weight": (12, num_tokens), f"{mixing}.fc2.weight": (num_tokens, 12)}
        shapes |= {f"{mixing}.fc2.bias": (num_tokens,)}
    header_alone(tmp_path / "x.safetensors", timms_shapes(**shapes))
    with refused(tmp_path / "x.safetensors", f"for {num_tokens:,} tokens; expected 1 to"):
        load_checkpoint(tmp_path / "x.safetensors", image_size=image_size)


# Weights that do not fit together


def changed(state: dict[str, Tensor], how: str) -> dict[str, Tensor]:
    if how == "missing":
        del state["blocks.1.mlp_tokens.fc1.bias"]
    elif how == "extra":
        state["blocks.1.attn.weight"] = torch.zeros(3)
    elif how == "transposed":
        state["blocks.0.mlp_tokens.fc1.weight"] = state["blocks.0.mlp_tokens.fc1.weight"].T.contiguous()
    elif how == "another classifier":
        state["head.weight"] = torch.zeros(21, 24)
    elif how == "a transposed classifier":
        state["head.weight"] = state["head.weight"].T.contiguous()
    elif how == "a classifier of nothing":
        state |= {"head.weight": torch.zeros(0, 24), "head.bias": torch.zeros(0)}
    elif how == "patch":
        state["stem.proj.weight"] = torch.zeros(24, 3, 8, 9)
    elif how == "a block less":
        state = {name: weight for name, weight in state.items() if not name.startswith("blocks.1.")}
    elif how == "one colour":
        state["stem.proj.weight"] = torch.zeros(24, 1, 8, 8)
    return state


MISMATCHES = {
    "missing": r"missing: blocks\.1\.mlp_tokens\.fc1\.bias \(12,\)",
    "extra": r"unexpected: blocks\.1\.attn\.weight \(3,\)",
    "transposed": r"shape: blocks\.0\.mlp_tokens\.fc1\.weight is \(16, 12\), expected \(12, 16\)$",
    # Of two arrays the one is believed whose other axis is right.
    "another classifier": r"shape: head\.bias is \(7,\), expected \(21,\)$",
    "a transposed classifier": r"shape: head\.weight is \(24, 7\), expected \(7, 24\)$",
    "a classifier of nothing": r"unexpected: head\.bias \(0,\)\n.*unexpected: head\.weight \(0, 24\)$",
    "patch": r"shape: stem\.proj\.weight is \(24, 3, 8, 9\), expected \(24, 3, [89], [89]\)$",
    "a block less": r"missing: blocks\.1\.norm2\.weight \(24,\)$",
    "one colour": r"shape: stem\.proj\.weight is \(24, 1, 8, 8\), expected \(24, 3, 8, 8\)$",
}


@pytest.mark.parametrize("how", MISMATCHES)
def test_weights_that_do_not_fit_are_named_as_the_file_names_them(how: str, tmp_path: Path) -> None:
    save_file(changed(in_timms_names(), how), tmp_path / "x.safetensors")
    with pytest.raises(CheckpointError, match=rf"(?sm)x\.safetensors: .*{MISMATCHES[how]}"):
        load_checkpoint(tmp_path / "x.safetensors")


def test_a_mismatch_in_googles_file_speaks_its_names_and_axes(tmp_path: Path) -> None:
    with np.load(GOLDEN / "tiny_prelinen.npz") as file:
        arrays = dict(file)
    kernel = "Mixer/encoderblock_2/channel_mixing_phase_0/kernel1"
    arrays[kernel] = arrays[kernel].transpose(0, 2, 1)
    del arrays["head/bias"]
    np.savez(tmp_path / "x.npz", **arrays)
    pattern = rf"(?s)missing: head/bias \(7,\).*shape: {kernel} is \(40, 24\), expected \(24, 40\)"
    with pytest.raises(CheckpointError, match=pattern):
        load_checkpoint(tmp_path / "x.npz")


def test_every_missing_name_is_told_without_the_one_that_says_the_patch_size(tmp_path: Path) -> None:
    arrays = linen()
    for name in ("stem/kernel", "head/bias", "MixerBlock_1/LayerNorm_0/scale"):
        del arrays[name]
    np.savez(tmp_path / "x.npz", **arrays)
    with refused(tmp_path / "x.npz", "missing: stem/kernel, MixerBlock_1/LayerNorm_0/scale, head/bias. Without them"):
        load_checkpoint(tmp_path / "x.npz")


def test_an_empty_classifier_is_called_as_the_file_calls_it(tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", **linen() | {"head/kernel": np.zeros((24, 0)), "head/bias": np.zeros(0)})
    with refused(tmp_path / "x.npz", "unexpected: head/kernel (24, 0)"):
        load_checkpoint(tmp_path / "x.npz")


def test_more_tensors_than_any_mixer_has_are_refused_at_once(tmp_path: Path) -> None:
    entry = {"dtype": "F32", "shape": [], "data_offsets": [0, 4]}
    header = {f"blocks.{index}.mlp_tokens.fc1.bias": entry for index in range(20_001)}
    text = json.dumps(header).encode()
    (tmp_path / "x.safetensors").write_bytes(len(text).to_bytes(8, "little") + text + bytes(4))
    with refused(tmp_path / "x.safetensors", "20,001 tensors; expected at most 20,000"):
        load_checkpoint(tmp_path / "x.safetensors")


def test_not_a_number_is_named(tmp_path: Path) -> None:
    arrays = linen()
    arrays["head/bias"][3] = np.nan
    arrays["stem/kernel"][0, 0, 0, 0] = np.inf
    np.savez(tmp_path / "x.npz", **arrays)
    with pytest.raises(CheckpointError, match=r"x\.npz: NaN or infinity in head/bias, stem/kernel"):
        load_checkpoint(tmp_path / "x.npz")


def test_a_gated_mixer_is_refused_by_its_shapes(tmp_path: Path) -> None:
    """timm's gmixer has the Mixer's names; its hidden widths differ between the layers of an MLP."""
    with torch.device("meta"):
        model = timm.create_model("gmixer_12_224", pretrained=False, img_size=32)
    header_alone(tmp_path / "x.safetensors", {name: tuple(one.shape) for name, one in model.state_dict().items()})
    with pytest.raises(CheckpointError, match=r"shape: blocks\.0\.mlp_tokens\.fc2\.weight"):
        load_checkpoint(tmp_path / "x.safetensors")


def test_nothing_is_read_of_a_file_whose_shapes_do_not_fit(tmp_path: Path) -> None:
    """The error comes from the list of names alone: the data of this file is not even there."""
    header_alone(tmp_path / "x.safetensors", timms_shapes(**{"stem.proj.weight": (1 << 38, 3, 8, 8)}))
    with refused(
        tmp_path / "x.safetensors", "shape: stem.proj.weight is (274877906944, 3, 8, 8), expected (24, 3, 8, 8)"
    ):
        load_checkpoint(tmp_path / "x.safetensors")
    header_alone(tmp_path / "x.safetensors", timms_shapes())  # all fits: now the data is missed
    with refused(tmp_path / "x.safetensors", "damaged, cut short"):
        load_checkpoint(tmp_path / "x.safetensors")


@pytest.mark.parametrize("form", ["timm", "google"])
def test_weights_for_grey_photos_say_so_and_work_after_what_the_message_advises(form: str, tmp_path: Path) -> None:
    """The oracle is timm's Mixer with one input channel."""
    torch.manual_seed(0)
    sizes = {"img_size": 32, "patch_size": 8, "num_blocks": 3, "embed_dim": 24, "mlp_ratio": (0.5, 2.0)}
    grey = timm.models.mlp_mixer.MlpMixer(num_classes=7, in_chans=1, **sizes).eval()
    weights = grey.state_dict()
    ours = {name: weights[timm_name(name)] for name in parameter_shapes(replace(GOLDEN_CONFIG, channels_mlp_dim=48))}
    if form == "timm":
        path, name, axis, stored = tmp_path / "x.safetensors", "stem.proj.weight", 1, dict(weights)
        save_file(stored, path)
    else:
        path, name, axis, stored = tmp_path / "x.npz", "stem/kernel", 2, in_flax_axes(ours)
        np.savez(path, **stored)
    with refused(
        path, "for grey photos (one channel)", f"repeat {name} three times along axis {axis} and divide it by 3"
    ):
        load_checkpoint(path)
    if form == "timm":
        save_file(stored | {name: stored[name].repeat_interleave(3, dim=axis) / 3}, path)
    else:
        np.savez(path, **stored | {name: np.repeat(stored[name], 3, axis=axis) / 3})
    images = torch.randn(2, 1, 32, 32)
    model = load_checkpoint(path, gelu="erf").build().eval()
    with torch.inference_mode():
        torch.testing.assert_close(model(images.repeat(1, 3, 1, 1)), grey(images), rtol=1e-4, atol=1e-5)  # float32
