"""Any source: the authors' golden files in every disguise, timm's and transformers' state, and clear refusals."""

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file
from tests.checkpoints.refusal import refused
from tests.reference.other_layouts import linen_name, timm_name
from torch import Tensor

from allmlp import CheckpointError, ConfigError, MixerConfig, MlpMixer, Preprocessing, load_checkpoint, save_checkpoint
from allmlp.checkpoints.naming.infer_config import UnknownGridError
from allmlp.inference import eager_forward
from allmlp.model import parameter_shapes

GOLDEN = Path(__file__).parents[1] / "golden"

TINY = MixerConfig(
    image_size=(32, 32),
    patch_size=8,
    num_blocks=3,
    hidden_dim=24,
    tokens_mlp_dim=12,
    channels_mlp_dim=40,
    num_classes=7,
    gelu="tanh",
)


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


def tiny_state(seed: int = 0, config: MixerConfig = TINY) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    state = MlpMixer(config).state_dict()
    return {name: torch.randn(weight.shape, generator=generator) * 0.2 for name, weight in state.items()}


# --- Google's files ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("layout", ["linen", "prelinen"])
def test_the_authors_files_give_the_authors_logits(layout: str) -> None:
    checkpoint = load_checkpoint(GOLDEN / f"tiny_{layout}.npz")
    assert checkpoint.config == TINY
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


@pytest.mark.parametrize("layout", ["linen", "prelinen"])
@pytest.mark.parametrize("disguise", DISGUISES)
def test_every_way_to_store_an_array_gives_the_authors_logits(disguise: str, layout: str, tmp_path: Path) -> None:
    change, tolerance = DISGUISES[disguise]
    path = tmp_path / "weights"
    with path.open("wb") as file:
        np.savez(file, **{name: change(array) for name, array in golden(layout).items()})
    assert error_of(eager_forward(load_checkpoint(path))(golden_images())) < tolerance


def test_a_compressed_file_loads(tmp_path: Path) -> None:
    np.savez_compressed(tmp_path / "x.npz", **golden("linen"))
    assert error_of(eager_forward(load_checkpoint(tmp_path / "x.npz"))(golden_images())) < 1e-5


def test_one_class_and_one_channel_wide_axes_are_not_mistaken_for_extra_ones(tmp_path: Path) -> None:
    config = dataclasses.replace(TINY, num_classes=1, tokens_mlp_dim=1)
    state = tiny_state(config=config)
    arrays = {linen_name(name): weight.permute(flax_axes(weight)).numpy()[None] for name, weight in state.items()}
    np.savez(tmp_path / "x.npz", **arrays)
    loaded = load_checkpoint(tmp_path / "x.npz")
    assert loaded.config == config
    assert all(torch.equal(loaded.weights[name], weight) for name, weight in state.items())


def flax_axes(weight: Tensor) -> tuple[int, ...]:
    return {4: (2, 3, 1, 0), 2: (1, 0), 1: (0,)}[weight.ndim]


@pytest.mark.parametrize("length", ["image_size", "tokens_mlp_dim", "hidden_dim", "patch_size", "channels_mlp_dim"])
@pytest.mark.parametrize("place", ["front", "back"])
def test_extra_axes_are_told_from_real_ones_of_length_1(length: str, place: str, tmp_path: Path) -> None:
    changes = {"image_size": (8, 8)} if length == "image_size" else {length: 1}
    config = dataclasses.replace(TINY, **changes)  # type: ignore[arg-type]
    state = tiny_state(config=config)
    arrays = {linen_name(name): weight.permute(flax_axes(weight)).numpy() for name, weight in state.items()}
    add_axis = {"front": lambda array: array[None], "back": lambda array: array[..., None]}[place]
    np.savez(tmp_path / "x.npz", **{name: add_axis(array) for name, array in arrays.items()})
    loaded = load_checkpoint(tmp_path / "x.npz")
    assert loaded.config == config
    assert all(torch.equal(loaded.weights[name], weight) for name, weight in state.items())


