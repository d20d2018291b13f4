"""`allmlp export --to web`: a page is written, described, and its model verified."""

import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.cli.commands.test_export import loading_torch
from tests.exports.web_page.packages import pack, write_package
from tests.forks import run_python


@pytest.fixture
def photos(tmp_path: Path, write_photo: Callable[..., Path]) -> Path:
    for index, name in enumerate(("cat", "owl", "yak") * 2):
        write_photo(tmp_path / "photos" / name / f"{index}.png", seed=index)
    return tmp_path / "photos"


@pytest.fixture
def package(tmp_path: Path) -> Path:
    return pack(write_package(tmp_path / "npm"), tmp_path / "onnxruntime-web.tgz")


def test_a_page_is_written_and_its_model_verified_in_onnx_runtime(
    allmlp, saved_checkpoint, photos, package, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    outcome = allmlp("export", saved_checkpoint, "--to", "web", "--runtime", package, "--verify", photos)
    assert outcome.code == 0, outcome.err
    assert outcome.out.startswith("Wrote saved-web (")
    assert "16 × 16 pixels from photos of any size, pixels in" in outcome.out
    assert "6 of 6 photos (100.00%)" in outcome.out and "values of the images that differ" in outcome.out
    assert "python -m http.server -b 127.0.0.1 -d saved-web" in outcome.out
    assert "allmlp was tested with" in outcome.err and len(outcome.err.splitlines()) == 1
    again = allmlp("export", saved_checkpoint, "--to", "web", "--runtime", package)
    assert again.code == 2 and "this folder is not empty" in again.err


def test_the_printed_verification_runs_and_finds_a_change(allmlp, saved_checkpoint, photos, package, tmp_path):
    page = tmp_path / "page"
    options = ("--mean", "0.4", "--to", "web", "--runtime", package, "--out", page)
    outcome = allmlp("export", saved_checkpoint, *options)
    (line,) = (line for line in outcome.out.splitlines() if "--verify PHOTOS" in line)
    words = line.partition("#")[0].split()[1:-1]
    assert words[words.index("--against") + 1] == str(page / "model.onnx")
    assert allmlp(*words, photos).code == 0
    content = bytearray((page / "model.onnx").read_bytes())
    content[-4000] ^= 1
    (page / "model.onnx").write_bytes(content)
    assert allmlp(*words, photos).code in (4, 6)


def test_a_page_in_int8_is_judged_and_verified_like_a_file(allmlp, saved_checkpoint, photos, package, tmp_path):
    int8 = ("--precision", "int8", "--calibrate", photos, "--agreement", "0", "--runtime", package, "--to", "web")
    outcome = allmlp("export", saved_checkpoint, *int8, "--out", tmp_path / "page", "--verify", photos)
    assert outcome.code == 0, outcome.err
    assert "all layers" in outcome.out and "int8, 6 classes" in outcome.out
    alone = ("--precision", "int8", "--calibrate", photos, "--agreement", "0", "--pixels", "in")
    assert allmlp("export", saved_checkpoint, *alone, "--out", tmp_path / "x.onnx").code == 0
    assert (tmp_path / "page" / "model.onnx").read_bytes() == (tmp_path / "x.onnx").read_bytes()
    described = json.loads((tmp_path / "page" / "description.json").read_text())
    assert (described["precision"], described["quantisation"]["attempt"]) == ("int8", "all layers")


def test_json_holds_the_folder_and_its_size(allmlp, saved_checkpoint, package, tmp_path):
    page = tmp_path / "page"
    words = ("export", saved_checkpoint, "--to", "web", "--runtime", package, "--out", page, "--json")
    values = json.loads(allmlp(*words).out)
    assert (values["export"], values["to"]) == (str(page), "web")
    assert values["bytes"] == sum(file.stat().st_size for file in page.iterdir())


def test_it_needs_no_torch(saved_checkpoint, package, tmp_path):
    words = ("export", saved_checkpoint, "--to", "web", "--runtime", package, "--out", tmp_path / "page")
    assert not loading_torch(words)


@pytest.mark.skipif(sys.platform == "win32", reason="limits of the size of files are POSIX's")
def test_without_space_nothing_is_left(saved_checkpoint, package, tmp_path):
    page = tmp_path / "here" / "page"
    page.parent.mkdir()
    code = (
        "import resource, signal, sys\nfrom allmlp.cli.main import main\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\nresource.setrlimit(resource.RLIMIT_FSIZE, (8192, 8192))\n"
        "main(sys.argv[1:])\n"
    )
    run = run_python(code, "export", saved_checkpoint, "--to", "web", "--runtime", package, "-o", page)
    assert run.returncode == 2, run.stderr
    assert "could not be written (File too large)" in run.stderr
    assert not list(page.parent.iterdir())


@pytest.mark.parametrize(
    ("options", "code", "words"),
    [
        (("--to", "web"), 5, "npm pack onnxruntime-web@"),
        (("--to", "web", "--runtime", "nowhere.tgz"), 2, "nowhere.tgz: there is no such file or folder"),
        (("--to", "onnx", "--runtime", "x.tgz"), 2, "--runtime would have no effect"),
        (("--to", "web", "--requirements", "r.txt"), 2, "a page runs in a browser"),
        (("--to", "web", "--pixels", "exact"), 2, "which web files cannot have"),
        (("--to", "web", "--precision", "int8", "--calibrate", "x"), 5, "npm pack onnxruntime-web@"),
        (("--to", "web", "--precision", "int8", "--calibrate", "x", "--no-portable"), 2, "a page is for any"),
        (("--against", "x.onnx", "--verify", "p", "--runtime", "x.tgz"), 2, "--runtime with --against"),
    ],
)
def test_what_cannot_be_done_is_one_line(
    options, code, words, allmlp, saved_checkpoint, package, tmp_path, monkeypatch
):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    if options == ("--to", "web", "--pixels", "exact"):
        options = (*options, "--runtime", str(package))
    outcome = allmlp("export", saved_checkpoint, *options)
    assert outcome.code == code and words in outcome.err
    assert len(outcome.err.splitlines()) == 1
    assert not list(Path().iterdir())
