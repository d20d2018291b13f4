"""Threads of engines: as many as torch has, and without torch as it would choose."""

import os
import sys
from pathlib import Path

import pytest
import torch

from allmlp.hardware.num_compute_threads import num_compute_threads


def test_torch_decides_where_it_is_loaded() -> None:
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(3)
        assert num_compute_threads() == 3
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize(("setting", "expected"), [("3", 3), ("5,2", 5), ("0", None), ("many", None), ("", None)])
def test_the_environment_decides_without_torch(
    setting: str, expected: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(sys.modules, "torch")
    monkeypatch.setenv("OMP_NUM_THREADS", setting)
    found = num_compute_threads()
    assert found == (expected or found) >= 1


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="needs Linux")
def test_two_threads_of_one_core_count_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "torch")
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {0, 1, 2, 3, 6})
    assert num_compute_threads(tmp_path) == 5  # without the kernel's lists
    for processor, siblings in enumerate(("0,4", "1,5", "2,6", "3,7", "0,4", "1,5", "2,6", "3,7")):
        folder = tmp_path / f"sys/devices/system/cpu/cpu{processor}/topology"
        folder.mkdir(parents=True)
        (folder / "thread_siblings_list").write_text(f"{siblings}\n")
    assert num_compute_threads(tmp_path) == 4
