"""The native format: bit-exact round trips, and one clear error for every damaged, hostile or mistaken file."""

import contextlib
import json
import os
import resource
import signal
import struct
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from allmlp import (
    Checkpoint,
    CheckpointError,
    ConfigError,
    MixerConfig,
    MlpMixer,
    Preprocessing,
    load_checkpoint,
    save_checkpoint,
)

CONFIG = MixerConfig(
    image_size=(16, 24),
    patch_size=8,
    num_blocks=2,
    hidden_dim=8,
    tokens_mlp_dim=4,
    channels_mlp_dim=12,
    num_classes=3,
    gelu="erf",
    stochastic_depth=0.1,
)
CLASS_NAMES = ("dress", 'T-shirt "L"\n', "тапки 👟")

Tensors = dict[str, tuple[str, list[int], bytes]]  # name -> dtype, shape, bytes


def make_checkpoint(seed: int = 0, **changes: Any) -> Checkpoint:
    config = replace(CONFIG, **changes)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        weights = {name: torch.randn_like(weight) for name, weight in MlpMixer(config).state_dict().items()}
    return Checkpoint(
        config=config,
        weights=weights,
        preprocessing=Preprocessing(
            image_size=config.image_size, crop_fraction=0.875, interpolation="bilinear", mean=(0.1, 0.2, 0.3)
        ),
        class_names=CLASS_NAMES[: config.num_classes],
        source="made by a test",
    )


def assert_same(one: Checkpoint, other: Checkpoint) -> None:
    assert replace(one, weights=other.weights) == other
    assert one.weights.keys() == other.weights.keys()
    for name, weight in one.weights.items():
        assert weight.dtype == other.weights[name].dtype
        # Bits, so that -0.0 is not 0.0.
        assert torch.equal(weight.view(torch.uint8), other.weights[name].view(torch.uint8)), name


@contextlib.contextmanager
def refused(*names: object) -> Iterator[None]:
    """Expect one CheckpointError that holds all `names`, within a second of work, and never a hang."""

    def stop(*_: object) -> None:
        raise AssertionError("it hangs")

    previous = signal.signal(signal.SIGALRM, stop)
    signal.alarm(20)
    start = time.process_time()
    try:
        with pytest.raises(CheckpointError) as caught:
            yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, previous)
    assert time.process_time() - start < 1.0
    assert caught.value.exit_code == 4
    for name in names:
        assert str(name) in str(caught.value)
    assert len(str(caught.value)) < 200_000


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return save_checkpoint(make_checkpoint(), tmp_path / "checkpoint")


# Round trips


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16, torch.float64])
def test_a_checkpoint_comes_back_bit_for_bit(tmp_path: Path, dtype: torch.dtype) -> None:
    checkpoint = make_checkpoint()
    weights = {name: weight.to(dtype) for name, weight in checkpoint.weights.items()}
    weights["head.bias"] = torch.tensor([-0.0, torch.finfo(dtype).max, torch.finfo(dtype).tiny], dtype=dtype)
    checkpoint = replace(checkpoint, weights=weights)
    assert_same(load_checkpoint(save_checkpoint(checkpoint, tmp_path / "a" / "b")), checkpoint)


def test_saving_what_was_loaded_writes_the_same_bytes(folder: Path, tmp_path: Path) -> None:
    again = save_checkpoint(load_checkpoint(folder), tmp_path / "again")
    assert sorted(path.name for path in again.iterdir()) == ["config.json", "model.safetensors"]
    for name in ("config.json", "model.safetensors"):
        assert (again / name).read_bytes() == (folder / name).read_bytes()


def test_a_temperature_comes_back_and_one_is_not_written(tmp_path: Path) -> None:
    checkpoint = replace(make_checkpoint(), temperature=0.8125)
    assert_same(load_checkpoint(save_checkpoint(checkpoint, tmp_path / "mended")), checkpoint)
    # A folder from before there were temperatures, and one from now without: the same bytes.
    folder = save_checkpoint(make_checkpoint(), tmp_path / "plain")
    assert "temperature" not in json.loads((folder / "config.json").read_text(encoding="utf-8"))
    assert load_checkpoint(folder).temperature == 1.0


