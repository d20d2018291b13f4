"""`allmlp inspect --plot`: pictures of the weights, a table of their medians, and errors."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image
from tests.builders import GOLDEN, tiny_checkpoint

from allmlp import analyse_weights, export, save_checkpoint


def run(*arguments: object, cwd: Path) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "allmlp", "inspect", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=cwd, timeout=120)


def test_the_command_draws_the_starter_and_prints_a_table(tmp_path):
    done = run("starter", "--plot", "weights.png", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "Wrote weights.png\nWrote weights.json\n" in done.stderr
    with Image.open(tmp_path / "weights.png") as image:
        assert image.format == "PNG" and image.width > 1000
    blocks = json.loads((tmp_path / "weights.json").read_bytes())["blocks"]
    assert len(blocks) == 8
    for block in (blocks[0], blocks[7]):
        frequencies = [f"{block[which]['median_frequency']:.3f}" for which in ("trained", "untrained")]
        assert re.search(
            rf"^  units of block {block['block']} +{' +'.join(frequencies)} +-0\.\d\d +-0\.\d\d ", done.stdout, re.M
        )
    assert "units of block 4" not in done.stdout
    assert re.search(r"^  patch filters +0\.\d{3} +0\.\d{3}$", done.stdout, re.M)


def test_a_folder_and_json(allmlp, tmp_path):
    saved = save_checkpoint(tiny_checkpoint(num_blocks=4, tokens_mlp_dim=6), tmp_path / "saved")
    outcome = allmlp("inspect", saved, "--plot", tmp_path / "out", "--json")
    assert outcome.code == 0
    weights = json.loads(outcome.out)["weights"]
    summary = json.loads(json.dumps(analyse_weights(saved).summary()))
    assert {name: weights[name] for name in summary} == summary
    assert weights["drawn_blocks"] == [1, 2, 3, 4]
    assert [Path(file).name for file in weights["files"]][-2:] == ["filters.png", "weights.json"]
    assert all(Path(file).is_file() for file in weights["files"])
    assert "weights" not in json.loads(allmlp("inspect", saved, "--json").out)


def test_another_image_size_is_drawn_at_that_size(allmlp, tmp_path):
    outcome = allmlp("inspect", GOLDEN / "tiny_linen.npz", "--image-size", "16x64", "--plot", tmp_path / "w.png")
    assert outcome.code == 0
    assert json.loads((tmp_path / "w.json").read_bytes())["model"]["image_size"] == [16, 64]


@pytest.mark.parametrize(
    ("source", "plot", "code", "words"),
    [
        ("starter", "w.jpg", 2, "w.jpg: expected a name that ends in .png, or a new folder's name without an ending"),
        ("starter", "full", 2, "full: it exists, and nothing is overwritten"),
        ("starter", "there.png", 2, "there.png: it exists, and nothing is overwritten"),
        ("starter", "", 2, "is empty"),
        ("there.png", "w.png", 4, "there.png"),
        ("nothing", "w.png", 4, "nothing"),
        ("B/16", "w.png", 2, "variant B/16 has none. Name a checkpoint, such as starter"),
        ("mixer.onnx", "w.png", 2, "mixer.onnx is an export. Name the checkpoint that it was written from"),
        ("one", "w.png", 2, "an image of 8 × 8 pixels is a single patch"),
    ],
)
def test_errors_are_one_line_and_leave_nothing(source, plot, code, words, allmlp, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("full").mkdir()
    for name in ("there.png", "full/mine.txt", "mixer.onnx"):
        Path(name).write_text("mine")
    save_checkpoint(tiny_checkpoint(image_size=8), "one")
    before = sorted(tmp_path.rglob("*"))
    outcome = allmlp("inspect", source, "--plot", plot)
    assert outcome.code == code
    assert outcome.err.startswith("allmlp: ") and words in outcome.err
    assert outcome.err.count("\n") == 1 and outcome.out == ""
    assert sorted(tmp_path.rglob("*")) == before


def test_an_export_is_refused_whatever_its_name(allmlp, tmp_path):
    path = export(tiny_checkpoint(), out=tmp_path / "x.onnx").rename(tmp_path / "mixer")
    outcome = allmlp("inspect", path, "--plot", tmp_path / "w.png")
    assert outcome.code == 2 and "is an export" in outcome.err


def test_the_option_is_described(allmlp):
    assert "--plot OUT.png|OUT_DIR" in allmlp("inspect", "--help").out
