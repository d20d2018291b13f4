"""safetensors: right values, and one clear error for every damaged or hostile header and for every other kind of file."""

import bz2
import json
import lzma
import os
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save, save_file
from tests.builders import TINY, assert_same_weights, random_weights
from tests.checkpoints.refusal import refused

from allmlp import load_checkpoint
from allmlp.checkpoints.containers.open import open_weights


def make_state() -> dict[str, torch.Tensor]:
    return random_weights(TINY)


def assemble(header: bytes | dict[str, Any], data: bytes = b"") -> bytes:
    header = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(header)) + header + data


def parse(content: bytes) -> tuple[dict[str, Any], bytes]:
    (length,) = struct.unpack("<Q", content[:8])
    return json.loads(content[8 : 8 + length]), content[8 + length :]


def changed(content: bytes, **fields: Any) -> bytes:
    header, data = parse(content)
    header["head.bias"] |= fields
    return assemble(header, data)


def moved(content: bytes, start: int, stop: int) -> bytes:
    offsets = parse(content)[0]["head.bias"]["data_offsets"]
    return changed(content, data_offsets=[offsets[0] + start, offsets[1] + stop])


def with_hole(content: bytes) -> bytes:
    header, data = parse(content)
    last = max((entry for name, entry in header.items() if name != "__metadata__"), key=lambda e: e["data_offsets"])
    last["data_offsets"] = [offset + 8 for offset in last["data_offsets"]]
    return assemble(header, data + bytes(8))


def doubled(content: bytes) -> bytes:
    header, data = parse(content)
    entry = json.dumps(header["head.bias"]).encode()
    return assemble(json.dumps(header).encode()[:-1] + b', "head.bias": ' + entry + b"}", data)


def crowded(content: bytes, count: int) -> bytes:
    header, data = parse(content)
    empty = {"dtype": "F32", "shape": [0], "data_offsets": [len(data), len(data)]}
    return assemble({**header, **{f"extra.{index}": empty for index in range(count)}}, data)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16, torch.float64])
def test_tensors_come_back_bit_for_bit(tmp_path: Path, dtype: torch.dtype) -> None:
    state = {name: weight.to(dtype) for name, weight in make_state().items()} | {"scalar": torch.tensor(2.5)}
    save_file(state, tmp_path / "a")
    file = open_weights(tmp_path / "a")
    weights = file.read()
    assert file.shapes == {name: tuple(weight.shape) for name, weight in state.items()}
    assert file.remark == ""
    assert torch.equal(weights.pop("scalar"), state.pop("scalar"))
    assert_same_weights(weights, state)


# Refused when the file is opened or read, whatever it is a model of.
CASES: dict[str, tuple[Callable[[bytes], bytes], tuple[str, ...]]] = {
    "empty": (lambda content: b"", ("it has only 0 bytes",)),
    "seven bytes": (lambda content: content[:7], ("it has only 7 bytes",)),
    "length of 2^63": (
        lambda content: struct.pack("<Q", 1 << 63) + content[8:],
        ("9,223,372,036,854,775,808 bytes",),
    ),
    "length past the end": (
        lambda content: struct.pack("<Q", len(content)) + content[8:],
        ("header is cut short",),
    ),
    "not JSON": (lambda content: assemble(b"{weights}", content), ("damaged",)),
    "not an object": (lambda content: assemble(b"[1, 2]", content), ("not an object",)),
    "an entry that is none": (lambda content: assemble({"w": 3}), ("invalid entry for 'w'",)),
    "not UTF-8": (lambda content: assemble(b'{"\xff": 1}', content), ("utf-8",)),
    "nested 900 deep": (
        lambda content: changed(content, shape=json.loads("[" * 900 + "]" * 900)),
        ("invalid entry for 'head.bias'",),
    ),
    "nested 5,000 deep": (lambda content: assemble(b"[" * 5000 + b"]" * 5000), ("recursion",)),
    "no data": (lambda content: content[: 8 + struct.unpack("<Q", content[:8])[0]], ("damaged",)),
    "data cut": (lambda content: content[:-1], ("damaged",)),
    "trailing bytes": (lambda content: content + b"\0", ("damaged",)),
    "overlap": (lambda content: moved(content, -4, -4), ("damaged",)),
    "hole": (with_hole, ("damaged",)),
    "negative offset": (lambda content: changed(content, data_offsets=[-12, 0]), ("damaged",)),
    "offsets that are no numbers": (lambda content: changed(content, data_offsets=["0", 12.5]), ("damaged",)),
    "no offsets": (lambda content: changed(content, data_offsets=None), ("damaged",)),
    "shape overflow": (lambda content: changed(content, shape=[1 << 62, 1 << 62]), ("damaged",)),
    "a size of a thousand digits": (
        lambda content: changed(content, shape=[10**1000]),
        ("invalid entry for 'head.bias'",),
    ),
    "a size of 2^62": (lambda content: changed(content, shape=[1 << 62]), ("invalid entry for 'head.bias'",)),
    "negative shape": (lambda content: changed(content, shape=[-3]), ("invalid entry for 'head.bias'",)),
    "longer than its shape": (lambda content: moved(content, -4, 0), ("damaged",)),
    "unknown dtype": (
        lambda content: changed(content, dtype="F99"),
        ("'head.bias' ('F99')", "BF16, F16, F32, F64"),
    ),
    "integers": (lambda content: changed(content, dtype="I32"), ("'head.bias' ('I32')",)),
    "metadata that is no text": (
        lambda content: assemble({**parse(content)[0], "__metadata__": {"format": 1}}, parse(content)[1]),
        ("damaged",),
    ),
    "duplicate key": (doubled, ("repeated names: head.bias",)),
    "forty thousand entries": (lambda content: crowded(content, 40_000), ("header would have",)),
}