def test_a_temperature_of_1e999_is_refused(folder: Path) -> None:
    path = folder / "config.json"
    text = path.read_text(encoding="utf-8").replace('"format"', '"temperature": 1e999, "format"', 1)
    path.write_text(text, encoding="utf-8")
    with refused(path, "temperature", "finite"):
        load_checkpoint(folder)


def test_another_image_size_keeps_the_temperature() -> None:
    changed = replace(make_checkpoint(), temperature=0.5).at_resolution((32, 24))
    assert changed.temperature == 0.5


@pytest.mark.parametrize("temperature", [0, -1.0, float("nan"), float("inf"), "1", None, True])
def test_a_checkpoint_of_an_impossible_temperature_cannot_be_made(temperature: Any) -> None:
    with refused("made by a test", f"temperature is {temperature}"):
        replace(make_checkpoint(), temperature=temperature)


def test_a_mixer_without_classifier_comes_back(tmp_path: Path) -> None:
    checkpoint = make_checkpoint(num_classes=0)
    assert_same(load_checkpoint(save_checkpoint(checkpoint, tmp_path)), checkpoint)


def test_weights_that_are_views_or_need_gradients_are_saved(tmp_path: Path) -> None:
    checkpoint = make_checkpoint()
    transposed = {
        name: (weight.t().contiguous().t() if weight.ndim == 2 else weight.clone()).requires_grad_()
        for name, weight in checkpoint.weights.items()
    }
    save_checkpoint(replace(checkpoint, weights=transposed), tmp_path)
    assert_same(load_checkpoint(tmp_path), checkpoint)


def test_the_built_mixer_computes_in_float32_what_was_trained() -> None:
    model = MlpMixer(CONFIG).eval()
    checkpoint = make_checkpoint()
    model.load_state_dict(dict(checkpoint.weights))
    images = torch.randn(2, 3, 16, 24)
    built = checkpoint.build()
    assert not built.training
    assert torch.equal(built(images), model(images))
    half = replace(checkpoint, weights={k: v.bfloat16() for k, v in checkpoint.weights.items()}).build()
    assert {parameter.dtype for parameter in half.parameters()} == {torch.float32}
    assert torch.equal(half.head.weight, checkpoint.weights["head.weight"].bfloat16().float())


def test_training_the_built_mixer_leaves_the_checkpoint_alone() -> None:
    checkpoint = make_checkpoint()
    built = checkpoint.build()
    for parameter in built.parameters():
        assert parameter.requires_grad
        parameter.data.zero_()
    assert_same(checkpoint, make_checkpoint())


def test_a_run_folder_stands_for_its_best_checkpoint(tmp_path: Path) -> None:
    best, last = make_checkpoint(1), make_checkpoint(2)
    save_checkpoint(best, tmp_path / "run" / "checkpoints" / "best")
    save_checkpoint(last, tmp_path / "run" / "checkpoints" / "last")
    run = tmp_path / "run"
    for source in (run, str(run), run / "checkpoints", run / "checkpoints" / "best"):
        assert_same(load_checkpoint(source), best)
    for source in ("last", "last/model.safetensors", "last/config.json"):
        assert_same(load_checkpoint(run / "checkpoints" / source), last)


# Places that are no checkpoint


@pytest.mark.parametrize("name", ["nowhere", "x" * 5000, "nul\0byte"])
def test_a_place_that_is_not_there_is_named(tmp_path: Path, name: str) -> None:
    with refused(name):
        load_checkpoint(tmp_path / name)


def test_another_file_beside_a_checkpoint_is_read_without_its_configuration(folder: Path) -> None:
    other = folder / "other.safetensors"
    other.write_bytes((folder / "model.safetensors").read_bytes())
    with refused(other, "its 6 tokens do not form a square grid", "(16, 24)"):
        load_checkpoint(other)
    loaded = load_checkpoint(other, image_size=CONFIG.image_size)
    assert loaded.class_names == tuple(map(str, range(CONFIG.num_classes)))
    assert "unknown origin" in loaded.source


def test_an_empty_folder_says_what_is_expected(tmp_path: Path) -> None:
    with refused(tmp_path, "config.json", "run folder"):
        load_checkpoint(tmp_path)


