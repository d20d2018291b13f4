"""What the pickle inside a file of torch.save says, read as data: nothing is imported and nothing is called.

A pickle is a program for a small stack machine. This one knows the instructions that write numbers, texts, lists and
dictionaries, and a handful of constructors, which here make descriptions instead of objects; every other instruction or
name ends the reading. Unlike `torch.load(weights_only=True)` it needs no memory for the tensors, never grows a storage
to what a tensor claims, and takes protocols 2 to 5.

Source: Python's pickletools.
"""

import struct
from collections.abc import Callable
from typing import Any

from allmlp.checkpoints.containers.torch_objects import NAMES, REFUSED, STORAGES, Name, Opaque, Storage, kind_of
from allmlp.io.display import summarise

__all__ = ["read_pickle"]

# A tensor takes some 35; H/14 has 390 of them, with an optimizer's state and EMA weights four times that.
MAX_INSTRUCTIONS = 250_000

# What could be long and used again and again by one short instruction each time.
MAX_ARGUMENTS = 8
MAX_NAME_LENGTH = 200


def read_pickle(data: bytes) -> object:
    """Return what a pickle of torch.save describes: dictionaries, lists and tuples of StoredTensor, plain values, Opaque.

    Raises:
        ValueError: an instruction or a name that weights do not need (all such names), or a damaged pickle.
    """
    machine = _Machine(data)
    try:
        value = machine.run()
    except (ValueError, TypeError, IndexError, KeyError, OverflowError, struct.error) as error:
        if not machine.refused:
            raise ValueError(f"its pickle is damaged or no list of weights ({str(error)[:300]})") from error
    if machine.refused:
        names = sorted(machine.refused)
        raise ValueError(
            f"it would call {summarise(names)}, which weights do not need; nothing was run. "
            "Where you trust the file, load it with torch.load and save the weights alone: "
            "torch.save(model.state_dict(), new_file)"
        )
    return value


class _Machine:
    """The stack machine. `refused` collects the names that it does not know."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.position = 0
        self.stack: list[Any] = []
        self.marks: list[list[Any]] = []
        self.memo: dict[int, Any] = {}
        self.refused: set[str] = set()

    def run(self) -> object:
        for _ in range(MAX_INSTRUCTIONS):
            code = self.take(1)
            if code == b".":
                return self.stack.pop()
            instruction = INSTRUCTIONS.get(code)
            if instruction is None:
                raise ValueError(f"instruction {code!r}")
            instruction(self)
        raise ValueError(f"more than {MAX_INSTRUCTIONS:,} instructions")

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
            raise ValueError("it makes a tuple of nothing")
        self.stack[-size:] = [tuple(self.stack[-size:])]

    def set_items(self, items: list[Any]) -> None:
        target = self.stack[-1]
        if isinstance(target, Opaque):
            return
        if type(target) is not dict or len(items) % 2:
            raise ValueError(f"it sets an item of {kind_of(target)}")
        for key, value in zip(items[::2], items[1::2], strict=True):
            # Tuples of tuples and crafted integers can take forever to hash.
            if type(key) not in (str, bool, type(None)) and not (type(key) is int and abs(key) < 1 << 63):
                raise ValueError(f"it has {kind_of(key)} as a key")
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
            raise ValueError("it imports something without a sensible name")
        module = {"__builtin__": "builtins"}.get(module, module)  # as protocol 2 calls it
        known = NAMES.get(f"{module}.{name}")
        if known is None:
            self.refused.add(f"{module}.{name}")
        self.push(known or REFUSED)

    def call(self) -> None:
        arguments, target = self.stack.pop(), self.stack.pop()
        if not isinstance(target, Name) or target.make is None:
            raise ValueError(f"it calls {target.name if isinstance(target, Name) else kind_of(target)}")
        if type(arguments) is not tuple or len(arguments) > MAX_ARGUMENTS:
            raise ValueError(f"it calls {target.name} with more than tensors need")
        self.push(target.make(*arguments))

    def build(self) -> None:
        # Attributes: an OrderedDict's (`_metadata` of a state dict) and an argparse.Namespace's are not needed.
        self.stack.pop()
        if not isinstance(self.stack[-1], dict | Opaque):
            raise ValueError(f"it sets attributes of {kind_of(self.stack[-1])}")

    def storage(self) -> None:
        kind, storage, key, _, num_elements = self.stack.pop()
        if kind != "storage" or not isinstance(storage, Name) or storage.name.removeprefix("torch.") not in STORAGES:
            raise ValueError("it refers to something that is no storage")
        if type(key) is not str or type(num_elements) is not int or num_elements < 0:
            raise ValueError("it refers to a storage without a key or a size")
        self.push(Storage(key, storage.name.removeprefix("torch."), num_elements))


# What the bytes of a pickle mean, less all that weights do not need.
INSTRUCTIONS: dict[bytes, Callable[[_Machine], object]] = {
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
    b"J": lambda machine: machine.push(machine.number("<i")),  # BININT
    b"K": lambda machine: machine.push(machine.number("<B")),  # BININT1
    b"M": lambda machine: machine.push(machine.number("<H")),  # BININT2
    b"\x8a": lambda machine: machine.push(int.from_bytes(machine.sized("<B"), "little", signed=True)),  # LONG1
    b"G": lambda machine: machine.push(machine.number(">d")),  # BINFLOAT
    b"X": lambda machine: machine.push(machine.sized("<I").decode("utf-8")),  # BINUNICODE
    b"\x8c": lambda machine: machine.push(machine.sized("<B").decode("utf-8")),  # SHORT_BINUNICODE
    b"B": lambda machine: machine.push(machine.sized("<I")),  # BINBYTES
    b"C": lambda machine: machine.push(machine.sized("<B")),  # SHORT_BINBYTES
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
