"""Files of torch.save: right values from every way in which torch writes them, and one clear error for the others."""

import argparse
import collections
import datetime
import io
import os
import pickle
import struct
import tarfile
import types
import warnings
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.checkpoints.containers.torch_files import (
    Calls,
    assembled,
    assert_same,
    dict_of,
    make_state,
    pickled,
    tensor,
    text,
)
from tests.checkpoints.refusal import MIB, PeakMemory, refused
from torch import Tensor, nn

from allmlp.checkpoints.containers.open import open_weights
from allmlp.checkpoints.containers.torch_zip import open_torch_zip


def read(path: Path) -> dict[str, Tensor]:
    file = open_weights(path)
    weights = file.read()
    assert {name: tuple(weight.shape) for name, weight in weights.items()} == file.shapes
    return weights


# Right values, with torch.load as the oracle


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16, torch.float64])
def test_a_state_dict_is_what_torch_loads(tmp_path: Path, dtype: torch.dtype, protocol: int) -> None:
    state = {name: weight.to(dtype) for name, weight in make_state().items()}
    torch.save(state, tmp_path / "a.pth", pickle_protocol=protocol)
    assert_same(read(tmp_path / "a.pth"), state)
    if protocol == 2:  # the only one that torch loads without executing it
        assert_same(read(tmp_path / "a.pth"), torch.load(tmp_path / "a.pth", weights_only=True))


def test_views_of_storages_are_read_right(tmp_path: Path) -> None:
    base = torch.randn(6, 8)
    state = {
        "tied": base, "tied too": base, "transposed": base.t(), "rows": base[2:4], "columns": base[:, 1::3],
        "one": base[3, 4], "repeated": base[0].expand(5, 8), "scalar": torch.tensor(3.5), "empty": torch.zeros(0, 4),
        "empty view": base[2:2], "channels last": torch.randn(2, 3, 4, 5).to(memory_format=torch.channels_last),
        "a part of much": torch.randn(1000)[990:],
    }  # fmt: skip
    torch.save(state, tmp_path / "a.pth")
    weights = read(tmp_path / "a.pth")
    assert_same(weights, torch.load(tmp_path / "a.pth", weights_only=True))
    weights["tied"][3, 4] = 7
    assert weights["one"] == 7  # as when torch loads it


def test_parameters_and_modules_states_are_read_right(tmp_path: Path) -> None:
    module = nn.Sequential(nn.Linear(3, 4), nn.LayerNorm(4))
    torch.save(module.state_dict(), tmp_path / "state.pth")
    torch.save(module.state_dict(keep_vars=True), tmp_path / "kept.pth")
    torch.save(dict(module.named_parameters()), tmp_path / "parameters.pth")
    module[0].weight.a_mark_of_the_training_code = 3  # type: ignore[attr-defined]
    torch.save(dict(module.named_parameters()), tmp_path / "marked.pth")
    for name in ("state.pth", "kept.pth", "parameters.pth", "marked.pth"):
        assert_same(read(tmp_path / name), dict(module.named_parameters()))


def test_files_without_checksums_and_with_other_alignment_are_read(tmp_path: Path) -> None:
    from torch.utils.serialization import config

    with config.patch({"save.storage_alignment": 4096}):
        torch.save(make_state(), tmp_path / "aligned.pth")
    computed = torch.serialization.get_crc32_options()
    torch.serialization.set_crc32_options(False)
    try:
        torch.save(make_state(), tmp_path / "unchecked.pth")
    finally:
        torch.serialization.set_crc32_options(computed)
    for name in ("aligned.pth", "unchecked.pth"):
        assert_same(read(tmp_path / name), make_state())


def test_a_file_of_a_machine_with_the_other_byte_order_is_read_right(tmp_path: Path) -> None:
    state = {"a": torch.randn(3, 4), "b": torch.randn(5).double(), "c": torch.randn(6).bfloat16()}
    torch.save(state, tmp_path / "little.pth")
    with zipfile.ZipFile(tmp_path / "little.pth") as little, zipfile.ZipFile(tmp_path / "big.pth", "w") as big:
        for name in little.namelist():
            content = little.read(name)
            if "/data/" in name:
                width = {"0": 4, "1": 8, "2": 2}[name[-1]]
                content = np.frombuffer(content, f"u{width}").byteswap().tobytes()
            big.writestr(name, b"big" if name.endswith("byteorder") else content)
    assert_same(torch.load(tmp_path / "big.pth", weights_only=True), state)
    assert_same(read(tmp_path / "big.pth"), state)


