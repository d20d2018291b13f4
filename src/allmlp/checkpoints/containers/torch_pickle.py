"""An interpreter that reads the pickle in a file of torch.save as data: nothing is imported and nothing is called.

A pickle is a program for a small stack machine. This interpreter knows the opcodes for numbers, strings, lists and
dictionaries, and a few constructors, for which it builds descriptions instead of objects; any other opcode or name is
refused. Unlike `torch.load(weights_only=True)`, it needs no memory for the tensors, never grows a storage to the size that
a tensor claims, and accepts protocols 2 to 5.

Source: Python's pickletools.
"""

import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from allmlp.checkpoints.containers.torch_objects import NAMES, REFUSED, STORAGES, Name, Opaque, Storage, kind_of
from allmlp.checkpoints.containers.weight_file import RefusedError
from allmlp.io.display import summarise

__all__ = ["Pickles", "read_pickle", "read_pickles"]

# A tensor takes about 35; H/14 has 390 tensors, four times as many with EMA weights and an optimizer's state.
MAX_OPCODES = 250_000

# Limits for long values that a short opcode could use over and over.
MAX_ARGUMENTS = 64  # of a path, one for each folder
MAX_NAME_LENGTH = 200


@dataclass(frozen=True)
class Pickles:
    """What consecutive pickles describe.

    Attributes:
        values: one for each pickle: dictionaries, lists and tuples of StoredTensor, plain values, Opaque.
        storages: all storages that any of them refers to.
        num_bytes: the length of the pickles; what follows was not read.
    """

    values: list[object]
    storages: set[Storage]
    num_bytes: int


def read_pickle(data: bytes) -> object:
    """Return what the pickle in an archive of torch.save describes; see `Pickles` and `read_pickles`."""
    return read_pickles(data, 1).values[0]


def read_pickles(data: bytes, count: int) -> Pickles:
    """Read the first `count` pickles in `data`, which torch before 1.6 wrote one after the other.

    Raises:
        ValueError: a pickle is damaged, or uses an opcode that weights do not need.
        RefusedError: it uses names that weights do not need (lists all such names).
    """
    values: list[object] = []
    storages: set[Storage] = set()
    position = 0
    for _ in range(count):
        machine = _Machine(data, position)
        try:
            values.append(machine.run())
        except (ValueError, TypeError, IndexError, KeyError, OverflowError, struct.error) as error:
            if not machine.refused:
                raise ValueError(f"its pickle is damaged or does not hold weights ({str(error)[:300]})") from error
        if machine.refused:
            names = sorted(machine.refused)
            raise RefusedError(
                f"it would call {summarise(names)}, which weights do not need; nothing was run. "
                "If you trust the file, load it with torch.load and save only the weights: "
                "torch.save(model.state_dict(), new_file)"
            )
        storages |= machine.storages
        position = machine.position
    return Pickles(values, storages, position)


class _Machine:
    """The stack machine. `refused` collects the names that are not allowed."""

    def __init__(self, data: bytes, position: int) -> None:
        self.data = data
        self.position = position
        self.stack: list[Any] = []
        self.marks: list[list[Any]] = []
        self.memo: dict[int, Any] = {}
        self.refused: set[str] = set()
        self.storages: set[Storage] = set()

    def run(self) -> object:
        for _ in range(MAX_OPCODES):
            opcode = self.take(1)
            if opcode == b".":
                return self.stack.pop()
            operation = OPERATIONS.get(opcode)
            if operation is None:
                raise ValueError(f"unsupported opcode {opcode!r}")
            operation(self)
        raise ValueError(f"more than {MAX_OPCODES:,} opcodes")

    def take(self, num_bytes: int) -> bytes:
        start, self.position = self.position, self.position + num_bytes
        if num_bytes < 0 or self.position > len(self.data):
            raise ValueError("it is cut short")
        return self.data[start : self.position]

    def number(self, form: str) -> Any:
        return struct.unpack(form, self.take(struct.calcsize(form)))[0]

    def sized(self, form: str) -> bytes:
        return self.take(self.number(form))

    def line(self) -> str:
        line = self.take(self.data.find(b"\n", self.position) - self.position)
        self.take(1)
        return line.decode("utf-8")

    def push(self, value: object) -> None:
        self.stack.append(value)

    def push_opaque(self, what: str, _content: object) -> None:
        self.stack.append(Opaque(what))

    def mark(self) -> None:
        self.marks.append(self.stack)
        self.stack = []

    def to_mark(self) -> list[Any]:
        items, self.stack = self.stack, self.marks.pop()
        return items

    def remember(self, index: int) -> None:
        self.memo[index] = self.stack[-1]

    def recall(self, index: int) -> None:
        self.push(self.memo[index])

    def push_tuple(self, size: int) -> None:
        if len(self.stack) < size:
            raise ValueError("it builds a tuple of more values than there are")
        self.stack[-size:] = [tuple(self.stack[-size:])]

    def set_items(self, items: list[Any]) -> None:
        target = self.stack[-1]
        if isinstance(target, Opaque):
            return
        if type(target) is not dict or len(items) % 2:
            raise ValueError(f"it sets an item of {kind_of(target)}")
        for key, value in zip(items[::2], items[1::2], strict=True):
            # Tuples of tuples and crafted integers can take forever to hash.
            is_short = type(key) in (str, bool, float, type(None), Opaque) or (type(key) is int and abs(key) < 1 << 63)
            if not is_short:
                raise ValueError(f"it uses {kind_of(key)} as a key")
            target[key] = value

    def append(self, items: list[Any]) -> None:
        target = self.stack[-1]
        if isinstance(target, Opaque):
            return
        if type(target) is not list:
            raise ValueError(f"it appends to {kind_of(target)}")
        target.extend(items)

    def push_name(self, module: object, name: object) -> None:
        if not (isinstance(module, str) and isinstance(name, str) and len(module) + len(name) <= MAX_NAME_LENGTH):
            raise ValueError("it imports an invalid name")
        module = {"__builtin__": "builtins"}.get(module, module)  # its name in protocol 2
        known = NAMES.get(f"{module}.{name}")
        if known is None:
            self.refused.add(f"{module}.{name}")
        self.push(known or REFUSED)

    def call(self) -> None:
        arguments, target = self.stack.pop(), self.stack.pop()
        if not isinstance(target, Name) or target.make is None:
            raise ValueError(f"it calls {target.name if isinstance(target, Name) else kind_of(target)}")
        if type(arguments) is not tuple or len(arguments) > MAX_ARGUMENTS:
            raise ValueError(f"it calls {target.name} with invalid or too many arguments")
        self.push(target.make(*arguments))

    def build(self) -> None:
        # The attributes of an OrderedDict (`_metadata` of a state dict) and of an argparse.Namespace are not needed.
        self.stack.pop()
        if not isinstance(self.stack[-1], dict | Opaque):
            raise ValueError(f"it sets attributes of {kind_of(self.stack[-1])}")

    def storage(self) -> None:
        kind, storage, key, _, num_elements, *view = self.stack.pop()
        if kind != "storage" or not isinstance(storage, Name) or storage.name.removeprefix("torch.") not in STORAGES:
            raise ValueError("it refers to an object that is not a storage")
        if type(key) is not str or type(num_elements) is not int or num_elements < 0:
            raise ValueError("it refers to a storage without a valid key or size")
        if view not in ([], [None]):  # before 1.6 there is a sixth entry
            raise ValueError("it refers to a part of a storage, as torch before 0.4 wrote it")
        self.push(Storage(key, storage.name.removeprefix("torch."), num_elements))
        self.storages.add(self.stack[-1])