# --- timm's names, and wrappers ---------------------------------------------------------------------------------------


def timm_model(seed: int = 0, **changes: object) -> torch.nn.Module:
    torch.manual_seed(seed)
    arguments = {"img_size": 64, "num_classes": 5, **changes}
    model = timm.create_model("mixer_s32_224", pretrained=False, **arguments).eval()
    for parameter in model.parameters():  # timm starts the classifier at zero
        torch.nn.init.normal_(parameter, std=0.05)
    return model


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
def test_timms_state_gives_timms_logits(how: str, tmp_path: Path) -> None:
    model = timm_model()
    path = tmp_path / "weights.bin"
    torch.save(wrapped(model.state_dict(), how), path)
    checkpoint = load_checkpoint(path)
    assert checkpoint.config.gelu == "erf"
    images = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        expected, logits = model(images), checkpoint.build()(images)
    assert (logits - expected).abs().max() < 1e-6 * expected.abs().max()


def test_the_moving_average_goes_before_the_raw_weights(tmp_path: Path) -> None:
    raw, average = ({timm_name(name): weight for name, weight in tiny_state(seed).items()} for seed in (1, 2))
    torch.save({"state_dict": raw, "state_dict_ema": average}, tmp_path / "x.pth")
    loaded = load_checkpoint(tmp_path / "x.pth")
    assert torch.equal(loaded.weights["head.bias"], average["head.bias"])
    assert "EMA" in loaded.source


def test_a_weight_with_and_without_a_prefix_is_refused(tmp_path: Path) -> None:
    state = {timm_name(name): weight for name, weight in tiny_state().items()}
    save_file({**state, "module.head.bias": state["head.bias"].clone()}, tmp_path / "x.safetensors")
    with pytest.raises(CheckpointError, match=r"x\.safetensors: 'head\.bias' occurs twice.*'module\.head\.bias'"):
        load_checkpoint(tmp_path / "x.safetensors")


def test_our_own_names_without_a_configuration_load(tmp_path: Path) -> None:
    state = tiny_state()
    save_file(state, tmp_path / "x.safetensors")
    loaded = load_checkpoint(tmp_path / "x.safetensors")
    assert loaded.config == TINY
    assert all(torch.equal(loaded.weights[name], weight) for name, weight in state.items())


def test_a_state_without_a_classifier_gives_features(tmp_path: Path) -> None:
    state = {name: weight for name, weight in tiny_state().items() if not name.startswith("head.")}
    save_file({timm_name(name): weight for name, weight in state.items()}, tmp_path / "x.safetensors")
    loaded = load_checkpoint(tmp_path / "x.safetensors")
    assert loaded.config.num_classes == 0
    assert loaded.class_names == ()


# --- what the caller says ---------------------------------------------------------------------------------------------


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


def test_an_empty_name_is_not_the_current_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_checkpoint(load_checkpoint(GOLDEN / "tiny_linen.npz"), tmp_path)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(CheckpointError, match="name is empty"):
        load_checkpoint("")


@pytest.mark.parametrize(
    ("start", "what"),
    [
        (b"\x89PNG\r\n\x1a\n", "a PNG image"),
        (b"\xff\xd8\xff\xe0", "a JPEG image"),
        (b"GGUF\x03\0\0\0", "a GGUF file"),
        (b"\x08\x07\x12\x07pytorch", "an ONNX graph"),
        (b"\xef\xbb\xbf<!DOCTYPE html>", "a web page"),
    ],
)
def test_files_of_other_kinds_are_named(start: bytes, what: str, tmp_path: Path) -> None:
    (tmp_path / "x.safetensors").write_bytes(start + bytes(100))
    with refused(tmp_path / "x.safetensors", f"this is {what}"):
        load_checkpoint(tmp_path / "x.safetensors")


def test_overrides_that_cannot_be_are_refused() -> None:
    with pytest.raises(ConfigError, match="gelu is 'relu'"):
        load_checkpoint(GOLDEN / "tiny_linen.npz", gelu="relu")  # type: ignore[arg-type]
    with pytest.raises(CheckpointError, match=r"tiny_linen\.npz.*2 class names for a classifier of 7"):
        load_checkpoint(GOLDEN / "tiny_linen.npz", class_names=("a", "b"))