def test_a_file_with_members_at_its_root_is_read(tmp_path: Path) -> None:
    torch.save(make_state(), tmp_path / "a.pth")
    with zipfile.ZipFile(tmp_path / "a.pth") as old, zipfile.ZipFile(tmp_path / "b.pth", "w") as new:
        for name in old.namelist():
            new.writestr(name.partition("/")[2], old.read(name))
    assert_same(read(tmp_path / "b.pth"), make_state())


def training_checkpoint(**wrapped: Any) -> dict[str, Any]:
    """Return what timm's CheckpointSaver writes (timm/utils/checkpoint_saver.py)."""
    adamw = {
        "state": {0: {"step": torch.tensor(1.0), "exp_avg": torch.ones(64, 64), "exp_avg_sq": torch.ones(64, 64)}},
        "param_groups": [{"lr": 0.001, "betas": (0.9, 0.999), "amsgrad": False, "foreach": None, "params": [0]}],
    }
    return {
        "epoch": 7,
        "arch": "mixer_b16_224",
        "optimizer": adamw,
        "version": 2,
        "args": argparse.Namespace(lr=0.1, device=torch.device("cpu"), img_size=None, mean=(0.5,), aug={"a": [True]}),
        "amp_scaler": {"scale": 65536.0, "_growth_tracker": 0},
        "metric": 76.44,
        "sizes": torch.Size([1, 2]),
        "dtype": torch.bfloat16,
        **wrapped,
    }


@pytest.mark.parametrize("wrapper", ["state_dict", "model", "state_dict_ema", "model_ema"])
def test_a_training_checkpoint_is_its_state_dict(tmp_path: Path, wrapper: str) -> None:
    torch.save(training_checkpoint(**{wrapper: make_state()}), tmp_path / "a.pth")
    assert open_weights(tmp_path / "a.pth").remark == ("its EMA weights" if "ema" in wrapper else "")
    assert_same(read(tmp_path / "a.pth"), make_state())


@pytest.mark.parametrize("ema", ["state_dict_ema", "model_ema"])
@pytest.mark.parametrize("raw", ["state_dict", "model"])
def test_the_ema_weights_win_and_are_said(tmp_path: Path, raw: str, ema: str) -> None:
    torch.save(training_checkpoint(**{raw: make_state(1), ema: make_state(2)}), tmp_path / "a.pth")
    assert open_weights(tmp_path / "a.pth").remark == "its EMA weights"
    assert_same(read(tmp_path / "a.pth"), make_state(2))


def test_names_with_prefixes_are_as_stored(tmp_path: Path) -> None:
    state = {f"module._orig_mod.{name}": weight for name, weight in make_state().items()}
    torch.save({"state_dict": state, "state_dict_ema": None}, tmp_path / "a.pth")
    assert open_weights(tmp_path / "a.pth").remark == ""
    assert_same(read(tmp_path / "a.pth"), state)


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_a_set_among_a_trainings_options_is_no_harm(tmp_path: Path, protocol: int) -> None:
    torch.save(training_checkpoint(model=make_state(), tags={"a", "b"}), tmp_path / "a.pth", pickle_protocol=protocol)
    assert_same(read(tmp_path / "a.pth"), make_state())


SETTINGS: dict[str, Any] = {
    "a NumPy number": np.float64(0.5),
    "a NumPy array": np.arange(6.0).reshape(2, 3).T,
    "a NumPy dtype": [np.dtype("f4"), np.float32],
    "the state of a generator": np.random.RandomState(0).get_state(),
    "a path of many folders": Path("/", *"abcdefghijkl"),
    "times": [datetime.datetime.now(datetime.UTC), datetime.timedelta(1)],
    "collections": [collections.defaultdict(list, {"a": [1]}), collections.Counter("aab"), collections.deque([1])],
    "values of Python": [frozenset("ab"), slice(1, 2), range(3), 1j, bytearray(b"x"), b"x", 1 << 70],
    "a namespace": types.SimpleNamespace(lr=0.1),
    "keys that are numbers": {0.5: 1, np.int64(3): 2, Path("x"): 3},
}


