"""Measurement records: figures with their spread, and their provenance (command, commit, hardware, versions)."""

import importlib.metadata
import platform
import shlex
import statistics
import subprocess
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from allmlp.hardware.devices import describe_device, instruction_sets
from allmlp.hardware.processor import known_instruction_sets, processor_facts
from allmlp.io.atomic_write import write_json

__all__ = ["environment", "record", "spread"]


_ENGINES = {"torch": "torch", "onnxruntime": "onnxruntime", "openvino": "openvino", "ai_edge_litert": "ai-edge-litert"}
"""Modules, and their packages."""


def environment(device: str = "cpu") -> dict[str, str]:
    """Return the command line, the time, the commit if known, the versions and the hardware."""
    import numpy
    import PIL

    import allmlp

    engines = {package: _version(module, package) for module, package in _ENGINES.items() if module in sys.modules}
    if "torch" in sys.modules or not engines:
        import torch

        engines["torch"] = torch.__version__
        hardware = {"device": describe_device(device), "instruction_sets": " ".join(instruction_sets())}
    else:  # an export ran, for which torch need not be installed
        processor = processor_facts().get("model name") or platform.processor() or platform.machine()
        hardware = {"device": f"{device} ({processor})", "instruction_sets": " ".join(known_instruction_sets())}
    facts = {
        "command": shlex.join([*_program(), *sys.argv[1:]]),
        "written": f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S} UTC",
        "allmlp": allmlp.__version__,
        "commit": _commit(),
        "python": platform.python_version(),
        **engines,
        "numpy": numpy.__version__,
        "pillow": PIL.__version__,
        "platform": platform.platform(),
        **hardware,
    }
    return {name: value for name, value in facts.items() if value}


def _version(module: str, package: str) -> str:
    version: str = getattr(sys.modules[module], "__version__", "") or importlib.metadata.version(package)
    return version


def _program() -> list[str]:
    started = Path(sys.argv[0])
    return ["python", "-m", started.parent.name] if started.name == "__main__.py" else [started.name]


def record(path: Path, figures: Mapping[str, Any], *, command: str) -> Path:
    """Write a measurement as JSON: first the environment, then the figures.

    `command` replaces the actual command line, whose paths mean nothing on another machine.
    """
    return write_json(path, {"environment": {**environment(), "command": command}, **figures})


def spread(values: Sequence[float]) -> dict[str, float]:
    """Return n, mean, sample standard deviation (0 for one value), median, minimum and maximum, to 5 significant digits."""
    figures = {
        "mean": statistics.fmean(values),
        "std": statistics.stdev(values) if len(values) > 1 else 0.0,
        "median": statistics.median(values),
        "min": min(values),
        "max": max(values),
    }
    return {"n": len(values), **{name: float(f"{value:.5g}") for name, value in figures.items()}}


def _commit() -> str:
    """Return the commit of the checkout that this package runs from, with "+" if tracked files differ; "" if installed."""
    folder = Path(__file__).resolve().parent
    if not (folder.parent.parent / ".git").exists():
        return ""
    try:
        commit = _git(folder, "rev-parse", "--short=10", "HEAD")
        return commit + ("+" if _git(folder, "status", "--porcelain", "--untracked-files=no") else "")
    except (OSError, subprocess.SubprocessError):
        return ""


def _git(folder: Path, *arguments: str) -> str:
    completed = subprocess.run(
        ["git", "-C", str(folder), *arguments], capture_output=True, text=True, timeout=10, check=True
    )
    return completed.stdout.strip()
