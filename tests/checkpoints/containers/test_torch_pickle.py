"""Hostile pickles do nothing: what they would call is named, and no instruction takes long or much memory."""

import functools
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.checkpoints.containers.torch_files import (
    DATA,
    Calls,
    assembled,
    dict_of,
    integer,
    make_state,
    pickled,
    saved,
    tensor,
    text,
    tuple_of,
)
from tests.checkpoints.refusal import MIB, refused
from torch import nn

from allmlp import load_checkpoint
from allmlp.checkpoints.containers.open import open_weights
from allmlp.checkpoints.containers.torch_zip import open_torch_zip

CANARY = "canary"
TOUCH = f"open({CANARY!r}, 'w').close()"

# What unpickling would execute in the folder of the test, and the names in the error.
CALLS: dict[str, tuple[Any, tuple[str, ...]]] = {
    "os.system": (Calls(os.system, f"touch {CANARY}"), (f"{os.name}.system",)),
    "eval": (Calls(eval, TOUCH), ("builtins.eval",)),
    "exec": (Calls(exec, TOUCH), ("builtins.exec",)),
    "nested reduce": (Calls(print, Calls(list, (Calls(eval, TOUCH),))), ("builtins.eval", "builtins.print")),
    "getattr chain": (
        Calls(Calls(getattr, Calls(__import__, "os"), "system"), f"touch {CANARY}"),
        ("builtins.__import__", "builtins.getattr"),
    ),
    "in a state dict": (
        {"state_dict": make_state(), "epoch": Calls(os.system, f"touch {CANARY}")},
        (f"{os.name}.system",),
    ),
    "as a key": ({Calls(os.system, f"touch {CANARY}"): 1}, (f"{os.name}.system",)),
    "torch.hub": (Calls(torch.hub.load, "nobody/nothing", "model"), ("torch.hub.load",)),
    "torch.load": (Calls(torch.load, "another.pth"), ("torch.serialization.load",)),
    "storages in bytes": (Calls(torch.storage._load_from_bytes, b"\x80\x02."), ("torch.storage._load_from_bytes",)),
    "a module": (nn.Linear(1, 1), ("torch.nn.modules.linear.Linear", "model.state_dict()")),
    "a random generator": ({"args": {"rng": np.random.default_rng(0)}}, ("numpy.random.",)),
    "a partial function": ({"args": {"act": functools.partial(print)}}, ("functools.partial",)),
}


