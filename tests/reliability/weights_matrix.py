"""Damaged and forged weight files of every container: numbers or one clear error, at once and in little memory."""

import io
import json
import random
import signal
import struct
import time
import types
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from tests.builders import TINY, random_weights, tiny_checkpoint
from tests.checkpoints.refusal import MIB, PeakMemory
from tests.checkpoints.timm_folder import write_timm_folder
from tests.reference.other_layouts import linen_name, timm_name
from tests.reliability.ledger import Outcome

from allmlp import CheckpointError, ConfigError, load_checkpoint, save_checkpoint

MAX_SECONDS = 2.0  # of processor time for one file; a sound one takes 0.005 s
MAX_BYTES = 64 * MIB
NUM_CASES = 2_000  # per container: 20,000 in all

Damage = Callable[[bytes, random.Random], bytes]


@dataclass(frozen=True)
class Case:
    """A container: how its file is written in a folder (which returns what to damage), and how its inside is forged."""

    name: str
    write: Callable[[Path], Path]
    forge: Damage


def state() -> dict[str, torch.Tensor]:
    return {timm_name(name): weight for name, weight in random_weights(TINY).items()}


def damaged(content: bytes, generator: random.Random) -> bytes:
    """Change bits, cut, insert, overwrite, repeat or exchange."""
    changed = bytearray(content)
    start = (
        generator.randrange(len(content)) if generator.random() < 0.6 else generator.randrange(min(600, len(content)))
    )
    match generator.choice(["bits", "cut", "bytes", "insertion", "repetition", "number"]):
        case "cut":
            del changed[start : start + generator.choice([1, 8, 100, len(content)])]
        case "insertion":
            changed[start:start] = generator.randbytes(generator.randint(1, 8))
        case "bytes":
            changed[start : start + 8] = generator.randbytes(generator.randint(1, 8))
        case "repetition":
            changed[start:start] = changed[max(0, start - 50) : start] * generator.randint(1, 20)
        case "number":
            changed[start : start + 8] = generator.choice([b"\xff" * 8, b"\0" * 8, b"\xff" * 7 + b"\x7f", b"9" * 8])
        case _:
            for _ in range(generator.randint(1, 3)):
                changed[generator.randrange(len(content))] ^= 1 << generator.randrange(8)
    return bytes(changed)