def test_a_grid_that_is_no_square_takes_the_image_size(tmp_path: Path) -> None:
    config = dataclasses.replace(TINY, image_size=(16, 48))
    save_file(
        {timm_name(name): weight for name, weight in tiny_state(config=config).items()}, tmp_path / "x.safetensors"
    )
    with pytest.raises(UnknownGridError, match=r"12 tokens do not form a square grid.*\(24, 32\), .*\(16, 48\)"):
        load_checkpoint(tmp_path / "x.safetensors")
    loaded = load_checkpoint(tmp_path / "x.safetensors", image_size=(16, 48))
    assert loaded.config == dataclasses.replace(config, gelu="erf")
    assert loaded.preprocessing.image_size == (16, 48)


@pytest.mark.parametrize("form", ["google", "native"])
def test_an_image_size_that_the_weights_are_not_for_names_shapes_and_the_way_out(form: str, tmp_path: Path) -> None:
    source = GOLDEN / "tiny_linen.npz"
    if form == "native":
        source = save_checkpoint(load_checkpoint(source), tmp_path / "native")
    pattern = r"(?s)(16, 12|12, 16).*expected \((36, 12|12, 36)\).*at_resolution"
    with pytest.raises(CheckpointError, match=pattern):
        load_checkpoint(source, image_size=48)


def test_the_advice_for_an_image_size_leads_somewhere(tmp_path: Path) -> None:
    config = dataclasses.replace(TINY, image_size=(16, 48))
    path = tmp_path / "x.safetensors"
    save_file({timm_name(name): weight for name, weight in tiny_state(config=config).items()}, path)
    pattern = r"(?s)12 tokens; 32 × 96 pixels make 48\..*load_checkpoint\(\.\.\., image_size=ORIGINAL\)\.at_resolution"
    pattern += r"\(\(32, 96\)\).*ORIGINAL may be .*\(16, 48\)"
    with pytest.raises(CheckpointError, match=pattern) as caught:
        load_checkpoint(path, image_size=(32, 96))
    assert "--image-size" not in str(caught.value)  # which asks for the original size, too
    assert load_checkpoint(path, image_size=(16, 48)).at_resolution((32, 96)).config.image_size == (32, 96)


# --- what does not fit together ---------------------------------------------------------------------------------------


def changed(state: dict[str, Tensor], how: str) -> dict[str, Tensor]:
    state = dict(state)
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
    state = {timm_name(name): weight for name, weight in tiny_state().items()}
    save_file(changed(state, how), tmp_path / "x.safetensors")
    with pytest.raises(CheckpointError, match=rf"(?sm)x\.safetensors: .*{MISMATCHES[how]}"):
        load_checkpoint(tmp_path / "x.safetensors")


def test_a_mismatch_in_googles_file_speaks_its_names_and_axes(tmp_path: Path) -> None:
    arrays = golden("prelinen")
    kernel = "Mixer/encoderblock_2/channel_mixing_phase_0/kernel1"
    arrays[kernel] = arrays[kernel].transpose(0, 2, 1)
    del arrays["head/bias"]
    np.savez(tmp_path / "x.npz", **arrays)
    pattern = rf"(?s)missing: head/bias \(7,\).*shape: {kernel} is \(40, 24\), expected \(24, 40\)"
    with pytest.raises(CheckpointError, match=pattern):
        load_checkpoint(tmp_path / "x.npz")


def test_every_missing_name_is_told_without_the_one_that_says_the_patch_size(tmp_path: Path) -> None:
    arrays = golden("linen")
    for name in ("stem/kernel", "head/bias", "MixerBlock_1/LayerNorm_0/scale"):
        del arrays[name]
    np.savez(tmp_path / "x.npz", **arrays)
    with refused(tmp_path / "x.npz", "missing: stem/kernel, MixerBlock_1/LayerNorm_0/scale, head/bias. Without them"):
        load_checkpoint(tmp_path / "x.npz")


