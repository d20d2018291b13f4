"""Damaged, foreign and hostile .pt2 files: each is one clear line, and nothing of them is run."""

import io
import json
import os
import pickle
import random
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from tests.builders import tiny_checkpoint

from allmlp import AllmlpError, CheckFailedError, CheckpointError, open_model, verify_export
from allmlp.checkpoints import as_arrays
from allmlp.exports import ChangedExportError, export_kind, open_export
from allmlp.exports.torch_program.program import program_bytes

CHECKPOINT = tiny_checkpoint()
Members = dict[str, bytes]


@pytest.fixture(scope="module")
def content() -> bytes:
    return program_bytes(as_arrays(CHECKPOINT))


@pytest.fixture(autouse=True)
def no_torch_loader(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fail if a file gets as far as something that unpickles."""

    def refuse(*arguments: object, **options: object) -> None:
        raise AssertionError("a file was given to a loader that runs code")

    monkeypatch.setattr("torch.export.load", refuse)
    monkeypatch.setattr("torch.load", refuse)
    monkeypatch.setattr("pickle.loads", refuse)


def written(content: bytes, path: Path, change: Callable[[Members], object], *, keep_digest: bool = False) -> Path:
    """Write the archive again with a change to its members, and without the digest, which would notice every change."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    change(members)
    if not keep_digest:
        del members["archive/extra/allmlp_sha256"]
    with zipfile.ZipFile(path, "w") as archive:
        for name, values in members.items():
            archive.writestr(name, values)
    return path


def edited(name: str, change: Callable[[dict], object]) -> Callable[[Members], None]:
    def edit(members: Members) -> None:
        values = json.loads(members[name])
        change(values)
        members[name] = json.dumps(values).encode()

    return edit


WEIGHTS = "archive/data/weights/model_weights_config.json"
PROGRAM = "archive/models/model.json"


def refusal(path: Path) -> str:
    with pytest.raises(CheckpointError) as caught:
        open_model(path)
    message = str(caught.value)
    assert len(message.splitlines()) == 1 and len(message) < 700 and path.name in message
    return message


def test_the_archive_itself_is_read_as_the_checkpoint(content: bytes, tmp_path: Path) -> None:
    path = written(content, tmp_path / "x.pt2", lambda members: None, keep_digest=True)
    assert export_kind(path) == "torch"
    assert open_export(path).description == CHECKPOINT.description
    images = np.random.default_rng(0).standard_normal((5, 3, 16, 16), dtype=np.float32)
    expected = open_model(CHECKPOINT, device="cpu").forward(images)
    np.testing.assert_array_equal(open_model(path, device="cpu").forward(images), expected)


def test_missing_files_folders_and_pipes(tmp_path: Path) -> None:
    assert "no such file; expected a .pt2 file" in refusal(tmp_path / "x.pt2")
    os.mkfifo(tmp_path / "pipe.pt2")
    assert "not a regular file" in refusal(tmp_path / "pipe.pt2")
    (tmp_path / "empty.pt2").write_bytes(b"")
    assert "damaged or cut short" in refusal(tmp_path / "empty.pt2")


class _Bomb:
    def __reduce__(self) -> tuple[Callable[[str], object], tuple[str]]:
        return os.system, ("touch executed",)


def _as_pickle(values: dict) -> None:
    values["config"]["head.bias"].update(use_pickle=True)


def _shared(values: dict) -> None:
    values["config"]["blocks.0.token_norm.bias"]["path_name"] = values["config"]["blocks.0.token_norm.weight"][
        "path_name"
    ]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (edited(WEIGHTS, _as_pickle), "the weight 'head.bias' as a pickle"),
        (edited(WEIGHTS, lambda values: values["config"].pop("head.bias")), "do not fit the Mixer.*head.bias"),
        (edited(WEIGHTS, lambda values: values.update(config=[])), "do not fit the Mixer"),
        (edited(WEIGHTS, lambda values: values["config"].update({"head.bias": 3})), "'head.bias' as a pickle"),
        (edited(WEIGHTS, lambda values: values["config"]["head.bias"].update(path_name="../x")), "not in the file"),
        (edited(WEIGHTS, _shared), "weights that are shared"),
        (
            edited(WEIGHTS, lambda v: v["config"]["head.bias"]["tensor_meta"].update(sizes=[{"as_int": 1 << 60}])),
            "of another type or shape",
        ),
        (lambda m: m.update({WEIGHTS: b"[" * 200_000}), "damaged"),
        (lambda m: m.update({WEIGHTS: b"\xff"}), "damaged"),
        (lambda m: m.update({"archive/data/weights/weight_0": b"\0" * 8}), "has another size"),
        (lambda m: m.update({"archive/data/weights/weight_99": b"\0" * 8}), "not used"),
        (lambda m: m.update({"archive/data/weights/weight_1": b"\0\0\xc0\x7f" * 8}), "NaN or infinity in"),
        (lambda m: m.update({"archive/data/aotinductor/model/x.so": b"\x7fELF"}), "the members data/aotinductor"),
        (lambda m: m.update({"archive/data/constants/opaque_0": b"x"}), "the members data/constants"),
        (lambda m: m.update({"archive/models/other.json": b"{}"}), "the members models/other.json"),
        (lambda m: m.update({"archive/code/x.py": b"{}"}), "the members code/x.py"),
        (
            edited("archive/data/constants/model_constants_config.json", lambda v: v.update(config={"x": 1})),
            "constants",
        ),
        (lambda m: m.update({"archive/byteorder": b"big"}), "the byte order 'big'"),
        (lambda m: m.pop(PROGRAM), "it lacks models/model.json"),
        (lambda m: m.pop("archive/extra/allmlp.json"), "without the description that allmlp writes.*--to torch"),
        (edited("archive/extra/allmlp.json", lambda v: v.update(precision="int8")), "its precision is 'int8'"),
        (edited("archive/extra/allmlp.json", lambda v: v.update(precision="bfloat16")), "of another type"),
        (edited("archive/extra/allmlp.json", lambda v: v["checkpoint"].pop("class_names")), "class_names"),
    ],
)
def test_what_allmlp_does_not_write_is_not_opened(
    change: Callable[[Members], object], words: str, content: bytes, tmp_path: Path
) -> None:
    message = refusal(written(content, tmp_path / "x.pt2", change))
    assert __import__("re").search(words, message), message


