"""Devices and precisions, against what the operating system and torch say."""

import sys
from pathlib import Path

import pytest
import torch

from allmlp.errors import ConfigError
from allmlp.hardware.devices import (
    choose_device,
    describe_device,
    has_native_bfloat16,
    instruction_sets,
    is_bfloat16_faster,
)


def test_auto_takes_a_device_that_torch_has():
    device = choose_device("auto")
    assert torch.ones(2, device=device).sum() == 2.0
    assert describe_device("cpu").startswith("cpu (")


@pytest.mark.skipif(torch.cuda.is_available(), reason="the message is for machines without a GPU")
def test_a_device_that_is_not_there_is_refused_with_what_is():
    with pytest.raises(ConfigError, match=r"device cuda is not available: torch .* finds .*cpu.*--device auto"):
        choose_device("cuda")


def test_an_unknown_device_names_the_nearest():
    with pytest.raises(ConfigError, match=r"unknown device 'gpu'.*auto, cpu, cuda, mps"):
        choose_device("gpu")
    with pytest.raises(ConfigError, match=r"Did you mean 'cuda'"):
        choose_device("cudaa")


@pytest.mark.skipif(not Path("/proc/cpuinfo").exists() or sys.platform != "linux", reason="needs Linux")
def test_bfloat16_is_found_as_the_kernel_lists_it():
    listed = Path("/proc/cpuinfo").read_text()
    faster = {"amx_bf16", "bf16"} if "GenuineIntel" in listed else {"amx_bf16", "bf16", "avx512_bf16"}
    assert is_bfloat16_faster("cpu") == bool(set(listed.split()) & faster)
    assert has_native_bfloat16("cpu") == bool(set(listed.split()) & {"amx_bf16", "bf16", "avx512_bf16"})


@pytest.mark.skipif(not Path("/proc/cpuinfo").exists() or sys.platform != "linux", reason="needs Linux")
def test_instruction_sets_are_those_that_the_kernel_lists():
    listed = set(Path("/proc/cpuinfo").read_text().split())
    kernels = {"avx512_f": "avx512f"}  # the kernel's spelling
    found = instruction_sets()
    assert found == sorted(found)
    for name in ("avx2", "avx512_f", "avx512_vnni", "avx512_bf16", "amx_bf16", "amx_int8"):
        assert (name in found) == (kernels.get(name, name) in listed), name


@pytest.mark.parametrize(
    ("processor", "flags", "expected"),
    [
        ("AMD EPYC", ["avx512_bf16"], True),
        ("Intel Xeon", ["avx512_bf16"], False),
        ("Intel Xeon", ["avx512_bf16", "amx_bf16"], True),
        ("AMD EPYC", ["avx512_f"], False),
        ("Neoverse V1", ["bf16"], True),
    ],
)
def test_an_instruction_that_is_no_faster_than_float32_is_not_chosen(processor, flags, expected, monkeypatch):
    features = {"cpu_name": processor, "avx512_bf16": False, "amx_bf16": False} | dict.fromkeys(flags, True)
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: features)
    assert is_bfloat16_faster("cpu") == expected
