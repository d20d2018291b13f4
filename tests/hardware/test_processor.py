"""Instruction sets where Linux does not tell them."""

import sys
from pathlib import Path

import pytest

from allmlp.hardware import processor
from allmlp.hardware.devices import instruction_sets


def test_nothing_is_known_without_the_kernel_and_without_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processor, "processor_facts", dict)
    monkeypatch.setitem(sys.modules, "torch", None)
    assert processor.processor_flags() == frozenset()
    assert not processor.has_exact_int8(machine="x86_64")


def test_torch_tells_what_the_kernel_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processor, "processor_facts", dict)
    monkeypatch.setattr("allmlp.hardware.devices.instruction_sets", lambda: ["avx2", "avx_vnni"])
    assert processor.has_exact_int8(machine="x86_64")


def test_instruction_sets_have_torchs_names(tmp_path: Path) -> None:
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc" / "cpuinfo").write_text("flags\t\t: fpu avx2 avx512f avx512_vnni amx_int8 sse4_2\n")
    assert processor.known_instruction_sets(tmp_path) == ["amx_int8", "avx2", "avx512_f", "avx512_vnni"]
    assert processor.known_instruction_sets(tmp_path / "absent") == []


def test_torch_and_the_kernel_name_the_same_instruction_sets() -> None:
    if not (here := processor.known_instruction_sets()):
        pytest.skip("not Linux, or none of them")
    assert set(instruction_sets()) <= set(here)  # torch does not tell those that it may not use


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        (["avx2", "avx512_f"], "avx512"),
        (["avx2", "avx512f"], "avx512"),
        (["avx2", "fma"], "avx2"),
        (["sve"], ""),
        ([], ""),
    ],
)
def test_vector_instructions_are_the_widest(flags: list[str], expected: str) -> None:
    assert processor.vector_instructions(flags) == expected