def test_code_in_a_file_does_not_run(content: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """torch.export.load 2.14.1 unpickles all of these but the last one: the command runs."""
    monkeypatch.chdir(tmp_path)
    bomb = pickle.dumps(_Bomb())

    def weight(members: Members) -> None:
        edited(WEIGHTS, _as_pickle)(members)
        name = json.loads(members[WEIGHTS])["config"]["head.bias"]["path_name"]
        members[f"archive/data/weights/{name}"] = bomb

    refused: list[Callable[[Members], object]] = [
        weight,
        lambda m: m.update({"archive/data/weights/model.pt": bomb}),
        lambda m: m.update({"archive/data/constants/opaque_obj_0": bomb}),
    ]
    for number, change in enumerate(refused):
        refusal(written(content, tmp_path / f"{number}.pt2", change))
    sample = written(content, tmp_path / "s.pt2", lambda m: m.update({"archive/data/sample_inputs/model.pt": bomb}))
    open_model(sample, device="cpu")  # which is never read
    symbol = "__import__('os').system('touch executed')"
    program = written(
        content, tmp_path / "p.pt2", edited(PROGRAM, lambda v: v["range_constraints"].update({symbol: {}}))
    )
    open_model(program, device="cpu")
    assert not (tmp_path / "executed").exists()


def test_a_changed_file_is_noticed(content: bytes, tmp_path: Path) -> None:
    zeros = {"archive/data/weights/weight_1": b"\0" * 32}
    for name, change in {
        "weights": lambda m: m.update(zeros),
        "program": edited(PROGRAM, lambda v: v.update(opset_version={})),
        "names": edited("archive/extra/allmlp.json", lambda v: v["checkpoint"].update(class_names=["a", "b", "c"])),
    }.items():
        path = written(content, tmp_path / f"{name}.pt2", change, keep_digest=True)
        with pytest.raises(ChangedExportError, match="changed since it was written"):
            open_model(path)


def test_verification_compares_the_program_and_the_weights(content: bytes, tmp_path: Path) -> None:
    """Without the digest, as whoever changes a file on purpose can write another one."""
    (tmp_path / "photos").mkdir()
    Image.new("RGB", (20, 20), "red").save(tmp_path / "photos" / "a.png")
    whole = written(content, tmp_path / "x.pt2", lambda m: None)
    assert not verify_export(whole, CHECKPOINT, tmp_path / "photos").problems
    scale = edited(PROGRAM, lambda v: v["graph_module"]["graph"]["nodes"].pop())
    with pytest.raises(CheckFailedError, match=r"its program is not the one that torch .* It is not run"):
        verify_export(written(content, tmp_path / "p.pt2", scale), CHECKPOINT, tmp_path / "photos")
    other = written(
        content, tmp_path / "w.pt2", lambda m: m.update({"archive/data/weights/weight_1": b"\0\0\x80\x3f" * 8})
    )
    problems = verify_export(other, CHECKPOINT, tmp_path / "photos").problems
    assert any("made from other weights" in problem or "A logit differs" in problem for problem in problems)


def test_files_that_are_cut_or_damaged_are_one_line(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "x.pt2"
    generator = random.Random(0)
    for length in [*range(0, len(content), len(content) // 25), len(content) - 1]:
        path.write_bytes(content[:length])
        refusal(path)
    for _ in range(100):
        damaged = bytearray(content)
        for _ in range(generator.choice((1, 1, 8))):
            damaged[generator.randrange(len(damaged))] = generator.randrange(256)
        path.write_bytes(damaged)
        try:
            model = open_model(path, device="cpu")
        except AllmlpError as error:
            assert len(str(error).splitlines()) == 1
        else:  # in padding, or in what is not used
            assert model.description == CHECKPOINT.description


def test_a_file_of_other_programs_says_how_to_make_one(tmp_path: Path) -> None:
    layer = torch.nn.Linear(3, 2)
    torch.export.save(torch.export.export(layer, (torch.zeros(2, 3),)), tmp_path / "x.pt2")
    assert "allmlp export CHECKPOINT --to torch" in refusal(tmp_path / "x.pt2")
    with zipfile.ZipFile(tmp_path / "y.pt2", "w") as archive:
        archive.writestr("a.txt", "hello")
    assert "allmlp export CHECKPOINT --to torch" in refusal(tmp_path / "y.pt2")


def test_a_changed_bit_is_a_change_of_the_file(content: bytes, tmp_path: Path) -> None:
    """So that a verification says the same as of other formats."""
    path = tmp_path / "x.pt2"
    start = content.index(CHECKPOINT.class_names[0].encode())
    path.write_bytes(content[:start] + bytes([content[start] ^ 1]) + content[start + 1 :])
    with pytest.raises(
        ChangedExportError, match=r"changed since it was written \(the checksum of .*allmlp.json.* is wrong\)"
    ):
        open_export(path)
