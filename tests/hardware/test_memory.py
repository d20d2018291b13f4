"""Free memory: the machine's, or what control groups leave; their files are written as the kernel shows them."""

import pytest

from allmlp.hardware.memory import free_memory, total_memory

MIB = 1 << 20


def write(root, files):
    for path, text in files.items():
        file = root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"{text}\n")
    return root


def group(folder, *, limit, used, cached=0):
    return {
        f"sys/fs/cgroup/{folder}memory.max": limit,
        f"sys/fs/cgroup/{folder}memory.current": used,
        f"sys/fs/cgroup/{folder}memory.stat": f"anon {used - cached}\ninactive_file {cached}",
    }


def test_without_groups_it_is_the_machines(tmp_path):
    assert free_memory(tmp_path) > 100 * MIB


def test_a_container_is_bound_by_the_group_at_the_top_wherever_it_lies_on_its_host(tmp_path):
    files = group("", limit=100 * MIB, used=70 * MIB, cached=20 * MIB)  # cached files give way
    for path in ("0::/", "0::/system.slice/docker-1.scope", "0::/../../other"):
        assert free_memory(write(tmp_path, {**files, "proc/self/cgroup": path})) == 50 * MIB


@pytest.mark.parametrize(("outer", "inner", "left"), [(100, 40, 30), (25, "max", 15), ("max", 50, 40)])
def test_the_smallest_of_nested_groups_counts(outer, inner, left, tmp_path):
    limits = {"job/": outer, "job/step/": inner}
    files = {"proc/self/cgroup": "0::/job/step"}
    for folder, limit in limits.items():
        files |= group(folder, limit=limit if limit == "max" else limit * MIB, used=10 * MIB)
    assert free_memory(write(tmp_path, files)) == left * MIB


def test_groups_of_version_1_count_too(tmp_path):
    files = {
        "proc/self/cgroup": "5:cpu,cpuacct:/a\n4:memory:/a",
        "sys/fs/cgroup/memory/memory.limit_in_bytes": 9223372036854771712,  # none
        "sys/fs/cgroup/memory/memory.usage_in_bytes": 500 * MIB,
        "sys/fs/cgroup/memory/a/memory.limit_in_bytes": 100 * MIB,
        "sys/fs/cgroup/memory/a/memory.usage_in_bytes": 60 * MIB,
        "sys/fs/cgroup/memory/a/memory.stat": f"inactive_file 1\ntotal_inactive_file {10 * MIB}",
    }
    assert free_memory(write(tmp_path, files)) == 50 * MIB


def test_a_group_that_is_full_leaves_nothing(tmp_path):
    files = group("", limit=100 * MIB, used=101 * MIB)
    assert free_memory(write(tmp_path, {**files, "proc/self/cgroup": "0::/"})) == 0


def test_all_memory_is_the_smallest_limit_whatever_is_used(tmp_path):
    machine = total_memory(tmp_path)
    assert machine is not None and machine >= free_memory(tmp_path)
    files = group("job/", limit=100 * MIB, used=90 * MIB) | group("job/step/", limit="max", used=10 * MIB)
    assert total_memory(write(tmp_path, {**files, "proc/self/cgroup": "0::/job/step"})) == 100 * MIB
    assert total_memory(write(tmp_path, group("job/", limit=machine * 2, used=0))) == machine
