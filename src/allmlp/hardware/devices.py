"""Which device to compute on, and whether it computes in bfloat16."""

import ctypes
import sys
from collections.abc import Mapping
from typing import Any

from allmlp.errors import ConfigError, did_you_mean

__all__ = [
    "DEVICES",
    "choose_device",
    "describe_device",
    "has_native_bfloat16",
    "instruction_sets",
    "is_bfloat16_faster",
    "reuse_freed_memory",
]

DEVICES = ("auto", "cpu", "cuda", "mps")


def choose_device(name: str) -> str:
    """Return "cpu", "cuda" or "mps"; "auto" takes the fastest that is there.

    Raises:
        ConfigError: an unknown device, or one that this machine or this torch has not.
    """
    import torch

    if name not in DEVICES:
        raise ConfigError(
            f"There is no device {name!r}.{did_you_mean(name, DEVICES)} Choose one of {', '.join(DEVICES)}."
        )
    available = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if name == "auto":
        return next(device for device, there in available.items() if there)
    if not available[name]:
        there = ", ".join(sorted(device for device, is_there in available.items() if is_there))
        raise ConfigError(
            f"device {name} is not available: torch {torch.__version__} finds {there} here. Use --device auto."
        )
    return name


def is_bfloat16_faster(device: str) -> bool:
    """Say whether the device multiplies bfloat16 matrices faster than float32 ones.

    Among processors: those with AMX, AMD's with AVX-512, and ARM's with bf16. Intel's AVX-512 instruction alone does no more
    than float32's in the same time, and converting costs: on a Xeon whose virtual machine hides AMX, a training step of
    Mixer-nano took longer (seen with oneDNN 3.12).
    """
    import torch

    if device == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if device == "cpu":
        features = _processor_features()
        is_intel = "Intel" in features.get("cpu_name", "")
        names = ("amx_bf16", "bf16") if is_intel else ("amx_bf16", "bf16", "avx512_bf16")
        return any(bool(features.get(name)) for name in names)
    return False


def has_native_bfloat16(device: str) -> bool:
    """Say whether the device has instructions for products of bfloat16 matrices; others emulate them, slowly.

    `device` is "cpu", "cuda", "cuda:<number>" or "mps".
    """
    import torch

    if device.startswith("cuda"):
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if device == "cpu":
        features = _processor_features()
        return any(bool(features.get(name)) for name in ("amx_bf16", "bf16", "avx512_bf16"))
    return True


def instruction_sets() -> list[str]:
    """Return which of the processor's instruction sets decide the speed of matrix products, by torch's names, sorted.

    Empty where torch cannot tell.
    """
    intel = ("avx2", "avx512_f", "avx512_vnni", "avx512_bf16", "avx512_fp16", "avx_vnni", "amx_bf16", "amx_int8")
    arm = ("bf16", "i8mm", "sve", "sve2")
    features = _processor_features()
    return sorted(name for name in (*intel, *arm) if features.get(name))


def _processor_features() -> Mapping[str, Any]:
    """Return torch's table of what the processor can do; empty for a torch that has none."""
    import torch

    return torch.cpu.get_capabilities() if hasattr(torch.cpu, "get_capabilities") else {}


def describe_device(device: str) -> str:
    """Return a name for people, such as "cpu (AMD EPYC, 2 threads)"."""
    import torch

    if device == "cuda":
        return f"cuda ({torch.cuda.get_device_name()})"
    if device == "cpu":
        count = torch.get_num_threads()
        name = _processor_features().get("cpu_name", "unknown processor")
        return f"cpu ({name}, {count} thread{'s' * (count != 1)})"
    return device


def reuse_freed_memory() -> None:
    """Let glibc keep freed memory for the next allocation; elsewhere do nothing.

    By default glibc returns every block of over 32 MB to the system, which then clears its pages anew in each training
    step: a fifth of the step of a small Mixer at batch 512. The setting holds for the whole process; peak memory stays.
    """
    if not sys.platform.startswith("linux"):
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # musl has none
    if mallopt is not None:
        trim_threshold, mmap_threshold = -1, -3  # malloc.h
        # Older versions allow at most 32 MB; a trim threshold alone would freeze the other one where it is.
        if mallopt(mmap_threshold, 1 << 30) or mallopt(mmap_threshold, 32 << 20):
            mallopt(trim_threshold, (1 << 31) - 1)