@pytest.mark.parametrize("protocol", [2, 5])
@pytest.mark.parametrize("case", SETTINGS)
def test_settings_next_to_weights_are_left_out(case: str, protocol: int, tmp_path: Path) -> None:
    settings = {"nested": [{"value": (SETTINGS[case],)}], "value": SETTINGS[case]}
    torch.save({"model": make_state(), "args": settings}, tmp_path / "wrapped.pth", pickle_protocol=protocol)
    torch.save({**make_state(), "args": settings, "lr": 0.1}, tmp_path / "flat.pth", pickle_protocol=protocol)
    assert open_weights(tmp_path / "wrapped.pth").remark == ""
    assert open_weights(tmp_path / "flat.pth").remark == "without 'args' (a dictionary), 'lr' (a number)"
    for name in ("wrapped.pth", "flat.pth"):
        assert_same(read(tmp_path / name), make_state())


def test_weights_of_another_module_are_not_settings(tmp_path: Path) -> None:
    torch.save({**make_state(), "more": [{"deep": torch.ones(2)}]}, tmp_path / "a.pth")
    with refused(tmp_path / "a.pth", "these entries are not weights: 'more' (a list)"):
        open_weights(tmp_path / "a.pth")


def instance(name: str, state: bytes) -> bytes:
    """An object of a class that is not imported, with its attributes."""
    module, _, class_name = name.rpartition(".")
    return f"c{module}\n{class_name}\n".encode() + b")\x81" + state + b"b"


@pytest.mark.parametrize(
    "name",
    [
        "fastcore.foundation.L",
        "pytorch_lightning.utilities.parsing.AttributeDict",
        "lightning_fabric.utilities.data.AttributeDict",
        "argparse.Namespace",
    ],
)
def test_the_state_of_training_libraries_is_passed_over(name: str, tmp_path: Path) -> None:
    state = instance(name, dict_of(items=b"]", lr=b"K\x01"))
    (tmp_path / "a.pth").write_bytes(assembled(dict_of(model=dict_of(a=tensor(2, 3)), opt=dict_of(hypers=state))))
    assert_same(read(tmp_path / "a.pth"), {"a": torch.arange(6.0).reshape(2, 3)})


def test_torchs_averaged_models_are_read(tmp_path: Path) -> None:
    module = nn.Linear(3, 4)
    averaged = torch.optim.swa_utils.AveragedModel(module)
    expected = {f"module.{name}": weight for name, weight in module.named_parameters()}
    torch.save({"model": make_state(), "model_ema": averaged.state_dict()}, tmp_path / "ema.pth")
    torch.save(averaged.state_dict(), tmp_path / "bare.pth")
    assert open_weights(tmp_path / "ema.pth").remark == "its EMA weights"
    assert open_weights(tmp_path / "bare.pth").remark == "its averaged weights"
    for name in ("ema.pth", "bare.pth"):
        assert_same(read(tmp_path / name), expected)


def test_an_empty_wrapper_hides_nothing(tmp_path: Path) -> None:
    torch.save({"state_dict_ema": {}, "state_dict": {}, "model": make_state()}, tmp_path / "a.pth")
    assert_same(read(tmp_path / "a.pth"), make_state())
    assert open_weights(tmp_path / "a.pth").remark == ""


def test_an_optimizers_state_stays_on_the_disk(tmp_path: Path) -> None:
    state = {f"w{index}": torch.full((512, 1024), float(index)) for index in range(4)}
    optimizer = {
        index: {"exp_avg": torch.zeros(2048, 1024), "exp_avg_sq": torch.zeros(2048, 1024)} for index in range(4)
    }
    torch.save({"model": state, "optimizer": {"state": optimizer}}, tmp_path / "a.pth")
    del optimizer
    assert (tmp_path / "a.pth").stat().st_size > 72 * MIB
    memory = PeakMemory()
    weights = open_weights(tmp_path / "a.pth").read()
    assert memory.above_start() < 1.15 * 8 * MIB + 4 * MIB
    assert_same(weights, state)


# Hostile files


def test_what_the_tests_assemble_is_what_torch_loads(tmp_path: Path) -> None:
    path = tmp_path / "a.pth"
    path.write_bytes(assembled(dict_of(a=tensor(2, 3), b=tensor(2, stride=(2,), offset=1))))
    expected = {"a": torch.arange(6.0).reshape(2, 3), "b": torch.tensor([1.0, 3.0])}
    assert_same(torch.load(path, weights_only=True), expected)
    assert_same(read(path), expected)


CANARY = "canary"


