"""Files of torch.save, assembled by hand: pickles from their instructions, and archives around them."""

import io
import struct
import zipfile
from typing import Any

import numpy as np
import torch
from torch import Tensor


def make_state(seed: int = 0) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return {
        "stem.proj.weight": torch.randn(4, 3, 2, 2, generator=generator),
        "norm.weight": torch.randn(4, generator=generator),
        "head.bias": torch.randn(3, generator=generator),
    }


def assert_same(weights: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    assert list(weights) == list(expected)
    for name, weight in weights.items():
        assert weight.dtype == expected[name].dtype
        assert torch.equal(weight, expected[name].detach()), name


def text(value: str) -> bytes:
    return b"X" + struct.pack("<I", len(value.encode())) + value.encode()


def integer(value: int) -> bytes:
    return b"\x8a\x09" + value.to_bytes(9, "little", signed=True)


def tuple_of(*items: bytes) -> bytes:
    return b"(" + b"".join(items) + b"t"


def dict_of(**items: bytes) -> bytes:
    return b"}(" + b"".join(text(name) + value for name, value in items.items()) + b"u"


def call(module: str, name: str, *arguments: bytes) -> bytes:
    return f"c{module}\n{name}\n".encode() + tuple_of(*arguments) + b"R"


def tensor(
    *shape: int,
    stride: tuple[int, ...] = (),
    offset: int = 0,
    numel: int = 6,
    storage: str = "FloatStorage",
    key: str = "0",
) -> bytes:
    strides = stride or tuple(int(np.prod(shape[axis + 1 :])) for axis in range(len(shape)))
    place = tuple_of(text("storage"), f"ctorch\n{storage}\n".encode(), text(key), text("cpu"), integer(numel)) + b"Q"
    sizes = (tuple_of(*map(integer, shape)), tuple_of(*map(integer, strides)))
    hooks = call("collections", "OrderedDict")
    return call("torch._utils", "_rebuild_tensor_v2", place, integer(offset), *sizes, b"\x89", hooks)


DATA = np.arange(6, dtype="<f4").tobytes()


def saved(
    pickled: bytes, *, data: bytes = DATA, method: int = zipfile.ZIP_STORED, more: dict[str, bytes] | None = None
) -> bytes:
    """Put a pickle into an archive as torch.save does."""
    members = {"data.pkl": pickled, "byteorder": b"little", "data/0": data, "version": b"3\n", **(more or {})}
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as file:
        for name, content in members.items():
            file.writestr(f"archive/{name}", content)
    return buffer.getvalue()


def assembled(*instructions: bytes, **options: Any) -> bytes:
    return saved(b"\x80\x02" + b"".join(instructions) + b".", **options)


class Calls:
    """Pickles as a call."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> Any:
        return self.call

    def __call__(self) -> None:
        """Stand where a function is pickled that another call returns."""


def pickled(value: Any, protocol: int) -> bytes:
    buffer = io.BytesIO()
    torch.save(value, buffer, pickle_protocol=protocol)
    return buffer.getvalue()
