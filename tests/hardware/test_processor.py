"""Instruction sets where Linux does not tell them."""

import sys

import pytest

from allmlp.hardware import processor


def test_nothing_is_known_without_the_kernel_and_without_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processor, "processor_facts", dict)
    monkeypatch.setitem(sys.modules, "torch", None)
    assert processor.processor_flags() == frozenset()
    assert not processor.has_exact_int8(machine="x86_64")


def test_torch_tells_what_the_kernel_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processor, "processor_facts", dict)
    monkeypatch.setattr("allmlp.hardware.devices.instruction_sets", lambda: ["avx2", "avx_vnni"])
    assert processor.has_exact_int8(machine="x86_64")
