"""What a run notes stays in its folder: `allmlp report` writes the page of training, and `allmlp compare` shows the same."""

import dataclasses
import json
import shutil
import time
from pathlib import Path

import pytest
from tests.forks import run_allmlp
from tests.report.test_report import Page
from tests.training.small_runs import TINY, write_photos

from allmlp import compare_runs, report_run, train
from allmlp.config import override
from allmlp.report import write_comparison
from allmlp.training import NoProgress
from allmlp.training.run_folder import lock_run

KINDS = {  # what each page says of its run
    "held out": "3 of 42 train photos held out for validation (seed 0)",
    "cross-validated": "are held out once, in 3 folds (seed 0)",
    "cut short": "cut short: ",
    "from a run": "validation photos (matched by name), so their score will be too high",
}


class Slow(NoProgress):
    def step(self, step: int, **_: float) -> None:
        time.sleep(0.05)


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_photos(tmp_path_factory.mktemp("photos") / "photos", splits=("train",))


@pytest.fixture(scope="module")
def runs(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("runs")
    train(TINY, photos / "train", folder / "held out")
    train(override(TINY, ["data.folds=3"]), photos / "train", folder / "cross-validated")
    long = dataclasses.replace(TINY, num_epochs=1000, max_minutes=0.1)
    train(long, photos / "train", folder / "cut short", progress=Slow())
    options = ("--epochs", "1", "--seed", "7", "--out", folder / "from a run")
    done = run_allmlp("finetune", photos / "train", "--from", folder / "held out", *options)
    assert done.returncode == 0, done.stderr
    return {kind: folder / kind for kind in KINDS}


@pytest.mark.parametrize("kind", KINDS)
def test_report_writes_the_page_of_training_with_all_notes(kind: str, runs: dict[str, Path], tmp_path: Path) -> None:
    again, written = Page(report_run(runs[kind], tmp_path / "again.html")), Page(runs[kind] / "report.html")
    assert again.text == written.text
    assert KINDS[kind] in written.text


def test_a_resumed_run_keeps_the_notes_of_its_start(runs: dict[str, Path], photos: Path, tmp_path: Path) -> None:
    run = shutil.copytree(runs["from a run"], tmp_path / "run")
    (run / "metrics.json").unlink()
    done = run_allmlp("train", "--resume", run)
    assert done.returncode == 0, done.stderr
    assert KINDS["from a run"] in Page(run / "report.html").text


def test_a_run_of_an_older_version_is_reported_without_its_notes(runs: dict[str, Path], tmp_path: Path) -> None:
    run = shutil.copytree(runs["cross-validated"], tmp_path / "run")
    (run / "notes.json").unlink()
    assert "Cross-validation in 3 folds" in Page(report_run(run)).text


def test_compare_shows_the_epochs_of_a_run_that_was_cut_short_and_all_notes(runs: dict[str, Path]) -> None:
    comparison = compare_runs([runs["cut short"], runs["from a run"]])
    metrics = json.loads((runs["cut short"] / "metrics.json").read_text())
    state, whole = comparison.figures()["state"]
    assert state == f"{metrics['num_epochs']:.3g} of 1000 epochs, cut short"
    assert whole == "finished"
    assert f"cut short: {metrics['cut_short']}" in comparison.run_notes
    assert any(note.startswith("from a run: ") and KINDS["from a run"] in note for note in comparison.run_notes)


def test_a_cross_validated_run_is_tested_against_one_that_held_photos_out(runs: dict[str, Path]) -> None:
    comparison = compare_runs([runs["cross-validated"], runs["held out"]])
    (test,) = comparison.tests
    num_validation = len(json.loads((runs["held out"] / "split.json").read_text())["validation"])
    assert (test.split, test.num_photos) == ("held-out", num_validation)
    assert comparison.notes == (
        f"cross-validated and held out were scored on different photos: 42 and {num_validation} held-out photos, of which "
        f"{num_validation} are the same. Their test is on those.",
    )


def test_the_page_of_cross_validated_runs_has_no_empty_plots(runs: dict[str, Path], tmp_path: Path) -> None:
    copy = shutil.copytree(runs["cross-validated"], tmp_path / "copy")
    page = Page(write_comparison(compare_runs([runs["cross-validated"], copy]), tmp_path / "page.html"))
    (curve,) = page.attributes("img")
    assert "Training loss" in (curve["alt"] or "")
    both = Page(write_comparison(compare_runs([copy, runs["held out"]]), tmp_path / "both.html"))
    curves = [curve["alt"] or "" for curve in both.attributes("img")]
    assert [curve.endswith(": held out") for curve in curves] == [True, True, False]


def test_compare_prints_json_also_with_a_page(runs: dict[str, Path], tmp_path: Path) -> None:
    done = run_allmlp("compare", runs["cut short"], runs["held out"], "--json", "--out", tmp_path / "page.html")
    assert done.returncode == 0, done.stderr
    assert f"wrote   {tmp_path / 'page.html'}" in done.stderr
    found = json.loads(done.stdout)
    comparison = compare_runs([runs["cut short"], runs["held out"]])
    assert found == json.loads(json.dumps(comparison.to_dict()))
    assert [run["is_cut_short"] for run in found["runs"]] == [True, False]
    scores = found["runs"][1]["scores"]["validation"]
    assert scores["interval"][0] < scores["top1"] == scores["num_correct"] / scores["num_photos"]


def test_a_run_in_training_is_not_offered_to_be_resumed(runs: dict[str, Path], tmp_path: Path) -> None:
    run = shutil.copytree(runs["held out"], tmp_path / "run")
    (run / "metrics.json").unlink()
    with lock_run(run, is_new=False):
        done = run_allmlp("report", run)
        assert done.returncode == 0, done.stderr
        assert "This run is still in training." in done.stdout and "--resume" not in done.stdout
        assert compare_runs([run, runs["cut short"]]).figures()["state"][0] == "3 of 3 epochs, in training"
    done = run_allmlp("report", run)
    assert "train --resume" in done.stdout and "still in training" not in done.stdout