@pytest.mark.parametrize("name", ["model.safetensors", "config.json"])
@pytest.mark.parametrize("kind", ["missing", "folder", "pipe", "dangling link", "device"])
def test_a_file_that_is_none_does_not_hang(folder: Path, name: str, kind: str) -> None:
    path = folder / name
    path.unlink()
    if kind == "folder":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind != "missing":
        path.symlink_to(folder / "gone" if kind == "dangling link" else "/dev/zero")
    with refused(folder, name):
        load_checkpoint(folder)
    if kind != "missing":
        with refused(folder, name):
            load_checkpoint(path)


# Damaged weights


def parse(content: bytes) -> tuple[dict[str, Any], bytes]:
    (length,) = struct.unpack("<Q", content[:8])
    return json.loads(content[8 : 8 + length]), content[8 + length :]


def assemble(header: bytes | dict[str, Any], data: bytes = b"") -> bytes:
    header = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(header)) + header + data


def with_entry(content: bytes, **fields: Any) -> bytes:
    header, data = parse(content)
    header["head.bias"] |= fields
    return assemble(header, data)


def moved(content: bytes, start: int, stop: int) -> bytes:
    header, data = parse(content)
    offsets = header["head.bias"]["data_offsets"]
    header["head.bias"]["data_offsets"] = [offsets[0] + start, offsets[1] + stop]
    return assemble(header, data)


def with_hole(content: bytes) -> bytes:
    header, data = parse(content)
    last = max((entry for name, entry in header.items() if name != "__metadata__"), key=lambda e: e["data_offsets"])
    last["data_offsets"] = [offset + 8 for offset in last["data_offsets"]]
    return assemble(header, data + bytes(8))


def with_duplicate(content: bytes) -> bytes:
    header, data = parse(content)
    entry = json.dumps(header["head.bias"])
    return assemble(json.dumps(header).encode()[:-1] + b', "head.bias": ' + entry.encode() + b"}", data)


def with_metadata(content: bytes) -> bytes:
    header, data = parse(content)
    return assemble({**header, "__metadata__": {"format": 1}}, data)


def with_extra_entries(content: bytes, count: int) -> bytes:
    header, data = parse(content)
    empty = {"dtype": "F32", "shape": [0], "data_offsets": [len(data), len(data)]}
    return assemble({**header, **{f"extra.{index}": empty for index in range(count)}}, data)


WEIGHT_DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda content: b"",
    "seven bytes": lambda content: content[:7],
    "length of 2^63": lambda content: struct.pack("<Q", 1 << 63) + content[8:],
    "header of 200 MB": lambda content: struct.pack("<Q", 200 << 20) + b" " * (200 << 20),
    "length past the end": lambda content: struct.pack("<Q", len(content)) + content[8:],
    "not JSON": lambda content: assemble(b"{weights}", content),
    "not an object": lambda content: assemble(b"[1, 2]", content),
    "entry that is none": lambda content: assemble({**parse(content)[0], "head.bias": 3}, parse(content)[1]),
    "not UTF-8": lambda content: assemble(b'{"\xff": 1}', content),
    "nested 5,000 deep": lambda content: assemble(b"[" * 5000 + b"]" * 5000, content),
    "nested 900 deep": lambda content: with_entry(content, shape=json.loads("[" * 900 + "]" * 900)),
    "data cut": lambda content: content[:-1],
    "no data": lambda content: content[: 8 + struct.unpack("<Q", content[:8])[0]],
    "trailing bytes": lambda content: content + b"\0",
    "overlap": lambda content: moved(content, -4, -4),
    "hole": with_hole,
    "negative offset": lambda content: with_entry(content, data_offsets=[-12, 0]),
    "offsets that are no numbers": lambda content: with_entry(content, data_offsets=["0", 12.5]),
    "no offsets": lambda content: with_entry(content, data_offsets=None),
    "shape overflow": lambda content: with_entry(content, shape=[1 << 62, 1 << 62]),
    "negative shape": lambda content: with_entry(content, shape=[-3]),
    "longer than its shape": lambda content: moved(content, -4, 0),
    "unknown dtype": lambda content: with_entry(content, dtype="F99"),
    "integers": lambda content: with_entry(content, dtype="I32"),
    "metadata that is no text": with_metadata,
    "duplicate key": with_duplicate,
    "no tensors": lambda content: assemble({}),
    "ten thousand entries": lambda content: with_extra_entries(content, 10_000),
    "a hundred thousand entries": lambda content: with_extra_entries(content, 100_000),
}