def test_an_empty_classifier_is_called_as_the_file_calls_it(tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", **golden("linen") | {"head/kernel": np.zeros((24, 0)), "head/bias": np.zeros(0)})
    with refused(tmp_path / "x.npz", "unexpected: head/kernel (24, 0)"):
        load_checkpoint(tmp_path / "x.npz")


def test_a_prefix_of_all_names_is_told_with_the_way_to_save_without_it(tmp_path: Path) -> None:
    state = {f"net.backbone.{timm_name(name)}": weight for name, weight in tiny_state().items()}
    save_file(state, tmp_path / "x.safetensors")
    with refused(
        tmp_path / "x.safetensors", "all of its names start with 'net.backbone.'", "name.removeprefix('net.backbone.')"
    ):
        load_checkpoint(tmp_path / "x.safetensors")


@pytest.mark.parametrize("name", ["{}", "blocks.{}.mlp_tokens.fc1.bias"])
def test_more_tensors_than_any_mixer_has_are_refused_at_once(name: str, tmp_path: Path) -> None:
    header = {name.format(index): {"dtype": "F32", "shape": [], "data_offsets": [0, 4]} for index in range(22_000)}
    text = json.dumps(header).encode()
    (tmp_path / "x.safetensors").write_bytes(len(text).to_bytes(8, "little") + text + bytes(4))
    with refused(tmp_path / "x.safetensors", "22,000 tensors; expected at most 20,000"):
        load_checkpoint(tmp_path / "x.safetensors")


def test_not_a_number_is_named(tmp_path: Path) -> None:
    arrays = golden("linen")
    arrays["head/bias"][3] = np.nan
    arrays["stem/kernel"][0, 0, 0, 0] = np.inf
    np.savez(tmp_path / "x.npz", **arrays)
    with pytest.raises(CheckpointError, match=r"x\.npz: NaN or infinity in head/bias, stem/kernel"):
        load_checkpoint(tmp_path / "x.npz")


STRANGERS = {
    "swin_tiny_patch4_window7_224": "a Swin Transformer",
    "vit_tiny_patch16_224": "a Vision Transformer",
    "resmlp_12_224": "a ResMLP",
    "gmlp_ti16_224": "a gMLP",
    "resnet18": "a ResNet",
    "convnext_atto": "a ConvNeXt",
    "mobilenetv3_small_050": "an EfficientNet or MobileNet",
}


@pytest.mark.parametrize("architecture", STRANGERS)
def test_another_network_of_timm_is_refused_with_what_it_looks_like(architecture: str, tmp_path: Path) -> None:
    with torch.device("meta"):
        names = list(timm.create_model(architecture, pretrained=False).state_dict())
    save_file({name: torch.zeros(1) for name in names}, tmp_path / "x.safetensors")
    with pytest.raises(
        CheckpointError, match=rf"x\.safetensors: this is not an MLP-Mixer\. It looks like {STRANGERS[architecture]}"
    ):
        load_checkpoint(tmp_path / "x.safetensors")


@pytest.mark.parametrize(
    ("names", "what"),
    [
        (["owlvit.vision_model.encoder.layers.0.self_attn.k_proj.weight"], "an OWL-ViT"),
        (["vision_model.embeddings.class_embedding", "text_model.embeddings.token_embedding.weight"], "a CLIP-like"),
        (["Transformer/encoderblock_0/LayerNorm_0/scale", "cls"], "a Vision Transformer of the authors' code"),
        (["model.layers.0.self_attn.q_proj.weight", "lm_head.weight"], "a language model"),
        (["conv.weight", "fc.weight"], r"Its weights are called conv\.weight, fc\.weight"),
    ],
)
def test_strangers_are_known_by_their_names(names: list[str], what: str, tmp_path: Path) -> None:
    save_file({name: torch.zeros(1) for name in names}, tmp_path / "x.safetensors")
    with pytest.raises(CheckpointError, match=rf"this is not an MLP-Mixer\..*{what}"):
        load_checkpoint(tmp_path / "x.safetensors")


def test_a_gated_mixer_is_refused_by_its_shapes(tmp_path: Path) -> None:
    """timm's gmixer has the Mixer's names; its hidden widths differ between the layers of an MLP."""
    model = timm.create_model("gmixer_12_224", pretrained=False, img_size=32)
    save_file(model.state_dict(), tmp_path / "x.safetensors")
    with pytest.raises(CheckpointError, match=r"shape: blocks\.0\.mlp_tokens\.fc2\.weight"):
        load_checkpoint(tmp_path / "x.safetensors")


def test_nothing_is_read_of_a_file_whose_shapes_do_not_fit(tmp_path: Path) -> None:
    """The error comes from the list of names alone: the data of this file is not even there."""
    header_alone(tmp_path / "x.safetensors", **{"stem.proj.weight": [1 << 38, 3, 8, 8]})
    with refused(
        tmp_path / "x.safetensors", "shape: stem.proj.weight is (274877906944, 3, 8, 8), expected (24, 3, 8, 8)"
    ):
        load_checkpoint(tmp_path / "x.safetensors")
    header_alone(tmp_path / "x.safetensors")  # all fits: now the data is missed
    with refused(tmp_path / "x.safetensors", "damaged, cut short"):
        load_checkpoint(tmp_path / "x.safetensors")


def header_alone(path: Path, **shapes: list[int]) -> None:
    """Write a safetensors file of TINY in timm's names, without data, and with other shapes where these are given."""
    header, end = {}, 0
    for name, weight in tiny_state().items():
        start, end = end, end + weight.nbytes
        shape = shapes.get(timm_name(name), list(weight.shape))
        header[timm_name(name)] = {"dtype": "F32", "shape": shape, "data_offsets": [start, end]}
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text)


