"""Names and texts from untrusted files, and odd names of the user: no command lets them control the terminal or forge lines."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from allmlp import ModelDescription, load_checkpoint
from allmlp.cli.console import command_line

EVIL = "\x1b[2Jx\nFORGED all is well\r\x9b31m\u202egnp.exe\u2028FORGED\x07\x7f"
ODD = "mi\x1b[31mne\nFORGED\u202e"  # a name that file systems allow


@pytest.fixture
def checkpoint(saved_checkpoint: Path, tmp_path: Path) -> Path:
    """An untrusted checkpoint, in a folder with an odd name."""
    folder = Path(shutil.copytree(saved_checkpoint, tmp_path / f"{ODD} checkpoint"))
    values = json.loads((folder / "config.json").read_text())
    del values["sha256"]  # which an attacker would omit
    values["source"] = f"trained by {EVIL}"
    values["class_names"][0] = f"cat {EVIL}"
    (folder / "config.json").write_text(json.dumps(values))
    return folder


@pytest.fixture
def photos(tmp_path: Path, write_photo: Callable[..., Path]) -> Path:
    folder = tmp_path / f"{ODD} photos"
    for split in ("train", "val"):
        for number, name in enumerate(("owl", "=dog")):  # a class name that cannot be printed is refused
            for count in range(3):
                write_photo(folder / split / name / f"{ODD}{count}.png", number + count)
    return folder


def check(outcome: tuple[int, str, str], *, code: int = 0) -> None:
    assert outcome[0] == code, outcome
    for text in outcome[1:]:
        for line in text.split("\n"):
            assert line.isprintable(), repr(line)
            assert not line.lstrip().startswith("FORGED"), text


@pytest.mark.parametrize("options", [[], ["--json"], ["--image-size", "64"]])
def test_inspect(allmlp, checkpoint, options, tmp_path):
    check(allmlp("inspect", checkpoint, *options))
    check(allmlp("inspect", checkpoint, *options, "--plot", tmp_path / f"{ODD}.png"))


@pytest.mark.parametrize("options", [[], ["--format", "json"], ["--format", "jsonl"], ["--top-k", "1"]])
def test_predict(allmlp, checkpoint, photos, options):
    check(allmlp("predict", checkpoint, photos / "val" / "=dog", *options))
    check(allmlp("predict", checkpoint, photos / f"{ODD}.png", *options), code=3)


@pytest.mark.parametrize("options", [[], ["--json"], ["--shots", "1"]])
def test_evaluate(allmlp, checkpoint, photos, options):
    check(allmlp("evaluate", checkpoint, photos, "--split", "validation", *options))
    check(allmlp("evaluate", checkpoint, f"{photos}/{EVIL}"), code=3)


def test_embed_and_convert(allmlp, checkpoint, photos, tmp_path):
    check(allmlp("embed", checkpoint, photos, "--split", "validation", "-o", tmp_path / f"{ODD}.npz"))
    check(allmlp("convert", checkpoint, tmp_path / f"{ODD}.out.npz", "--to", "google"))
    check(allmlp("convert", checkpoint, tmp_path / f"{ODD} copy", "--to", "allmlp", "--gelu", "erf"))
    check(allmlp("convert", checkpoint, tmp_path / f"{ODD} timm", "--to", "timm"), code=2)  # timm has no such Mixer


def test_finetune_and_its_log_and_checkpoint(allmlp, checkpoint, photos, tmp_path):
    run = tmp_path / f"{ODD} run"
    settings = ["--recipe", "finetune", "--epochs", "1", "--batch-size", "2", "--device", "cpu"]
    check(allmlp("finetune", photos, "--from", checkpoint, "--out", run, *settings))
    check((0, (run / "log.txt").read_text(), ""))
    assert not set("\x1b\x9b\u202e\u2028\x07\x7f") & set((run / "report.html").read_text())
    check((0, load_checkpoint(run).source, ""))


@pytest.mark.parametrize(
    "arguments",
    [
        ["inspect", EVIL], ["predict", f"./{EVIL}", "x"], ["train", EVIL], ["train", "x", "--recipe", EVIL], ["data", EVIL],
        ["finetune", "clothing", "--from", EVIL, "--print-recipe"], ["recipes", EVIL], ["push", EVIL, "a/b"],
        ["push", "starter", EVIL], ["evaluate", "starter", EVIL], ["convert", EVIL, "x", "--to", "timm"],
        ["inspect", f"hf:{EVIL}"], ["inspect", f"hf:a/{EVIL}"], ["inspect", f"hf:a/b@{EVIL}"], ["predict", "starter", EVIL],
        ["train", "clothing", "--set", EVIL], ["inspect", "starter", "--image-size", EVIL],
    ],
)  # fmt: skip
def test_arguments_that_are_refused(allmlp, arguments, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ALLMLP_OFFLINE", "1")
    outcome = allmlp(*arguments)
    check(outcome, code=outcome.code)
    assert outcome.code in (2, 3, 4)


@pytest.mark.parametrize("text", [EVIL, "\udcff", "", "a" * 10_000, "trained by\tus"])
def test_a_source_is_one_printable_line(checkpoint, text):
    values = json.loads((checkpoint / "config.json").read_text())
    values["source"] = text
    description = ModelDescription.from_json_object(values, where="x")
    assert description.source.isprintable()
    assert len(description.source) <= 8000
    assert ModelDescription.from_json_object(description.to_json_object(), where="x") == description


@pytest.mark.parametrize("name", [ODD, "a'b\x1b", "\\\n", "\udcff", "a b", "é\u202e", "$(x)\n`y`"])
def test_a_printed_command_runs_with_odd_names(name):
    command = command_line(name)
    assert command.isprintable()
    program = "import os, sys; print(os.fsencode(sys.argv[1]).hex())"
    words = command.removeprefix(command_line()).strip()
    done = subprocess.run(["bash", "-c", f"{sys.executable} -c '{program}' {words}"], capture_output=True, check=True)
    assert bytes.fromhex(done.stdout.decode()) == name.encode("utf-8", "surrogateescape")