def forged_zip(content: bytes, generator: random.Random) -> bytes:
    """Damage the content of a member, and make the archive sound around it."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    pickles = [name for name in members if name.endswith("data.pkl")]
    name = generator.choice(pickles or sorted(members))
    members[name] = damaged(members[name], generator)
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for member, data in members.items():
            archive.writestr(member, data)
    return buffer.getvalue()


def forged_header(content: bytes, generator: random.Random) -> bytes:
    """Damage the header of a safetensors file, and state its new length."""
    (length,) = struct.unpack_from("<Q", content)
    header = damaged(content[8 : 8 + length], generator)
    return struct.pack("<Q", len(header)) + header + content[8 + length :]


def forged_json(content: bytes, generator: random.Random) -> bytes:
    """Put a value of another kind in the place of one."""
    values = json.loads(content)
    group = values
    while isinstance(group, dict) and group:
        key = generator.choice(sorted(group))
        if not isinstance(group[key], dict) or generator.random() < 0.3:
            group[key] = generator.choice(
                [None, [], {}, -1, 1e308, 10**400, "\ud800", "x" * 9000, [[[]]], True, [1] * 999]
            )
            break
        group = group[key]
    return json.dumps(values).encode()


def _npz(path: Path) -> Path:
    np.savez(path / "x.npz", **{linen_name(name): _flax(weight) for name, weight in random_weights(TINY).items()})
    return path / "x.npz"


def _packed_npz(path: Path) -> Path:
    np.savez_compressed(path / "x.npz", **{name: weight.numpy() for name, weight in state().items()})
    return path / "x.npz"


def _flax(weight: torch.Tensor) -> np.ndarray:
    return weight.permute({1: (0,), 2: (1, 0), 4: (2, 3, 1, 0)}[weight.ndim]).contiguous().numpy()


def _saved(value: Callable[[], object], *, legacy: bool = False) -> Callable[[Path], Path]:
    def write(path: Path) -> Path:
        torch.save(value(), path / "x.pth", _use_new_zipfile_serialization=not legacy)
        return path / "x.pth"

    return write


def _safetensors(path: Path) -> Path:
    save_file(state(), path / "x.safetensors")
    return path / "x.safetensors"


def _training() -> object:
    optimizer = {"state": {0: {"step": 3, "exp_avg": torch.zeros(5)}}, "param_groups": [{"lr": 0.1}]}
    return {"epoch": 3, "state_dict": state(), "state_dict_ema": state(), "optimizer": optimizer, "metric": 1.5}


def _lightning() -> object:
    strangers = {"criterion.weight": torch.ones(3), "acc.tp": torch.zeros(3, dtype=torch.int64)}
    return {"state_dict": {f"model.{name}": weight for name, weight in state().items()} | strangers}


def _native(path: Path) -> Path:
    return save_checkpoint(tiny_checkpoint(), path / "native") / "config.json"


def _timm(path: Path) -> Path:
    (path / "timm").mkdir()
    return write_timm_folder(path / "timm") / "config.json"


CASES = [
    Case("npz", _npz, forged_zip),
    Case("npz, compressed", _packed_npz, forged_zip),
    Case("safetensors", _safetensors, forged_header),
    Case("torch", _saved(state), forged_zip),
    Case("torch, training checkpoint", _saved(_training), forged_zip),
    Case("torch, Lightning", _saved(_lightning), forged_zip),
    Case("torch before 1.6", _saved(state, legacy=True), damaged),
    Case("torch before 1.6, training checkpoint", _saved(_training, legacy=True), damaged),
    Case("config.json", _native, forged_json),
    Case("config.json of timm", _timm, forged_json),
]


def run(case: Case, folder: Path, count: int = NUM_CASES) -> Outcome:
    """Damage the file of a container in `count` ways, by seed, and load each of them."""
    path = case.write(folder)
    content = path.read_bytes()
    load_checkpoint(path)  # what is damaged is sound, and the libraries are loaded
    problems, num_read, longest = [], 0, 0.0
    for seed in range(count):
        generator = random.Random(seed)
        path.write_bytes((case.forge if seed % 2 else damaged)(content, generator))
        start = time.process_time()
        problem, is_read = _loaded(path)
        seconds = time.process_time() - start
        longest, num_read = max(longest, seconds), num_read + is_read
        problem = problem or (f"{seconds:.1f} s" if seconds > MAX_SECONDS else "")
        problems += [f"{case.name}, seed {seed}: {problem}"] * bool(problem)
    figures = {"longest_seconds": round(longest, 2), "read": float(num_read)}
    return Outcome(problems=problems[:20], cases=count, passed=count - len(problems), figures=figures)


def _loaded(path: Path) -> tuple[str, bool]:
    """Return what is wrong with how the file is loaded or refused, and whether it is loaded."""
    previous = signal.signal(signal.SIGALRM, _stop)
    signal.alarm(20)
    memory = PeakMemory()
    try:
        load_checkpoint(path)
        problem, is_read = "", True
    except (CheckpointError, ConfigError) as error:
        text, is_read = str(error), False
        is_clear = str(path.parent) in text and len(text) < 100_000 and text.replace("\n", "").isprintable()
        problem = "" if is_clear else f"an unclear message: {text[:300]!r}"
    except Exception as error:
        problem, is_read = f"{error!r}"[:300], False
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, previous)
    grown = memory.above_start()
    return problem or (f"{grown:,} bytes" if grown > MAX_BYTES else ""), is_read


def _stop(_: int, __: types.FrameType | None) -> None:
    raise AssertionError("it hangs")
