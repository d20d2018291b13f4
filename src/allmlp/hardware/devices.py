"""Choice of the compute device, and its support for bfloat16."""

import ctypes
import sys
from collections.abc import Mapping
from typing import Any

from allmlp.errors import ConfigError, did_you_mean
from allmlp.io.display import counted

__all__ = [
    "DEVICES",
    "INSTRUCTION_SETS",
    "choose_device",
    "describe_device",
    "has_native_bfloat16",
    "instruction_sets",
    "is_bfloat16_faster",
    "reuse_freed_memory",
]

DEVICES = ("auto", "cpu", "cuda", "mps")

_X86 = ("avx2", "avx512_f", "avx512_vnni", "avx512_bf16", "avx512_fp16", "avx_vnni", "amx_bf16", "amx_int8")
INSTRUCTION_SETS = (*_X86, "bf16", "i8mm", "sve", "sve2")
"""Those of x86 and of ARM that determine the speed of matrix products, by torch's names."""


def choose_device(name: str) -> str:
    """Return "cpu", "cuda" or "mps"; "auto" selects the fastest one available.

    Raises:
        ConfigError: an unknown device, or one that is unavailable on this machine or in this build of torch.
    """
    import torch

    if name not in DEVICES:
        raise ConfigError(f"unknown device {name!r}.{_device_advice(name)} Expected one of {', '.join(DEVICES)}.")
    is_available = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    available = [device for device in DEVICES if is_available.get(device)]
    if name == "auto":
        return next(device for device, usable in is_available.items() if usable)
    if not is_available[name]:
        raise ConfigError(
            f"device {name} is not available: torch {torch.__version__} finds only {', '.join(available)} on this machine. "
            "Use --device auto."
        )
    return name


# What other tools call devices, and where there is none of the kind.
_OTHER_DEVICES = {
    **dict.fromkeys(("gpu", "nvidia", "rocm", "hip", "amd"), "cuda"),
    **dict.fromkeys(("metal", "apple", "m1"), "mps"),
    "-1": "cpu",
    **dict.fromkeys(("tpu", "xla", "xpu", "npu", "hpu"), None),
}


def _device_advice(name: str) -> str:
    """Return what to do about a device as other tools call it, such as a GPU with its number."""
    lowered = "".join(name.lower().split())
    kind, _, numbers = lowered.rpartition(":")
    listed = numbers.strip("[]").split(",")
    if all(number.isdecimal() for number in listed) and kind in ("", "cuda", "gpu"):
        if len(listed) > 1:
            return f" For {len(listed)} GPUs, start one process for each with torchrun (docs/training.md)."
        return (
            f" To use GPU {listed[0]}, set the environment variable CUDA_VISIBLE_DEVICES={listed[0]} and --device cuda."
        )
    known = lowered.partition(":")[0]
    if known in _OTHER_DEVICES:
        ours = _OTHER_DEVICES[known]
        return f" Did you mean {ours!r}?" if ours else ""
    return did_you_mean(known, DEVICES)


def is_bfloat16_faster(device: str) -> bool:
    """Return whether the device multiplies bfloat16 matrices faster than float32 ones.

    Among CPUs, these are the ones with AMX, AMD's with AVX-512 BF16, and ARM's with BF16. Intel's AVX-512 BF16 without AMX
    has no higher throughput than float32, and conversion adds cost: on a Xeon whose virtual machine hides AMX, a training
    step of Mixer-nano took longer in bfloat16 (observed with oneDNN 3.12).
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
    """Return whether the device has instructions for bfloat16 matrix products; other devices emulate them, slowly.

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
    """Return the CPU's instruction sets that determine the speed of matrix products, by torch's names, sorted.

    Empty if torch does not report them.
    """
    features = _processor_features()
    return sorted(name for name in INSTRUCTION_SETS if features.get(name))


def _processor_features() -> Mapping[str, Any]:
    """Return torch's table of CPU features; empty for a version of torch without it."""
    import torch

    return torch.cpu.get_capabilities() if hasattr(torch.cpu, "get_capabilities") else {}


def describe_device(device: str) -> str:
    """Return a readable name, such as "cpu (AMD EPYC, 2 threads)"."""
    import torch

    if device == "cuda":
        return f"cuda ({torch.cuda.get_device_name()})"
    if device == "cpu":
        count = torch.get_num_threads()
        name = _processor_features().get("cpu_name", "unknown processor")
        return f"cpu ({name}, {counted(count, 'thread')})"
    return device


def reuse_freed_memory() -> None:
    """Make glibc keep freed memory for later allocations; do nothing with other C libraries.

    By default glibc returns every block of over 32 MB to the system, which must then zero the pages again in each training
    step: a fifth of the step time of a small Mixer at batch size 512. The setting holds for the whole process and does not
    change peak memory.
    """
    if not sys.platform.startswith("linux"):
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # missing in musl
    if mallopt is not None:
        trim_threshold, mmap_threshold = -1, -3  # malloc.h
        # Older versions allow at most 32 MB. Setting only the trim threshold would freeze the mmap threshold at its value.
        if mallopt(mmap_threshold, 1 << 30) or mallopt(mmap_threshold, 32 << 20):
            mallopt(trim_threshold, (1 << 31) - 1)
