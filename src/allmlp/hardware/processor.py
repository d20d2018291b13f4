"""Instructions of the processor, without torch, whose import takes seconds."""

import platform
import re
from collections.abc import Collection
from pathlib import Path

from allmlp.hardware.devices import INSTRUCTION_SETS

__all__ = [
    "has_exact_int8",
    "known_instruction_sets",
    "processor_facts",
    "processor_flags",
    "vector_instructions",
]

_VNNI = frozenset({"avx512_vnni", "avx_vnni", "amx_int8"})
_ARM = ("aarch64", "arm64")


def processor_facts(root: Path = Path("/")) -> dict[str, str]:
    """Return "model name", "flags" and "Features" of the first processor, as far as Linux tells; `root` holds proc/."""
    try:
        text = (root / "proc" / "cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return {}
    found = re.findall(r"^(model name|flags|Features)\s*: (.*)$", text, re.MULTILINE)
    return dict(found)


def known_instruction_sets(root: Path = Path("/")) -> list[str]:
    """Return which of `INSTRUCTION_SETS` the processor has, sorted; none where Linux is not the system."""
    facts = processor_facts(root)
    flags = (facts.get("flags") or facts.get("Features") or "").split()
    named = {"avx512_f" if flag == "avx512f" else flag for flag in flags}  # the one name that is another in torch
    return sorted(named.intersection(INSTRUCTION_SETS))


def processor_flags() -> frozenset[str]:
    """Return the instruction sets by Linux's names, or by torch's where Linux is not the system; none without torch."""
    facts = processor_facts()
    flags = (facts.get("flags") or facts.get("Features") or "").split()
    if flags:
        return frozenset(flags)
    try:
        from allmlp.hardware.devices import instruction_sets

        return frozenset(instruction_sets())
    except ModuleNotFoundError:  # torch is not installed
        return frozenset()


def vector_instructions(flags: Collection[str]) -> str:
    """Return the widest vector instructions of x86 for float32: "avx512", "avx2", or "" for others."""
    if any(flag.startswith("avx512") for flag in flags):
        return "avx512"
    return "avx2" if "avx2" in flags else ""


def has_exact_int8(flags: frozenset[str] | None = None, machine: str | None = None) -> bool:
    """Return whether the processor adds products of 8-bit integers without saturation in 16 bits.

    x86 does with VNNI or AMX, whose sums have 32 bits. ARM always does: engines there multiply signed integers, whose products
    are added in 32 bits. Where the instruction sets are unknown, the answer is no.

    Args:
        flags: the instruction sets, by default this processor's.
        machine: its architecture as of `platform.machine`, by default this processor's.
    """
    if (machine or platform.machine()).lower() in _ARM:
        return True
    return bool(_VNNI & (processor_flags() if flags is None else flags))
