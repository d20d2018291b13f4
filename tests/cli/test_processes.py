"""`torchrun ... allmlp evaluate`: real processes on this machine divide the photos and print once what one process prints."""

import json
import os
import shutil
import subprocess
import sys
from functools import partial

import pytest
import torch
from tests.forks import run_torchrun

NAMES = ("yak", "cat", "zebra")


@pytest.fixture
def photos(tmp_path, write_photo):
    """7 test photos and 6 train photos: neither 2 nor 3 processes divide 7."""
    for split, number in (("train", 2), ("test", 7)):
        for index in range(number if split == "test" else 3 * number):
            name = NAMES[index % 3]
            write_photo(tmp_path / "photos" / split / name / f"{split}{index}.png", seed=index)
    return tmp_path / "photos"


@pytest.fixture
def alone(allmlp, one_thread):
    """Run `allmlp evaluate` in this process, with the number of threads that each of several has."""
    return partial(allmlp, "evaluate")


@pytest.fixture
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def run(count, *arguments):
    """Run `allmlp evaluate` in so many processes, each with one thread."""
    return run_torchrun(count, "-m", "allmlp", "evaluate", *arguments)


def run_for_real(count, *arguments):
    """Run the same by the command that users type, without forks."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={count}"]
    command += ["-m", "allmlp", "evaluate", *map(str, arguments)]
    variables = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=300, env=variables)


@pytest.mark.parametrize(("count", "run"), [(2, run_for_real), (3, run)])
def test_any_number_of_processes_prints_once_what_one_process_prints(count, run, alone, photos, saved_checkpoint):
    single = alone(saved_checkpoint, photos, "--device", "cpu", "--json")
    together = run(count, saved_checkpoint, photos, "--device", "cpu", "--json")
    assert (single.code, together.returncode) == (0, 0), together.stderr
    assert together.stdout == single.out
    assert json.loads(together.stdout)["num_examples"] == 7


def test_few_shot_and_the_table_are_the_same_too(alone, photos, saved_checkpoint):
    for options in (("--shots", "1,2", "--json"), ("--min-top1", "0")):
        single = alone(saved_checkpoint, photos, "--device", "cpu", *options)
        together = run(2, saved_checkpoint, photos, "--device", "cpu", *options)
        assert (single.code, together.returncode) == (0, 0), together.stderr
        assert together.stdout.partition("Next:")[0] == single.out.partition("Next:")[0]


def test_a_bad_photo_in_one_share_ends_all_with_one_error(photos, saved_checkpoint):
    bad = photos / "test" / "zebra" / "test5.png"  # the last by name, so that it is in the last share
    bad.write_text("text")
    done = run(2, saved_checkpoint, photos, "--device", "cpu")
    assert done.returncode == 1  # torchrun's own
    assert done.stderr.count("allmlp: process 1 of 2: ") == 1
    assert str(bad) in done.stderr
    assert "Traceback" not in done.stderr.partition("ChildFailedError")[0].partition("allmlp: process")[0]


def test_what_all_processes_find_is_told_once(photos, saved_checkpoint):
    shutil.rmtree(photos)
    for arguments, words in (
        ((saved_checkpoint, photos), "photos: "),
        (("no-checkpoint", photos), "no such checkpoint"),
    ):
        done = run(2, *arguments, "--device", "cpu")
        assert done.returncode == 1
        assert done.stdout == ""
        assert sum(line.startswith("allmlp: ") and words in line for line in done.stderr.splitlines()) == 1, done.stderr