@pytest.mark.parametrize("num_tokens", [(1 << 33) + 7, (1 << 44) + 7, 1 << 44, 0])
@pytest.mark.parametrize("image_size", [None, 32])
def test_more_tokens_than_any_image_has_are_refused_at_once(
    num_tokens: int, image_size: int | None, tmp_path: Path
) -> None:
    shapes = {}
    for index in range(TINY.num_blocks):
        mixing = f"blocks.{index}.mlp_tokens"
        shapes |= {f"{mixing}.fc1.weight": [12, num_tokens], f"{mixing}.fc2.weight": [num_tokens, 12]}
        shapes |= {f"{mixing}.fc2.bias": [num_tokens]}
    header_alone(tmp_path / "x.safetensors", **shapes)
    with refused(tmp_path / "x.safetensors", f"for {num_tokens:,} tokens; expected 1 to"):
        load_checkpoint(tmp_path / "x.safetensors", image_size=image_size)


def test_a_name_of_prefixes_alone_takes_no_time(tmp_path: Path) -> None:
    entry = {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}
    text = json.dumps({"module." * 290_000 + "x": entry}).encode()
    (tmp_path / "x.safetensors").write_bytes(len(text).to_bytes(8, "little") + text + bytes(4))
    with refused(tmp_path / "x.safetensors", "not an MLP-Mixer. Its weights are called x;"):
        load_checkpoint(tmp_path / "x.safetensors")


# --- folders ----------------------------------------------------------------------------------------------------------


def timm_folder(folder: Path, **changes: object) -> Path:
    model = timm_model()
    save_file(model.state_dict(), folder / "model.safetensors")
    config = {
        "architecture": "mixer_s32_224",
        "num_classes": 5,
        "label_names": ["a", "b", "c", "d", "e"],
        "model_args": {"img_size": 64},
        "pretrained_cfg": {"input_size": [3, 64, 64], "mean": [0.5] * 3, "std": [0.5] * 3, "crop_pct": 0.9},
        **changes,
    }
    (folder / "config.json").write_text(json.dumps(config))
    return folder