# The operation of each opcode that weights need; a pickle has many more.
OPERATIONS: dict[bytes, Callable[[_Machine], object]] = {
    b"\x80": lambda machine: machine.take(1),  # PROTO
    b"\x95": lambda machine: machine.take(8),  # FRAME
    b"(": lambda machine: machine.mark(),
    b"0": lambda machine: machine.stack.pop(),  # POP
    b"1": lambda machine: machine.to_mark(),  # POP_MARK
    b"N": lambda machine: machine.push(None),
    b"\x88": lambda machine: machine.push(True),
    b"\x89": lambda machine: machine.push(False),
    b"}": lambda machine: machine.push({}),
    b"]": lambda machine: machine.push([]),
    b")": lambda machine: machine.push(()),
    b"\x8f": lambda machine: machine.push(Opaque("a set")),  # EMPTY_SET
    b"\x91": lambda machine: machine.push_opaque("a set", machine.to_mark()),  # FROZENSET
    b"J": lambda machine: machine.push(machine.number("<i")),  # BININT
    b"K": lambda machine: machine.push(machine.number("<B")),  # BININT1
    b"M": lambda machine: machine.push(machine.number("<H")),  # BININT2
    b"\x8a": lambda machine: machine.push(int.from_bytes(machine.sized("<B"), "little", signed=True)),  # LONG1
    b"G": lambda machine: machine.push(machine.number(">d")),  # BINFLOAT
    b"X": lambda machine: machine.push(machine.sized("<I").decode("utf-8")),  # BINUNICODE
    b"\x8c": lambda machine: machine.push(machine.sized("<B").decode("utf-8")),  # SHORT_BINUNICODE
    b"B": lambda machine: machine.push(machine.sized("<I")),  # BINBYTES
    b"C": lambda machine: machine.push(machine.sized("<B")),  # SHORT_BINBYTES
    b"\x96": lambda machine: machine.push_opaque("bytes", machine.sized("<Q")),  # BYTEARRAY8, of a NumPy array
    b"t": lambda machine: machine.push(tuple(machine.to_mark())),  # TUPLE
    b"\x85": lambda machine: machine.push_tuple(1),
    b"\x86": lambda machine: machine.push_tuple(2),
    b"\x87": lambda machine: machine.push_tuple(3),
    b"a": lambda machine: machine.append([machine.stack.pop()]),
    b"e": lambda machine: machine.append(machine.to_mark()),
    b"\x90": lambda machine: machine.append(machine.to_mark()),  # ADDITEMS, of a set
    b"s": lambda machine: machine.set_items([machine.stack.pop(-2), machine.stack.pop()]),  # SETITEM
    b"u": lambda machine: machine.set_items(machine.to_mark()),  # SETITEMS
    b"c": lambda machine: machine.push_name(machine.line(), machine.line()),  # GLOBAL
    b"\x93": lambda machine: machine.push_name(machine.stack.pop(-2), machine.stack.pop()),  # STACK_GLOBAL
    b"R": lambda machine: machine.call(),  # REDUCE
    b"\x81": lambda machine: machine.call(),  # NEWOBJ
    b"b": lambda machine: machine.build(),
    b"Q": lambda machine: machine.storage(),  # BINPERSID
    b"h": lambda machine: machine.recall(machine.number("<B")),  # BINGET
    b"j": lambda machine: machine.recall(machine.number("<I")),  # LONG_BINGET
    b"q": lambda machine: machine.remember(machine.number("<B")),  # BINPUT
    b"r": lambda machine: machine.remember(machine.number("<I")),  # LONG_BINPUT
    b"\x94": lambda machine: machine.remember(len(machine.memo)),  # MEMOIZE
}