def legacy(value: Any) -> bytes:
    buffer = io.BytesIO()
    torch.save(value, buffer, _use_new_zipfile_serialization=False)
    return buffer.getvalue()


def legacy_tar() -> bytes:
    """Write what torch wrote before 0.1.10: a tar archive of three pickles."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as file:
        for name in ("sys_info", "storages", "tensors", "pickle"):
            content = pickle.dumps(Calls(os.system, f"touch {CANARY}"), 2)
            info = tarfile.TarInfo(name)
            info.size = len(content)
            file.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def torch_script() -> bytes:
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch.jit is deprecated
        torch.jit.save(torch.jit.trace(nn.Linear(2, 2), torch.ones(1, 2)), buffer)
    return buffer.getvalue()


def large_deflated() -> bytes:
    """Make a storage of 40 GB of zeros in 40 MB."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    piece = packer.compress(bytes(MIB)) + packer.flush(zlib.Z_FULL_FLUSH)
    content = bytearray(assembled(dict_of(a=tensor(2, 3, numel=10_000_000_000)), data=piece * 40_000))
    entry = content.index(b"archive/data/0", content.index(b"PK\x01\x02")) - 46
    struct.pack_into("<H", content, entry + 10, 8)
    struct.pack_into("<I", content, entry + 24, (1 << 32) - 2)
    return bytes(content)


