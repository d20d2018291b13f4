"""Decoding threads: what affinity and control groups leave; their files are written as the kernel shows them."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from allmlp.hardware.num_decoding_threads import num_decoding_threads


def write(root: Path, files: dict[str, str]) -> Path:
    for path, text in files.items():
        file = root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"{text}\n")
    return root


def test_without_groups_it_is_the_cores_of_the_affinity_mask(tmp_path: Path) -> None:
    assert num_decoding_threads(tmp_path) == min(16, len(os.sched_getaffinity(0)))


def test_a_process_bound_to_one_core_decodes_in_one_thread() -> None:
    core = min(os.sched_getaffinity(0))
    code = f"import os; os.sched_setaffinity(0, {{{core}}})\n"
    code += "from allmlp.hardware.num_decoding_threads import num_decoding_threads; print(num_decoding_threads())"
    outcome = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert outcome.stdout == "1\n"


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="a quota cannot be seen on a single core")
@pytest.mark.parametrize(("quota", "threads"), [("100000 100000", 1), ("50000 100000", 1), ("150000 100000", 2)])
def test_a_quota_of_processor_time_is_rounded_up(quota: str, threads: int, tmp_path: Path) -> None:
    """As `docker run --cpus 1.5` writes it."""
    write(tmp_path, {"proc/self/cgroup": "0::/", "sys/fs/cgroup/cpu.max": quota})
    assert num_decoding_threads(tmp_path) == threads


def test_the_smallest_quota_of_nested_groups_counts_and_max_is_none(tmp_path: Path) -> None:
    files = {"proc/self/cgroup": "0::/job/step", "sys/fs/cgroup/job/step/cpu.max": "max 100000"}
    assert num_decoding_threads(write(tmp_path, files)) == num_decoding_threads(tmp_path / "none")
    write(tmp_path, {"sys/fs/cgroup/job/cpu.max": "100000 100000"})
    assert num_decoding_threads(tmp_path) == 1


def test_groups_of_version_1_count_too(tmp_path: Path) -> None:
    files = {
        "proc/self/cgroup": "5:cpu,cpuacct:/a\n4:memory:/a",
        "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1",
        "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000",
    }
    assert num_decoding_threads(write(tmp_path, files)) == num_decoding_threads(tmp_path / "none")
    write(
        tmp_path, {"sys/fs/cgroup/cpu/a/cpu.cfs_quota_us": "90000", "sys/fs/cgroup/cpu/a/cpu.cfs_period_us": "100000"}
    )
    assert num_decoding_threads(tmp_path) == 1
