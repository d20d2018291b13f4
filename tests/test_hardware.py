"""Devices and precisions, against what the operating system and torch say."""

import sys
from pathlib import Path

import pytest
import torch

from allmlp.errors import ConfigError
from allmlp.hardware import choose_device, describe_device, has_bfloat16


def test_auto_takes_a_device_that_torch_has():
    device = choose_device("auto")
    assert torch.ones(2, device=device).sum() == 2.0
    assert describe_device("cpu").startswith("cpu (")


@pytest.mark.skipif(torch.cuda.is_available(), reason="the message is for machines without a GPU")
def test_a_device_that_is_not_there_is_refused_with_what_is():
    with pytest.raises(ConfigError, match=r"device cuda is not available: torch .* finds .*cpu.*--device auto"):
        choose_device("cuda")


def test_an_unknown_device_names_the_nearest():
    with pytest.raises(ConfigError, match=r"no device 'gpu'.*auto, cpu, cuda, mps"):
        choose_device("gpu")
    with pytest.raises(ConfigError, match=r"Did you mean 'cuda'"):
        choose_device("cudaa")


@pytest.mark.skipif(not Path("/proc/cpuinfo").exists() or sys.platform != "linux", reason="needs Linux")
def test_bfloat16_is_found_as_the_kernel_lists_it():
    flags = set(Path("/proc/cpuinfo").read_text().split())
    assert has_bfloat16("cpu") == bool(flags & {"avx512_bf16", "amx_bf16", "bf16"})