def overlapping(count: int, size: int) -> bytes:
    """Put each storage's member into the data of the one before: a file of `size` that holds `count` times as much."""
    names = [f"archive/data/{index:04d}".encode() for index in range(count)]
    names = [name + b"x" * (-(30 + len(name)) % 4) for name in names]  # so that all sizes are whole numbers
    sizes = [size + sum(30 + len(name) for name in names[index + 1 :]) for index in range(count)]
    keys = [name.decode().rpartition("/")[2] for name in names]
    entries = {key: tensor(3, numel=size // 4, key=key) for key, size in zip(keys, sizes, strict=True)}
    pickled = b"\x80\x02" + dict_of(**entries) + b"."
    body, listing = b"", b""
    for name, content in [(b"archive/data.pkl", pickled), *((name, b"") for name in names)]:
        length = len(content) or sizes[names.index(name)]
        crc, offset = zlib.crc32(content) if content else 0, len(body)
        fields = (20, 0, 0, 0, 0x21, crc, length, length, len(name))
        body += struct.pack("<4s5HLLLHH", b"PK\x03\x04", *fields, 0) + name + content
        listing += struct.pack("<4s6HLLLHHHHHLL", b"PK\x01\x02", 20, *fields, 0, 0, 0, 0, 0, offset) + name
    body += bytes(size)
    end = struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, count + 1, count + 1, len(listing), len(body), 0)
    return body + listing + end


STATE = dict_of(a=tensor(2, 3))

CASES: dict[str, tuple[Callable[[], bytes], tuple[str, ...]]] = {
    "storage larger than its record": (
        lambda: assembled(dict_of(a=tensor(1000, 1000, numel=1_000_000))),
        ("'a' has 24 bytes instead of 4,000,000",),
    ),
    "storage smaller than its record": (
        lambda: assembled(dict_of(a=tensor(2, numel=2))),
        ("24 bytes instead of 8",),
    ),
    "storage of 10^12 numbers": (
        lambda: assembled(dict_of(a=tensor(2, numel=10**12))),
        ("instead of 4,000,000,000,000",),
    ),
    "storage of another width": (
        lambda: assembled(dict_of(a=tensor(2, 3, storage="HalfStorage"))),
        ("24 bytes instead of 12",),
    ),
    "tensor larger than its storage": (
        lambda: assembled(dict_of(a=tensor(4_000_000_000))),
        ("ends at element 4,000,000,000 of the storage '0', which has 6",),
    ),
    "offset past the storage": (lambda: assembled(dict_of(a=tensor(2, 3, offset=1))), ("ends at element 7",)),
    "strides past the storage": (
        lambda: assembled(dict_of(a=tensor(2, 3, stride=(4, 1)))),
        ("ends at element 7",),
    ),
    "one number repeated to 4 TB": (
        lambda: assembled(dict_of(a=tensor(10**6, 10**6, stride=(0, 0)))),
        ("whose tensors would take 4,000,000,000,000",),
    ),
    "record missing": (lambda: assembled(dict_of(a=tensor(2, 3, key="7"))), ("storage '7' of 'a' is missing",)),
    "record elsewhere": (lambda: assembled(dict_of(a=tensor(2, 3, key="../0"))), ("'../0' of 'a' is missing",)),
    "deflated member of 40 GB": (
        large_deflated,
        ("members are compressed, such as 'archive/data/0' (4,294,967,294 bytes)",),
    ),
    "members in each other's data": (lambda: overlapping(30, MIB), ("its members overlap",)),
    "deflated pickle": (
        lambda: assembled(STATE, b"0" + b"N" * (16 * MIB), method=zipfile.ZIP_DEFLATED),
        ("members are compressed", "archive/data.pkl"),
    ),
    "pickle of 5 MiB": (lambda: assembled(b"N" * (5 * MIB)), ("data.pkl has 5,242,883 bytes",)),
    "legacy tar": (legacy_tar, ("a tar archive", "not opened")),
    "legacy pickle that calls": (
        lambda: legacy(Calls(os.system, f"touch {CANARY}")),
        ("it would call", "nothing was run"),
    ),
    "plain pickle": (lambda: pickle.dumps(Calls(os.system, f"touch {CANARY}"), 4), ("a pickle", "not opened")),
    "TorchScript": (torch_script, ("TorchScript", "holds a program", "torch.jit.load")),
    "TorchScript without constants": (
        lambda: assembled(STATE, more={"code/__torch__.py": b"def forward(self): ..."}),
        ("TorchScript",),
    ),
    "two pickles": (
        lambda: assembled(STATE, more={"inner/data.pkl": b"\x80\x02N."}),
        ("2 members are called data.pkl",),
    ),
    "byte order of neither end": (lambda: assembled(STATE, more={"byteorder": b"middle"}), ("byte order is 'middle'",)),
    "not a dictionary": (lambda: assembled(tensor(2, 3)), ("it holds a tensor, not a state dict",)),
    "a dictionary of others": (
        lambda: assembled(dict_of(generator=STATE, critic=STATE, epoch=b"K\x07", arch=text("mixer"), args=b"N")),
        (
            "'arch' (a string), 'args' (None), 'critic' (a dictionary), 'epoch' (a number), 'generator' (a dictionary)",
            "'state_dict_ema'",
        ),
    ),
    "others among the weights": (
        lambda: assembled(dict_of(state_dict=dict_of(a=tensor(2, 3), _extra=b"}", n=b"K\x07"))),
        ("in 'state_dict'", "'_extra' (a dictionary), 'n' (a number)"),
    ),
    "integers": (
        lambda: assembled(dict_of(a=tensor(3, numel=3, storage="LongStorage"))),
        ("not floating-point: 'a' (int64)",),
    ),
    "a negated view": (
        lambda: pickled({"a": torch._neg_view(torch.ones(3))}, 2),
        ("a negated or conjugate view", "resolve_neg()"),
    ),
    "complex numbers": (
        lambda: assembled(dict_of(a=tensor(3, numel=3, storage="ComplexFloatStorage"))),
        ("not floating-point: 'a' (complex64)",),
    ),
    "a name that moves the cursor": (
        lambda: assembled(dict_of(**{"evil\x1b[2J": b"N"})),
        ("'evil\\x1b[2J' (None)",),
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_a_hostile_file_is_refused_by_name(tmp_path: Path, case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    make, words = CASES[case]
    path = tmp_path / "weights.pth"
    path.write_bytes(make())
    monkeypatch.chdir(tmp_path)
    with refused(path, *words):
        open_weights(path).read()
    assert [entry.name for entry in tmp_path.iterdir()] == ["weights.pth"]


def test_a_file_that_is_cut_after_it_was_listed_is_noticed(tmp_path: Path) -> None:
    torch.save(make_state(), tmp_path / "a.pth")
    content = (tmp_path / "a.pth").read_bytes()
    file = open_torch_zip(tmp_path / "a.pth")
    for damage in (b"", content[:1000], content[: content.index(b"data/2")]):
        (tmp_path / "a.pth").write_bytes(damage)
        with refused(tmp_path / "a.pth"):
            file.read()


def test_ordered_and_plain_dictionaries_are_alike(tmp_path: Path) -> None:
    ordered = collections.OrderedDict(make_state())
    ordered._metadata = {"": {"version": 1}}  # type: ignore[attr-defined]
    torch.save(ordered, tmp_path / "a.pth")
    assert_same(read(tmp_path / "a.pth"), make_state())