@pytest.mark.parametrize("damage", WEIGHT_DAMAGES)
def test_damaged_weights_are_named_within_a_second(folder: Path, damage: str) -> None:
    path = folder / "model.safetensors"
    content = path.read_bytes()
    path.write_bytes(WEIGHT_DAMAGES[damage](content))
    with refused(path):
        load_checkpoint(folder)


def test_the_damages_start_from_a_sound_file(folder: Path) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(assemble(*parse(path.read_bytes())))
    assert_same(load_checkpoint(folder), make_checkpoint())


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_weights_that_are_not_finite_are_all_listed(tmp_path: Path, value: float) -> None:
    checkpoint = make_checkpoint()
    for name in ("head.bias", "blocks.1.token_mixing.fc2.weight"):
        checkpoint.weights[name].view(-1)[-1] = value
    save_checkpoint(checkpoint, tmp_path)
    with refused(tmp_path / "model.safetensors", "head.bias", "blocks.1.token_mixing.fc2.weight", "NaN or inf"):
        load_checkpoint(tmp_path)


@pytest.mark.parametrize(
    ("start", "what"),
    [
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 238\n", "git lfs pull"),
        (b"<!DOCTYPE html>\n<html><head><title>Sign in</title></head></html>", "web page"),
        (b"\n  <html>", "web page"),
        (b'<?xml version="1.0"?><Error><Code>AccessDenied</Code></Error>', "web page or XML"),
        (b"PK\x03\x04\x14\0\0\0", "zip archive"),
        (b"\x80\x02}q\0.........", "pickle"),
    ],
)
def test_another_kind_of_file_is_named_as_what_it_is(folder: Path, start: bytes, what: str) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(start)
    with refused(path, what):
        load_checkpoint(folder)


@pytest.mark.parametrize("length", [0x3C20, 0x3C3C, 0x10280])
def test_a_header_length_that_spells_another_kind_is_no_reason_to_refuse(folder: Path, length: int) -> None:
    # "<" is 0x3C, and a pickle starts as 0x280 does in little-endian order.
    path = folder / "model.safetensors"
    header, data = parse(path.read_bytes())
    path.write_bytes(assemble(json.dumps(header).encode().ljust(length), data))
    assert_same(load_checkpoint(folder), make_checkpoint())


# Weights of another model


def test_missing_unexpected_and_misshapen_weights_are_all_listed(folder: Path) -> None:
    from safetensors.torch import save_file

    weights = dict(make_checkpoint().weights)
    del weights["head.bias"], weights["blocks.1.token_norm.weight"]
    weights["blocks.2.extra"] = torch.zeros(2)
    weights["head.weight"] = torch.zeros(8, 3)
    weights["patch_projection.weight"] = torch.zeros(8, 3, 16, 16)
    weights["evil\x1b[2J\nname"] = torch.zeros(1)
    lines = (
        "missing: head.bias (3,)",
        "missing: blocks.1.token_norm.weight (8,)",
        "unexpected: blocks.2.extra (2,)",
        "unexpected: evil\\x1b[2J\\nname (1,)",
        "shape: head.weight is (8, 3), expected (3, 8)",
        "shape: patch_projection.weight is (8, 3, 16, 16), expected (8, 3, 8, 8)",
    )
    save_file(weights, folder / "model.safetensors")
    with refused(folder / "model.safetensors", *lines):
        load_checkpoint(folder)
    with refused("made by a test", *lines):
        replace(make_checkpoint(), weights=weights)


@pytest.mark.parametrize(("num_blocks", "word"), [(1, "unexpected"), (3, "missing"), (1_000, "missing")])
def test_another_number_of_blocks_is_a_difference_of_names(folder: Path, num_blocks: int, word: str) -> None:
    change_config(folder, lambda values: values["model"].update(num_blocks=num_blocks))
    with refused(folder / "model.safetensors", word, "blocks."):
        load_checkpoint(folder)