@pytest.mark.parametrize("case", CASES)
def test_a_damaged_file_is_refused_by_name(tmp_path: Path, case: str) -> None:
    damage, words = CASES[case]
    path = tmp_path / "model.safetensors"
    path.write_bytes(damage(save(make_state())))
    with refused(path, *words):
        open_weights(path).read()


def test_the_damages_start_from_a_sound_file(tmp_path: Path) -> None:
    content = save(make_state())
    (tmp_path / "x").write_bytes(assemble(*parse(content)))
    assert_same_weights(open_weights(tmp_path / "x").read(), make_state())


# What a file starts with, and what is said of it.
OTHER_KINDS = [
    (b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 238\n", "a Git LFS pointer", "git lfs pull"),
    (b"<!DOCTYPE html>\n<html><title>Sign in</title></html>", "a web page or XML", "download it again"),
    (b"\r\n  <html></html>", "a web page or XML", "download it again"),
    (b"\xef\xbb\xbf<!DOCTYPE html>", "a web page or XML", "download it again"),
    (b'<?xml version="1.0"?><Error><Code>AccessDenied</Code></Error>', "a web page or XML", "download it again"),
    (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "an SVG drawing", "download it again"),
    (b'{"error": "Repository not found"}', "JSON text", "an error message"),
    (b"\x80\x02}q\0.........", "a pickle", "not opened"),
    (bytes(257) + b"ustar" + bytes(250), "a tar archive", "not opened"),
    (b"\x93NUMPY\x01\0v\0{'descr': '<f4'", "a single NumPy array", "named weights"),
    (b"\x89HDF\r\n\x1a\n" + bytes(100), "an HDF5 file, such as Keras saves", "save them as safetensors or .npz"),
    (b"\x1f\x8b\x08\0" + bytes(100), "a gzip-compressed file", "unpack it first"),
    (b"\x89PNG\r\n\x1a\n" + bytes(100), "a PNG image", "not weights"),
    (b"\xff\xd8\xff\xe0" + bytes(100), "a JPEG image", "not weights"),
    (b"GGUF\x03\0\0\0" + bytes(100), "a GGUF file", "not weights of a Mixer"),
    (b"\x08\x07\x12\x07pytorch" + bytes(100), "an ONNX graph", "allmlp reads no weights"),
    (b"\x1c\0\0\0TFL3\x14\0\x20\0" + bytes(100), "a TensorFlow Lite model", "allmlp reads no weights"),
    (b"7z\xbc\xaf\x27\x1c\0\x04" + bytes(100), "a 7z archive", "unpack it first"),
    (b"Rar!\x1a\x07\x01\0" + bytes(100), "a RAR archive", "unpack it first"),
    (bz2.compress(b"weights"), "a bzip2-compressed file", "unpack it first"),
    (lzma.compress(b"weights"), "an xz-compressed file", "unpack it first"),
    (bytes(100) + b"\x57\xfb\x80\x8b\x24\x75\x47\xdb", "the list of arrays of a TensorFlow checkpoint", "safetensors"),
    (b"\x83\xa6params\x81\xa4head" + bytes(100), "a MessagePack file, such as flax saves", "save them as"),
    ("loss 0.31, Genauigkeit für alle 91 %\n".encode(), "plain text", "not weights"),
]


@pytest.mark.parametrize(("content", "kind", "advice"), OTHER_KINDS, ids=[kind for _, kind, _ in OTHER_KINDS])
def test_another_kind_of_file_is_named_with_what_to_do(content: bytes, kind: str, advice: str, tmp_path: Path) -> None:
    for name in ("model.pth", "model.safetensors", "model.npz"):
        path = tmp_path / name
        path.write_bytes(content)
        with refused(path, f"this is {kind}", advice) as caught:
            open_weights(path)
        assert "not a safetensors file" not in str(caught.value)


@pytest.mark.parametrize(
    ("members", "what"),
    [
        (["config.json", "metadata.json", "model.weights.h5"], "a Keras model"),
        (["saved_model.pb", "variables/variables.index"], "a TensorFlow SavedModel"),
        (["[Content_Types].xml", "word/document.xml"], "an Office document"),
        (["weights/model.safetensors", "README.md"], "a zip archive of a weight file; unpack it first"),
    ],
)
def test_a_zip_archive_of_something_else_is_named(members: list[str], what: str, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "x.pth", "w") as archive:
        for name in members:
            archive.writestr(name, b"content")
    with refused(tmp_path / "x.pth", f"this is {what}"):
        open_weights(tmp_path / "x.pth")


@pytest.mark.parametrize("content", [bytes(300), bytes(range(128, 256)) * 4, b"\0\1\2 not much"])
def test_what_nothing_is_known_of_is_shown_by_its_first_bytes(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "x.pth").write_bytes(content)
    with refused(tmp_path / "x.pth", "not a weight file: it starts with b'", "Expected a weight file") as caught:
        open_weights(tmp_path / "x.pth")
    assert "not a safetensors file" not in str(caught.value)


@pytest.mark.parametrize("length", [0x3C20, 0x3C3C, 0x10280])
def test_a_header_length_that_spells_another_kind_is_no_reason_to_refuse(length: int, tmp_path: Path) -> None:
    # "<" is 0x3C, and a pickle starts as 0x280 does in little-endian order.
    header, data = parse(save(make_state()))
    (tmp_path / "x").write_bytes(assemble(json.dumps(header).encode().ljust(length), data))
    assert_same_weights(open_weights(tmp_path / "x").read(), make_state())


def test_a_header_of_200_mb_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    with path.open("wb") as file:
        file.write(struct.pack("<Q", 200 << 20))
        file.truncate(201 << 20)
    with refused(path, "header would have 209,715,200 bytes"):
        open_weights(path)


# Sound files of no Mixer: known by what must be in one.
UNFIT: dict[str, tuple[Callable[[dict[str, torch.Tensor]], object], tuple[str, ...]]] = {
    "NaN": (lambda state: state["head.bias"].fill_(float("nan")), ("NaN or infinity in head.bias",)),
    "infinity": (
        lambda state: state["head.weight"][1, :1].fill_(-float("inf")),
        ("NaN or infinity in head.weight",),
    ),
    "no tensors": (lambda state: state.clear(), ("The file holds no weights",)),
    "three thousand entries": (
        lambda state: state.update({f"extra.{index}": torch.zeros(0) for index in range(3_000)}),
        ("unexpected: extra.0 (0,)", "and 2,600 more"),
    ),
}


@pytest.mark.parametrize("case", UNFIT)
def test_a_sound_file_that_is_no_mixer_is_refused(tmp_path: Path, case: str) -> None:
    damage, words = UNFIT[case]
    state = make_state()
    damage(state)
    save_file(state, tmp_path / "a.safetensors")
    with refused(tmp_path / "a.safetensors", *words):
        load_checkpoint(tmp_path / "a.safetensors")


def test_what_is_no_file_is_refused_without_waiting(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to("nowhere")
    for name, words in {
        "pipe": "not a regular file",
        ".": "not a regular file",
        "link": "no such file",
        "missing.npz": "no such file",
        "long" * 100: "could not be read (File name too long)",
    }.items():
        with refused(tmp_path / name, words):
            open_weights(tmp_path / name)
    with refused(Path("/dev/zero"), "not a regular file"):
        open_weights(Path("/dev/zero"))