@pytest.mark.parametrize("architecture", ["mixer_s32_224", "mixer_s16_224"])
@pytest.mark.parametrize("num_classes", [0, 5])
def test_a_variant_that_was_never_published_loads_from_timms_own_folder(
    architecture: str, num_classes: int, tmp_path: Path
) -> None:
    """timm writes the tag "untrained" into its configuration."""
    model = timm.create_model(architecture, pretrained=False, num_classes=num_classes, img_size=(32, 64))
    timm.models.save_for_hf(model, tmp_path, safe_serialization=True)
    loaded = load_checkpoint(tmp_path)
    assert loaded.class_names == tuple(map(str, range(num_classes)))
    assert loaded.config.image_size == (32, 64)


def test_what_transformers_saves_without_a_classifier_gives_features(tmp_path: Path) -> None:
    timm_folder(tmp_path, architectures=["TimmWrapperModel"])
    features = {name: weight for name, weight in timm_model().state_dict().items() if not name.startswith("head.")}
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
    timm_folder(tmp_path)
    (tmp_path / "config.json").write_text(content)
    with refused(tmp_path / "config.json", words):
        load_checkpoint(tmp_path)


def test_a_folder_of_timm_brings_names_and_preprocessing(tmp_path: Path) -> None:
    for source in (timm_folder(tmp_path), tmp_path / "model.safetensors", tmp_path / "config.json"):
        loaded = load_checkpoint(source)
        assert loaded.class_names == tuple("abcde")
        assert loaded.preprocessing.image_size == (64, 64)
        assert 0.88 < loaded.preprocessing.crop_fraction < 0.92


def test_the_file_that_was_named_is_the_one_that_is_read(tmp_path: Path) -> None:
    timm_folder(tmp_path)
    torch.save(timm_model(seed=1).state_dict(), tmp_path / "pytorch_model.bin")
    for name, seed in (("model.safetensors", 0), ("pytorch_model.bin", 1), ("config.json", 0)):
        loaded = load_checkpoint(tmp_path / name)
        assert torch.equal(loaded.weights["head.bias"], timm_model(seed).state_dict()["head.bias"])
        assert loaded.class_names == tuple("abcde")


def test_our_own_configuration_does_not_describe_other_weights(tmp_path: Path) -> None:
    save_checkpoint(load_checkpoint(GOLDEN / "tiny_linen.npz"), tmp_path)
    assert load_checkpoint(tmp_path / "model.safetensors").config == TINY
    torch.save(timm_model().state_dict(), tmp_path / "pytorch_model.bin")
    with pytest.raises(
        CheckpointError, match=r"pytorch_model\.bin: the config\.json next to it describes only model\.safetensors"
    ):
        load_checkpoint(tmp_path / "pytorch_model.bin")


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
    timm_folder(tmp_path, num_classes=21_843, label_names=None)
    with pytest.raises(
        CheckpointError, match=r"config\.json: num_classes is 21,843, but the classifier .* has 5 classes"
    ):
        load_checkpoint(tmp_path)


def test_a_token_mlp_for_another_size_than_the_configuration_says_is_refused(tmp_path: Path) -> None:
    timm_folder(tmp_path, model_args={"img_size": 384})
    pattern = r"(?s)model\.safetensors.*blocks\.0\.mlp_tokens\.fc1\.weight is \(256, 4\), expected \(256, 144\)"
    with pytest.raises(CheckpointError, match=pattern):
        load_checkpoint(tmp_path)


def test_weights_of_another_architecture_than_the_configuration_says_are_refused(tmp_path: Path) -> None:
    timm_folder(tmp_path, architecture="mixer_b16_224")
    with pytest.raises(
        CheckpointError, match=r"config\.json.*mixer_b16_224, .*patch.* \(16, 12, 768\).*\(32, 8, 512\)"
    ):
        load_checkpoint(tmp_path)