def test_integer_weights_are_refused() -> None:
    checkpoint = make_checkpoint()
    weights = {**checkpoint.weights, "head.bias": torch.zeros(3, dtype=torch.int64)}
    with refused("head.bias", "floating"):
        replace(checkpoint, weights=weights)


# config.json


def change_config(folder: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    path = folder / "config.json"
    values = json.loads(path.read_text(encoding="utf-8"))
    change(values)
    path.write_text(json.dumps(values), encoding="utf-8")


CONFIG_CONTENTS: dict[str, bytes] = {
    "empty": b"",
    "not JSON": b"{model: 3}",
    "cut": b'{"format": "allmlp checkpoint", "version": 1',
    "not UTF-8": b'{"format": "\xff"}',
    "a page": b"<html></html>",
    "a list": b"[]",
    "a word": b'"allmlp checkpoint"',
    "another program's": b'{"name": "mixer_b16_224"}',
    "nested 100,000 deep": b"[" * 100_000,
    "a number of 5,000 digits": b'{"format": "allmlp checkpoint", "version": ' + b"9" * 5000 + b"}",
    "17 MiB": b" " * (17 << 20),
}


@pytest.mark.parametrize("content", CONFIG_CONTENTS)
def test_a_configuration_that_is_none_is_named(folder: Path, content: str) -> None:
    (folder / "config.json").write_bytes(CONFIG_CONTENTS[content])
    with refused(folder / "config.json"):
        load_checkpoint(folder)


CONFIG_CHANGES: dict[str, tuple[Callable[[dict[str, Any]], Any], tuple[str, ...]]] = {
    "format": (lambda v: v.update(format="another"), ("allmlp checkpoint",)),
    "version": (lambda v: v.update(version=2), ("version 2", "Update")),
    "long version": (lambda v: v.update(version="9" * 1_000_000), ("version 9",)),
    "version true": (lambda v: v.update(version=True), ("version",)),
    "unknown keys": (lambda v: v.update(sorce="", extra=[1]), ("'sorce'. Did you mean 'source'", "'extra'")),
    "unknown keys inside": (
        lambda v: v["model"].update(num_block=3, b=1),
        ("model", "'num_block'", "num_blocks", "'b'"),
    ),
    "100,000 unknown keys": (lambda v: v.update({f"sourc{i}": i for i in range(100_000)}), ("99,950 more",)),
    "a long unknown key": (lambda v: v.update({"source" * 500_000: 1}), ("unknown key",)),
    "missing keys": (lambda v: (v.pop("source"), v.pop("model")), ("'source' is missing", "'model' is missing")),
    "wrong types": (lambda v: v["model"].update(num_blocks="2"), ("num_blocks", "whole number", "'2'")),
    "no object": (lambda v: v.update(model=[]), ("model", "object")),
    "null": (lambda v: v.update(class_names=None), ("class_names", "list")),
    "class names of another type": (lambda v: v.update(class_names=["a", 1, "c"]), ("class_names", "text")),
    "NaN": (lambda v: v["preprocessing"].update(mean=[float("nan"), 0, 0]), ("mean", "finite")),
    "infinity": (lambda v: v["model"].update(dropout=float("inf")), ("dropout", "finite")),
    "huge number": (lambda v: v["model"].update(dropout=10**400), ("dropout", "finite")),
    "huge width": (lambda v: v["model"].update(hidden_dim=10**30), ("hidden_dim", "whole number")),
    "a billion blocks": (lambda v: v["model"].update(num_blocks=10**9), ("num_blocks", "1,000")),
    "patch size": (lambda v: v["model"].update(patch_size=7), ("16 × 24", "patch_size 7", "14, 21, 28")),
    "too few class names": (lambda v: v.update(class_names=["a", "b"]), ("2 class names", "3 classes")),
    "no class names": (lambda v: v.update(class_names=[]), ("0 class names", "3 classes")),
    "class names twice": (lambda v: v.update(class_names=["a", "b", "a"]), ("more than once: a.",)),
    "image size": (lambda v: v["preprocessing"].update(image_size=[16, 16]), ("(16, 16)", "(16, 24)")),
    "temperature 0": (lambda v: v.update(temperature=0), ("temperature is 0", "0.001 to 1000")),
    "temperature below": (lambda v: v.update(temperature=-1.5), ("temperature is -1.5",)),
    "temperature NaN": (lambda v: v.update(temperature=float("nan")), ("temperature", "finite")),
    "temperature infinite": (lambda v: v.update(temperature=float("inf")), ("temperature", "finite")),
    "temperature huge": (lambda v: v.update(temperature=10**400), ("temperature", "finite")),
    "temperature tiny": (lambda v: v.update(temperature=1e-300), ("temperature is 1e-300",)),
    "temperature text": (lambda v: v.update(temperature="x"), ("temperature", "number", "'x'")),
    "temperature true": (lambda v: v.update(temperature=True), ("temperature", "number", "True")),
    "deep list": (lambda v: v.update(source=json.loads("[" * 800 + "]" * 800)), ("source",)),
}


@pytest.mark.parametrize("change", CONFIG_CHANGES)
def test_a_configuration_that_cannot_be_says_what_is_wrong(folder: Path, change: str) -> None:
    damage, words = CONFIG_CHANGES[change]
    change_config(folder, damage)
    with refused(folder / "config.json", *words):
        load_checkpoint(folder)


@pytest.mark.parametrize("depth", range(850, 1050, 10))
def test_lists_as_deep_as_the_stack_are_refused(folder: Path, depth: int) -> None:
    path = folder / "config.json"
    text = path.read_text(encoding="utf-8").replace('"made by a test"', "[" * depth + "]" * depth)
    path.write_text(text, encoding="utf-8")
    with refused(path):
        load_checkpoint(folder)


def test_a_million_equal_class_names_are_refused_at_once() -> None:
    config = replace(CONFIG, num_classes=1_000_000, hidden_dim=1)
    weights = {name: torch.zeros_like(weight) for name, weight in MlpMixer(config).state_dict().items()}
    names = tuple(str(index // 2) for index in range(1_000_000))
    with refused("more than once", "499,600 more"):
        replace(make_checkpoint(), config=config, weights=weights, class_names=names)


# Saving that fails


@contextlib.contextmanager
def files_of_at_most(num_bytes: int) -> Iterator[None]:
    """Let the operating system refuse to write more, as a full disk does."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (num_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_full_disk_leaves_the_old_checkpoint(folder: Path) -> None:
    num_bytes = (folder / "model.safetensors").stat().st_size
    with files_of_at_most(num_bytes // 2), pytest.raises(ConfigError, match=r"model\.safetensors.*space"):
        save_checkpoint(make_checkpoint(1), folder)
    assert_same(load_checkpoint(folder), make_checkpoint())
    assert sorted(path.name for path in folder.iterdir()) == ["config.json", "model.safetensors"]


def test_a_disk_that_fills_between_the_two_files_leaves_the_old_checkpoint(folder: Path) -> None:
    other = replace(make_checkpoint(1, num_blocks=1), source="long " * 20_000)
    with files_of_at_most(50_000), pytest.raises(ConfigError, match=r"config\.json.*space"):
        save_checkpoint(other, folder)
    assert_same(load_checkpoint(folder), make_checkpoint())
    assert sorted(path.name for path in folder.iterdir()) == ["config.json", "model.safetensors"]


def test_a_folder_in_the_way_leaves_the_old_weights(folder: Path) -> None:
    before = (folder / "model.safetensors").read_bytes()
    (folder / "config.json").unlink()
    (folder / "config.json").mkdir()
    with pytest.raises(ConfigError, match=r"config\.json"):
        save_checkpoint(make_checkpoint(1), folder)
    assert (folder / "model.safetensors").read_bytes() == before


def test_a_path_under_a_file_is_named(folder: Path) -> None:
    with pytest.raises(ConfigError, match=r"config\.json/best/model\.safetensors: could not be written"):
        save_checkpoint(make_checkpoint(1), folder / "config.json" / "best")
    assert_same(load_checkpoint(folder), make_checkpoint())


def test_a_new_checkpoint_replaces_the_old_one_whole(folder: Path) -> None:
    other = make_checkpoint(1, num_blocks=1, num_classes=2)
    save_checkpoint(other, folder)
    assert_same(load_checkpoint(folder), other)
