"""Threads of engines: the user's number, and otherwise the cores, of which neither a quota nor torch allows more."""

import os
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from allmlp.hardware.num_compute_threads import THREADS_OF_QUOTA, num_compute_threads
from allmlp.hardware.num_decoding_threads import usable_cores
from allmlp.inference import EngineSettings
from allmlp.inference.backends.cpu_source import resolved_settings
from allmlp.inference.tuned import machine


@pytest.fixture(autouse=True)
def no_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OMP_NUM_THREADS", THREADS_OF_QUOTA):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize(("setting", "threads", "expected"), [(None, 1, 1), ("2", 3, 3), ("8", 1, 1)])
def test_torch_decides_where_it_is_loaded(
    setting: str | None, threads: int, expected: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the user's variable, up to any number: a program may change what torch read from it."""
    if setting:
        monkeypatch.setenv("OMP_NUM_THREADS", setting)
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(threads)
        assert num_compute_threads() == expected
    finally:
        torch.set_num_threads(before)


@pytest.mark.skipif(usable_cores(physical=True) < 2, reason="a quota cannot be seen on a single core")
@pytest.mark.parametrize(
    ("setting", "is_ours", "expected"), [(None, False, 1), ("64", False, 64), ("64", True, 1), ("1", True, 1)]
)
@pytest.mark.parametrize("has_torch", [True, False])
def test_a_quota_limits_the_threads_and_the_key_of_tuning_unless_the_user_set_a_number(
    setting: str | None,
    is_ours: bool,
    expected: int,
    has_torch: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Fault: torch's 64 threads ran on the two processors of a container, and were remembered as two threads."""
    (tmp_path / "proc/self").mkdir(parents=True)
    (tmp_path / "proc/self/cgroup").write_text("0::/\n")
    (tmp_path / "sys/fs/cgroup").mkdir(parents=True)
    (tmp_path / "sys/fs/cgroup/cpu.max").write_text("100000 100000\n")
    if setting:
        monkeypatch.setenv("OMP_NUM_THREADS", setting)
        if is_ours:
            monkeypatch.setenv(THREADS_OF_QUOTA, setting)
    if has_torch:
        monkeypatch.setitem(sys.modules, "torch", SimpleNamespace(get_num_threads=lambda: 64))
    else:
        monkeypatch.delitem(sys.modules, "torch")
    assert num_compute_threads(tmp_path) == machine(tmp_path)["num_threads"] == expected


def test_an_engine_runs_with_the_threads_that_its_settings_are_remembered_by(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("allmlp.hardware.num_compute_threads.usable_cores", lambda *_, **__: 2)
    monkeypatch.setitem(sys.modules, "torch", SimpleNamespace(get_num_threads=lambda: 64))
    info = SimpleNamespace(quantisation=None, precision="float32")
    settings = resolved_settings(EngineSettings(num_streams=64), "openvino", info)  # type: ignore[arg-type]
    assert (settings.num_threads, settings.num_streams) == (2, 2)
    assert machine()["num_threads"] == 2


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
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {0, 1, 2, 3, 6})
    assert num_compute_threads(tmp_path) == 5  # without the kernel's lists
    for processor, siblings in enumerate(("0,4", "1,5", "2,6", "3,7", "0,4", "1,5", "2,6", "3,7")):
        folder = tmp_path / f"sys/devices/system/cpu/cpu{processor}/topology"
        folder.mkdir(parents=True)
        (folder / "thread_siblings_list").write_text(f"{siblings}\n")
    assert num_compute_threads(tmp_path) == 4
