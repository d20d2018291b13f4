"""The names that a pickle of torch.save may use, and the descriptions that represent them here, made without torch.

Source: torch/_utils.py and torch/serialization.py (constructors, storages).
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from allmlp.checkpoints.containers.weight_file import MAX_DIMENSIONS, MAX_ELEMENTS, is_valid_shape

__all__ = ["NAMES", "REFUSED", "STORAGES", "Name", "Opaque", "Storage", "StoredTensor", "kind_of"]

# torch's storage classes: dtype and bytes per element.
STORAGES: dict[str, tuple[str, int]] = {
    "FloatStorage": ("float32", 4), "DoubleStorage": ("float64", 8), "HalfStorage": ("float16", 2),
    "BFloat16Storage": ("bfloat16", 2), "LongStorage": ("int64", 8), "IntStorage": ("int32", 4),
    "ShortStorage": ("int16", 2), "CharStorage": ("int8", 1), "ByteStorage": ("uint8", 1), "BoolStorage": ("bool", 1),
    "ComplexFloatStorage": ("complex64", 8), "ComplexDoubleStorage": ("complex128", 16),
}  # fmt: skip

DTYPES = ("float64", "float32", "float16", "bfloat16", "int64", "int32", "int16", "int8", "uint8", "bool")


@dataclass(frozen=True)
class StoredTensor:
    """A view of the storage `key`, which has `num_elements` of `dtype`, `itemsize` bytes each."""

    key: str
    dtype: str
    itemsize: int
    num_elements: int
    offset: int
    shape: tuple[int, ...]
    stride: tuple[int, ...]


@dataclass(frozen=True)
class Opaque:
    """A placeholder for an object that is not a tensor and was not constructed; `what` says what it would have been."""

    what: str


@dataclass(frozen=True)
class Name:
    """A name that the pickle imports, and the function that represents a call of it (None: it must not be called)."""

    name: str
    make: Callable[..., Any] | None = None


@dataclass(frozen=True)
class Storage:
    """The storage `key`: `num_elements` elements of the storage class `kind`."""

    key: str
    kind: str
    num_elements: int

    @property
    def num_bytes(self) -> int:
        """The size of its elements in the file."""
        return self.num_elements * STORAGES[self.kind][1]


def _rebuild_tensor(
    storage: object,
    offset: object,
    shape: object,
    stride: object,
    _requires_grad: object = None,
    _hooks: object = None,
    metadata: object = None,
) -> StoredTensor:
    if not isinstance(storage, Storage):
        raise ValueError(f"it builds a tensor from {kind_of(storage)}")
    if metadata:  # {"neg": True}, {"conj": True}: the storage does not hold the tensor's values
        raise ValueError("it builds a negated or conjugate view of a tensor; save tensor.resolve_neg() instead")
    (start,), sizes, steps = _checked_sizes((offset,)), _checked_sizes(shape), _checked_sizes(stride)
    if not is_valid_shape(sizes):
        raise ValueError("it builds a tensor of an invalid size")
    if len(sizes) != len(steps):
        raise ValueError(f"it builds a tensor of {len(sizes)} axes and {len(steps)} strides")
    end = start + 1 + sum((size - 1) * step for size, step in zip(sizes, steps, strict=True))
    if end > storage.num_elements and 0 not in sizes:
        raise ValueError(
            f"a tensor ends at element {end:,} of the storage {storage.key[:40]!a}, which has {storage.num_elements:,}"
        )
    return StoredTensor(storage.key, *STORAGES[storage.kind], storage.num_elements, start, sizes, steps)


def _checked_sizes(values: object) -> tuple[int, ...]:
    if not isinstance(values, tuple) or len(values) > MAX_DIMENSIONS:
        raise ValueError(f"it builds a tensor whose sizes are not a tuple of at most {MAX_DIMENSIONS} numbers")
    if not all(type(value) is int and 0 <= value <= MAX_ELEMENTS for value in values):
        raise ValueError("it builds a tensor of an invalid size")
    return values


def _rebuild_parameter(tensor: object, *_: object) -> StoredTensor:
    if not isinstance(tensor, StoredTensor):
        raise ValueError(f"it builds a parameter from {kind_of(tensor)}")
    return tensor


def _ordered_dict() -> dict[object, object]:  # without arguments: torch sets the items afterwards
    return {}


def kind_of(value: object) -> str:
    """Return the kind of a value in the pickle, in words."""
    if isinstance(value, Opaque):
        return value.what
    kinds: dict[type, str] = {
        StoredTensor: "a tensor", dict: "a dictionary", list: "a list", tuple: "a tuple", str: "a string", Name: "a name",
        Storage: "a storage", bytes: "bytes", int: "a number", float: "a number", bool: "a boolean", type(None): "None",
    }  # fmt: skip
    return kinds[type(value)]


def _opaque(name: str) -> Name:
    return Name(name, lambda *_: Opaque(name))


# Represents every name that is not in the table.
REFUSED = _opaque("a refused name")

# Names of the state that training code saves next to the weights: the options of timm's script, fastai's lists and
# Lightning's dictionaries.
_TRAINING_STATE = (
    "argparse.Namespace",
    "fastcore.foundation.L",
    "pytorch_lightning.utilities.parsing.AttributeDict",
    "lightning_fabric.utilities.data.AttributeDict",
    "lightning.fabric.utilities.data.AttributeDict",
)

# Names of the values among training settings (numbers of NumPy, paths, times), which are not needed and not constructed.
_SETTINGS = (
    *(f"numpy.{core}.multiarray.{name}" for core in ("core", "_core") for name in ("scalar", "_reconstruct")),
    *(f"numpy.{core}.numeric._frombuffer" for core in ("core", "_core")),
    "numpy.dtype",
    "numpy.ndarray",
    *(f"numpy.{name}" for name in ("bool_", "float16", "float32", "float64", "int32", "int64", "uint8")),
    "_codecs.encode",  # bytes in protocol 2
    *(
        f"{module}.{name}"
        for module in ("pathlib", "pathlib._local")
        for name in ("Path", "PosixPath", "WindowsPath", "PurePath", "PurePosixPath", "PureWindowsPath")
    ),
    *(f"datetime.{name}" for name in ("date", "datetime", "time", "timedelta", "timezone")),
    *(f"collections.{name}" for name in ("Counter", "defaultdict", "deque")),
    *(f"builtins.{name}" for name in ("bool", "bytearray", "complex", "dict", "float", "frozenset", "int", "list")),
    *(f"builtins.{name}" for name in ("range", "xrange", "slice", "str", "tuple")),
    "types.SimpleNamespace",
)

# The names that a pickle of weights may import.
NAMES: dict[str, Name] = {
    "collections.OrderedDict": Name("collections.OrderedDict", _ordered_dict),
    "torch._utils._rebuild_tensor_v2": Name("torch._utils._rebuild_tensor_v2", _rebuild_tensor),
    "torch._utils._rebuild_tensor": Name("torch._utils._rebuild_tensor", _rebuild_tensor),  # before 0.4
    "torch._utils._rebuild_parameter": Name("torch._utils._rebuild_parameter", _rebuild_parameter),
    "torch._utils._rebuild_parameter_with_state": Name(
        "torch._utils._rebuild_parameter_with_state", _rebuild_parameter
    ),
    "torch.Size": _opaque("torch.Size"),
    "torch.device": _opaque("torch.device"),
    "builtins.set": _opaque("builtins.set"),  # protocols 4 and 5 have an opcode for it
    **{name: _opaque(name) for name in (*_TRAINING_STATE, *_SETTINGS)},
    **{f"torch.{storage}": Name(f"torch.{storage}") for storage in STORAGES},
    **{f"torch.{dtype}": Name(f"torch.{dtype}") for dtype in DTYPES},
}