@pytest.mark.parametrize("target", ["../outside.safetensors", "/etc/passwd", "model-00001-of-00002.safetensors"])
def test_weights_in_several_files_are_refused_and_nothing_outside_is_opened(target: str, tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    timm_folder(folder)
    (folder / "model.safetensors").rename(tmp_path / "outside.safetensors")
    index = {"metadata": {}, "weight_map": {"head.bias": target}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(CheckpointError, match=r"index\.json: these weights are in several files \(shards\)"):
        load_checkpoint(folder)


def test_another_model_of_transformers_is_refused_by_its_type(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(
        json.dumps({"model_type": "vit", "architectures": ["ViTForImageClassification"]})
    )
    save_file({"vit.embeddings.cls_token": torch.zeros(1)}, tmp_path / "model.safetensors")
    with pytest.raises(CheckpointError, match=r"config\.json: 'vit' is not an MLP-Mixer"):
        load_checkpoint(tmp_path)


# --- names ------------------------------------------------------------------------------------------------------------


def test_a_name_that_is_nearly_right_is_helped() -> None:
    with pytest.raises(CheckpointError, match=r"b16-ilk: there is no such checkpoint\. Did you mean 'b16-i1k'"):
        load_checkpoint("b16-ilk")
    with pytest.raises(CheckpointError, match=r"Did you mean hf:someone/flowers, a repository"):
        load_checkpoint("someone/flowers")
    with pytest.raises(CheckpointError, match=r"hf:b16: expected hf:OWNER/NAME"):
        load_checkpoint("hf:b16")


def test_what_is_on_this_machine_goes_before_a_published_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    save_checkpoint(load_checkpoint(GOLDEN / "tiny_linen.npz"), "b16-i1k")
    assert load_checkpoint("b16-i1k").config.num_classes == 7


# --- other image sizes ------------------------------------------------------------------------------------------------


def test_a_checkpoint_at_another_size_is_whole_and_says_what_was_done(tmp_path: Path) -> None:
    checkpoint = load_checkpoint(GOLDEN / "tiny_linen.npz")
    block = checkpoint.at_resolution((64, 32), "block")
    assert block.preprocessing.image_size == block.config.image_size == (64, 32)
    assert block.config.tokens_mlp_dim == 24
    assert "from 32 × 32 to 64 × 32 pixels: token mixing by 'block' (as requested)" in block.source
    resampled = checkpoint.at_resolution(48)
    assert resampled.config.image_size == (48, 48)
    assert "'resample' (works for any size and was the better starting point where measured" in resampled.source
    assert "'resample' (as requested)" in checkpoint.at_resolution(64, "resample").source
    assert checkpoint.at_resolution(32) is checkpoint
    save_checkpoint(resampled, tmp_path / "r")
    assert load_checkpoint(tmp_path / "r").config == resampled.config


def test_a_width_beyond_any_mixer_is_refused_for_block() -> None:
    checkpoint = load_checkpoint(GOLDEN / "tiny_linen.npz")
    wide = dataclasses.replace(TINY, image_size=(8, 8), num_blocks=1, tokens_mlp_dim=1 << 16)
    of_wide = dataclasses.replace(
        checkpoint, config=wide, weights=tiny_state(config=wide), preprocessing=Preprocessing(image_size=8)
    )
    with pytest.raises(ConfigError):
        of_wide.at_resolution(40, "block")  # 25 times as wide: no Mixer is
    assert of_wide.at_resolution(40).config.tokens_mlp_dim == wide.tokens_mlp_dim


def test_a_checkpoint_with_other_patches_keeps_its_tokens() -> None:
    checkpoint = load_checkpoint(GOLDEN / "tiny_linen.npz").at_patch_size(12)
    assert checkpoint.config.image_size == checkpoint.preprocessing.image_size == (48, 48)
    assert checkpoint.config.num_tokens == TINY.num_tokens
    assert "patches of 12 instead of 8 pixels" in checkpoint.source


def test_a_method_that_does_not_exist_is_refused() -> None:
    with pytest.raises(ConfigError, match="method is 'bilinear'; expected 'auto', 'block' or 'resample'"):
        load_checkpoint(GOLDEN / "tiny_linen.npz").at_resolution(64, "bilinear")  # type: ignore[arg-type]
