"""Start-up and peak memory of the contestants, in fresh processes that take turns: from their start to the first answer."""

import dataclasses
import importlib.util
import json
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from allmlp.bench.contestants import Contestant
from allmlp.bench.peers import timm_model
from allmlp.bench.subject import Subject
from allmlp.checkpoints import Checkpoint, save_checkpoint
from allmlp.exports import write_float_export
from allmlp.io.display import Report, discard
from allmlp.model import MixerConfig
from allmlp.provenance import spread

__all__ = ["StartUp", "start_up", "start_up_of_timm", "start_ups"]

_NUM_ROUNDS = 3

_PEAK = """
import json, time
try:
    lines = open("/proc/self/status").read().splitlines()
    peak = int(next(line for line in lines if line.startswith("VmHWM")).split()[1]) / 1024
except (OSError, StopIteration):
    peak = None
print(json.dumps([peak, time.process_time()]))
"""

_PROGRAM = f"""
import sys
import numpy as np
from allmlp import open_model
source, backend, precision, batch_size = sys.argv[1:]
model = open_model(source, backend=backend, device="cpu", precision=precision)
shape = (int(batch_size), 3, *model.description.config.image_size)
model.forward(np.zeros(shape, np.float32))
{_PEAK}
"""

# As in timm's documentation: the model is made by its name or its arguments, and the weights are loaded from a file.
_TIMM_PROGRAM = f"""
import json, sys
import timm, torch
values, weights, batch_size = sys.argv[1:]
values = json.loads(values)
gelu = torch.nn.GELU if values.pop("gelu") == "erf" else timm.layers.GELUTanh
size = values["img_size"]
model = timm.models.MlpMixer(act_layer=gelu, **values)
model.load_state_dict(torch.load(weights, weights_only=True))
model.eval()
with torch.inference_mode():
    model(torch.zeros(int(batch_size), 3, *size))
{_PEAK}
"""


class StartUp(NamedTuple):
    """The seconds until the first answer, those of the processor, and the peak resident memory in MiB, None where unknown."""

    seconds: float
    processor_seconds: float
    peak_mebibytes: int | None


def start_up(source: str | Path, backend: str, precision: str, *, batch_size: int = 1, timeout: float = 120) -> StartUp:
    """Return what it takes to open a model and to answer one batch.

    Raises:
        RuntimeError: the process failed or took longer than `timeout` seconds.
    """
    return _timed(_PROGRAM, [str(source), backend, precision, str(batch_size)], timeout)


def start_up_of_timm(config: MixerConfig, weights: Path, *, batch_size: int = 1, timeout: float = 120) -> StartUp:
    """Return the same of timm's Mixer, whose weights are loaded from a .pth file. Raises RuntimeError as `start_up`."""
    values = dataclasses.asdict(config)
    arguments = {
        "num_classes": values["num_classes"],
        "img_size": values["image_size"],
        "patch_size": values["patch_size"],
        "num_blocks": values["num_blocks"],
        "embed_dim": values["hidden_dim"],
        "mlp_ratio": [values[name] / values["hidden_dim"] for name in ("tokens_mlp_dim", "channels_mlp_dim")],
        "gelu": values["gelu"],
    }
    return _timed(_TIMM_PROGRAM, [json.dumps(arguments), str(weights), str(batch_size)], timeout)


def _timed(program: str, arguments: list[str], timeout: float) -> StartUp:
    started = time.perf_counter()
    try:
        completed = subprocess.run(
            [sys.executable, "-c", program, *arguments], capture_output=True, text=True, timeout=timeout, check=False
        )
    except subprocess.TimeoutExpired:
        raise RuntimeError(f"no answer within {timeout:.0f} s") from None
    seconds = time.perf_counter() - started
    if completed.returncode:
        raise RuntimeError((completed.stderr.strip().splitlines() or ["it was ended"])[-1])
    peak, processor_seconds = json.loads(completed.stdout.strip().splitlines()[-1])
    return StartUp(round(seconds, 3), round(processor_seconds, 3), None if peak is None else round(peak))


def start_ups(
    contestants: Sequence[Contestant],
    subject: Subject,
    source: str | Path | None,
    folder: Path,
    deadline: float,
    left_out: dict[str, str],
    *,
    report: Report = discard,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, Any]:
    """Return seconds, processor seconds and peak memory until the first answer by contestant, over at most three rounds.

    `source` is what torch's backends load; None writes the checkpoint to `folder`. The other engines load an export, which is
    written there, too; timm loads its own weights from a .pth file.
    """
    programs = _programs(contestants, subject, source, folder, left_out)
    found: dict[str, list[StartUp]] = {}
    for number in range(_NUM_ROUNDS):
        for name, program in list(programs.items()):
            if clock() > deadline:
                if not number:
                    left_out[f"start-up of {name}"] = "no time was left; allow more --minutes"
                continue
            if not number:
                report(f"start-up of {name}")
            try:
                found.setdefault(name, []).append(program())
            except RuntimeError as error:
                left_out[f"start-up of {name}"] = f"failed: {error}"
                del programs[name]
                found.pop(name, None)
    return {
        name: {
            "seconds": spread([each.seconds for each in runs])["median"],
            "processor_seconds": spread([each.processor_seconds for each in runs])["median"],
            "peak_mebibytes": runs[0].peak_mebibytes,
            "n": len(runs),
        }
        for name, runs in found.items()
    }


def _programs(
    contestants: Sequence[Contestant],
    subject: Subject,
    source: str | Path | None,
    folder: Path,
    left_out: dict[str, str],
) -> dict[str, Callable[[], StartUp]]:
    programs: dict[str, Callable[[], StartUp]] = {}
    for contestant in contestants:
        if contestant.is_compiled or any(f"{contestant.label}, batch" in name for name in left_out):
            continue
        backend = contestant.name.removeprefix("allmlp-")
        precision = contestant.precision if contestant.precision in ("float32", "bfloat16") else "auto"
        if contestant.source is not None:
            model = contestant.source()
            file = _file(model, source, backend, folder) if isinstance(model, Checkpoint) else model
            if file is not None:
                programs[contestant.label] = lambda file=file, backend=backend, precision=precision: start_up(  # type: ignore[misc]
                    file, backend, precision
                )
        elif contestant.label == "timm-eager, float32":
            programs[contestant.label] = _timm(subject, folder)
    return programs


def _file(model: Checkpoint, source: str | Path | None, backend: str, folder: Path) -> str | Path | None:
    """Return what a backend loads: torch's a checkpoint, LiteRT a file of its own, the others ONNX, if it can be written."""
    if backend == "eager":
        path = folder / "checkpoint"
        return source or (path if path.exists() else save_checkpoint(model, path))
    if importlib.util.find_spec("onnx") is None:
        return None
    to, ending = ("litert", "tflite") if backend == "litert" else ("onnx", "onnx")
    path = folder / f"float32.{ending}"
    return path if path.exists() else write_float_export(model, to=to, out=path)


def _timm(subject: Subject, folder: Path) -> Callable[[], StartUp]:
    import torch

    path = folder / "timm.pth"
    torch.save(timm_model(subject.config).state_dict(), path)
    return lambda: start_up_of_timm(subject.config, path)