@pytest.mark.parametrize("case", CALLS)
@pytest.mark.parametrize("protocol", [2, 5])
def test_what_a_pickle_would_call_is_said_and_not_called(
    tmp_path: Path, case: str, protocol: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    value, names = CALLS[case]
    path = tmp_path / "weights.pth"
    path.write_bytes(pickled(value, protocol))
    monkeypatch.chdir(tmp_path)
    with refused(path, "it would call", names[0] if protocol == 5 else "", *(names if protocol == 2 else ())):
        open_torch_zip(path)
    with refused(path, "nothing was run", "torch.load") as caught:
        load_checkpoint(path)
    assert "damaged" not in str(caught.value)  # another copy would not help
    assert [entry.name for entry in tmp_path.iterdir()] == ["weights.pth"]


@pytest.mark.parametrize("case", ["os.system", "eval", "exec", "nested reduce", "getattr chain", "in a state dict"])
def test_the_hostile_pickles_are_real(tmp_path: Path, case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "weights.pth").write_bytes(pickled(CALLS[case][0], 2))
    monkeypatch.chdir(tmp_path)
    torch.load("weights.pth", weights_only=False)
    assert (tmp_path / CANARY).exists()


def laughs(levels: int) -> bytes:
    """Nest a tuple of the one before, twice: hashed or printed, it takes 2^levels steps."""
    return b"N" + b"".join(b"q\x00h\x00\x86" for _ in range(levels))


STATE = dict_of(a=tensor(2, 3))

CASES: dict[str, tuple[Callable[[], bytes], tuple[str, ...]]] = {
    "SETITEM on a tensor": (
        lambda: assembled(dict_of(a=tensor(2, 3) + text("x") + b"Ns")),
        ("sets an item of a tensor",),
    ),
    "SETITEMS on a tensor": (
        lambda: assembled(dict_of(a=tensor(2, 3) + b"(" + text("x") + b"Nu")),
        ("sets an item of a tensor",),
    ),
    "APPEND to a tensor": (lambda: assembled(dict_of(a=tensor(2, 3) + b"Na")), ("appends to a tensor",)),
    "BUILD on a tensor": (lambda: assembled(dict_of(a=tensor(2, 3) + b"}b")), ("sets attributes of a tensor",)),
    "negative stride": (lambda: assembled(dict_of(a=tensor(2, 3, stride=(-3, 1)))), ("a tensor of an invalid size",)),
    "negative offset": (lambda: assembled(dict_of(a=tensor(2, 3, offset=-1))), ("a tensor of an invalid size",)),
    "negative size": (lambda: assembled(dict_of(a=tensor(-2, 3))), ("a tensor of an invalid size",)),
    "sizes that overflow": (
        lambda: assembled(dict_of(a=tensor(*[1 << 40] * 4, stride=(0, 0, 0, 0)))),
        ("a tensor of an invalid size",),
    ),
    "no numbers along a huge axis": (
        lambda: assembled(dict_of(a=tensor(0, 1 << 40, 1 << 40, stride=(1, 1, 1)))),
        ("a tensor of an invalid size",),
    ),
    "more axes than strides": (
        lambda: assembled(dict_of(a=tensor(2, 3, stride=(1,)))),
        ("2 axes and 1 strides",),
    ),
    "a hundred axes": (lambda: assembled(dict_of(a=tensor(*[1] * 100))), ("sizes are not a tuple of at most 16",)),
    "storage of another kind": (
        lambda: assembled(dict_of(a=tensor(2, 3, storage="UntypedStorage"))),
        ("it would call torch.UntypedStorage",),
    ),
    "cut pickle": (lambda: saved(b"\x80\x02" + STATE[:-9]), ("damaged or does not hold weights (it is cut short)",)),
    "empty pickle": (lambda: saved(b""), ("it is cut short",)),
    "empty stack": (lambda: saved(b"."), ("damaged",)),
    "instruction of protocol 0": (lambda: assembled(b"I01\n"), ("unsupported opcode b'I'",)),
    "INST": (lambda: assembled(b"(" + text("touch canary") + b"iposix\nsystem\n"), ("unsupported opcode b'i'",)),
    "extension registry": (lambda: assembled(b"\x82\x01"), ("unsupported opcode b'\\x82'",)),
    "memo of 2^32": (lambda: assembled(b"Nr\xff\xff\xff\xff0", STATE, data=DATA[:-1]), ("23 bytes instead of 24",)),
    "memo that is not there": (lambda: assembled(b"h\x07"), ("damaged",)),
    "text of 4 GB": (lambda: assembled(b"X\xff\xff\xff\xff"), ("cut short",)),
    "tuple laughs as a key": (lambda: assembled(b"}" + laughs(60) + b"Ns"), ("a tuple as a key",)),
    "tuple laughs as a name": (lambda: assembled(laughs(60) + b"q\0h\0\x93"), ("imports an invalid name",)),
    "tuple laughs as a size": (lambda: assembled(laughs(60)), ("holds a tuple, not a state dict",)),
    "a long name again and again": (
        lambda: assembled(text("a" * MIB) + b"q\0", b"h\0h\0\x930" * 100_000),
        ("imports an invalid name",),
    ),
    "a long tuple again and again": (
        lambda: assembled(tuple_of(b"N" * 100_000) + b"q\0", b"ctorch\ndevice\nh\0R0" * 30_000),
        ("torch.device with invalid or too many arguments",),
    ),
    "keys that collide": (
        lambda: assembled(b"}(", b"".join(integer((1 << 61) * i - i) + b"N" for i in range(1, 200)), b"u"),
        ("a number as a key",),
    ),
    "a list again and again next to weights": (
        lambda: assembled(
            dict_of(a=tensor(2, 3, key="7"), b=b"](" + b"N" * 100_000 + b"eq\0]q\x01(" + b"h\0" * 100_000 + b"e\x86")
        ),
        ("storage '7' of 'a' is missing",),
    ),
    "a million instructions": (lambda: assembled(b"N0" * 500_000), ("more than 250,000 opcodes",)),
    "nested 120,000 deep": (lambda: assembled(b"]" * 120_000, b"a" * 119_999), ("holds a list",)),
    "numbers for names": (lambda: assembled(b"}K\x07", tensor(2, 3), b"s"), ("7 (not a name)",)),
}


@pytest.mark.parametrize("case", CASES)
def test_a_hostile_pickle_is_refused_by_name(tmp_path: Path, case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    make, words = CASES[case]
    path = tmp_path / "weights.pth"
    path.write_bytes(make())
    monkeypatch.chdir(tmp_path)
    with refused(path, *words):
        open_weights(path).read()
    assert [entry.name for entry in tmp_path.iterdir()] == ["weights.pth"]
