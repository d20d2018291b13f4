"""Reports and comparisons as real processes: finished, stopped, killed, without photos, and on any photos."""

import csv
import os
import shlex
import shutil
import signal
from pathlib import Path

import pytest
from scipy.stats import binomtest
from tests.forks import run_allmlp, run_python
from tests.report.test_report import Page
from tests.training.small_runs import write_photos

from allmlp import evaluate, report_run
from allmlp.data import open_dataset, photo_digest

RECIPE = "tests.training.small_runs:tiny"


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_photos(tmp_path_factory.mktemp("data") / "my photos", splits=("train", "val", "test"))


@pytest.fixture(scope="module")
def run(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "finished"
    done = run_allmlp("train", photos, "--recipe", RECIPE, "--out", folder)
    assert done.returncode == 0, done.stderr
    assert "classes training photos: blue 14, green 14, red 14" in done.stdout
    assert "warning fewer than 20 training photos in 3 of 3 classes: too few to learn a class well" in done.stdout
    assert "top-5" not in done.stdout and "calibration error" not in done.stdout  # 3 classes, 42 photos
    return folder


def ended(photos: Path, run: Path, number: int, *, epoch: int = 1) -> int:
    """Train until a signal at the end of an epoch; return the exit code."""
    program = f"""
import os, sys
from allmlp.training import ConsoleProgress
from allmlp.cli.main import main
epoch = ConsoleProgress.epoch
def epoch_and_end(self, row):
    epoch(self, row)
    if row["epoch"] == {epoch}:
        os.kill(os.getpid(), {number})
ConsoleProgress.epoch = epoch_and_end
main(["train", sys.argv[1], "--recipe", "{RECIPE}", "--set", "saving.every_steps=1", "--out", sys.argv[2]])
"""
    return int(run_python(program, photos, run).returncode)


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_a_run_saves_its_predictions(run: Path, photos: Path) -> None:
    rows = rows_of(run / "predictions.csv")
    dataset = open_dataset(photos)
    for split in ("validation", "test"):
        found = [row for row in rows if row["split"] == split]
        part = dataset.splits[split]
        assert [row["sample_id"] for row in found] == list(part.sample_ids)
        assert [row["sha256"] for row in found] == [photo_digest(part.read(index)) for index in range(len(part))]
        assert [row["label"] for row in found] == [dataset.class_names[label] for label in part.labels]
    assert len(rows) == 84


def test_report_writes_what_training_wrote(run: Path, tmp_path: Path) -> None:
    done = run_allmlp("report", run, "--out", tmp_path / "again.html")
    assert done.returncode == 0, done.stderr
    assert f"wrote   {tmp_path / 'again.html'}" in done.stdout
    again, written = Page(tmp_path / "again.html"), Page(run / "report.html")
    assert again.text == written.text
    # Not the curves: results.csv holds six digits of what training drew.
    assert again.attributes("img")[3:] == written.attributes("img")[3:]


def test_a_report_says_what_a_newcomer_asks(run: Path, photos: Path) -> None:
    text = Page(run / "report.html").text
    assert str(photos) in text
    assert f"allmlp evaluate {run} '{photos}' --report evaluation.html" in text  # absolute and quoted
    assert "The page that evaluate writes also shows what each class is recognised by" in text
    assert "Training top-1" in text and "Least sure" in text and "Surest hits" in text
    assert "3 classes with 14 training photos each." in text
    assert "How to get better" in text


def test_ctrl_c_leaves_a_report(photos: Path, tmp_path: Path) -> None:
    assert ended(photos, tmp_path / "run", signal.SIGINT) == 130
    text = Page(tmp_path / "run" / "report.html").text
    assert "This run was stopped after epoch 1 of 3." in text
    assert f"allmlp train --resume {tmp_path / 'run'}" in text
    assert "validation top-1" in text
    first_command = text.partition("command")[2]
    assert run_allmlp("train", "--resume", tmp_path / "run").returncode == 0
    resumed = Page(tmp_path / "run" / "report.html").text
    assert "This run was stopped" not in resumed
    assert resumed.partition("command")[2][:20] == first_command[:20]
    assert "resumed with" in resumed


def test_a_killed_run_can_be_reported(photos: Path, tmp_path: Path) -> None:
    killed = tmp_path / "run"
    assert ended(photos, killed, signal.SIGKILL, epoch=2) == -signal.SIGKILL
    assert not (killed / "report.html").exists()
    before = {path: path.read_bytes() for path in killed.rglob("*") if path.is_file() and path.name != ".lock"}
    done = run_allmlp("report", killed, "--out", tmp_path / "page.html")
    assert done.returncode == 0, done.stderr
    text = Page(tmp_path / "page.html").text
    assert "This run was stopped after epoch 2 of 3." in text
    assert "The test photos are scored when the run is finished" in text
    assert "train --resume" in done.stdout
    assert before == {path: path.read_bytes() for path in killed.rglob("*") if path.is_file() and path.name != ".lock"}


def test_a_report_without_the_photos_says_so(photos: Path, tmp_path: Path) -> None:
    moved, run = tmp_path / "photos", tmp_path / "run"
    shutil.copytree(photos, moved)
    assert run_allmlp("train", moved, "--recipe", RECIPE, "--out", run).returncode == 0
    (moved / "test" / "red" / "a new one.png").write_bytes(b"")
    lines: list[str] = []
    report_run(run, tmp_path / "page.html", report=lines.append)
    assert lines[0].endswith("differs: test: 1 new: red/a new one.png")  # what differs, too
    shutil.rmtree(moved)
    done = run_allmlp("report", run)
    assert done.returncode == 0, done.stderr
    assert "The photos of this run cannot be read" in done.stderr
    text = Page(run / "report.html").text
    assert "The photos of this run cannot be read" in text
    assert "test top-1" in text  # from predictions.csv


@pytest.mark.parametrize("name", ["missing", "empty"])
def test_a_folder_without_a_run_is_named(name: str, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    done = run_allmlp("report", tmp_path / name)
    assert done.returncode == 2
    assert str(tmp_path / name) in done.stderr and "A run folder is what" in done.stderr


def test_damaged_predictions_are_named(run: Path, tmp_path: Path) -> None:
    copy = tmp_path / "run"
    shutil.copytree(run, copy)
    text = (copy / "predictions.csv").read_text().splitlines(keepends=True)
    (copy / "predictions.csv").write_text("".join(text[:-1]))
    done = run_allmlp("report", copy)
    assert done.returncode == 2
    assert "predictions.csv: does not fit metrics.json" in done.stderr


def test_evaluate_writes_a_page_and_a_table(run: Path, photos: Path, tmp_path: Path) -> None:
    page, table = tmp_path / "page.html", tmp_path / "table.csv"
    done = run_allmlp("evaluate", run, photos, "--report", page, "--per-photo", table)
    assert done.returncode == 0, done.stderr
    assert f"wrote   {page}" in done.stdout and f"wrote   {table}" in done.stdout
    text = Page(page).text
    assert "allmlp · report of an evaluation" in text and "Confusion matrix" in text and "Least sure" in text
    assert "What classes are recognised by" in text and "The page that evaluate writes" not in text
    assert "Training top-1" not in text
    saved = [row for row in rows_of(run / "predictions.csv") if row["split"] == "test"]
    assert rows_of(table) == saved  # the same answers as at the end of training
    again = run_allmlp("evaluate", run, photos, "--report", page)
    assert again.returncode == 2 and "nothing is overwritten" in again.stderr

    own = run_allmlp("evaluate", run, photos / "test", "--report", tmp_path / "own.html")  # a folder of classes
    assert own.returncode == 0, own.stderr
    text = Page(tmp_path / "own.html").text
    assert "labelled top-1" in text and "Scored on the 42 labelled photos" in text
    assert "train" not in text.partition("Confusion matrix")[0] and "Training photos" not in text


def test_evaluate_refuses_other_tables_and_few_shot_pages(run: Path, photos: Path, tmp_path: Path) -> None:
    done = run_allmlp("evaluate", run, photos, "--per-photo", tmp_path / "table.xlsx")
    assert done.returncode == 2 and "ends in .csv or .parquet" in done.stderr
    done = run_allmlp("evaluate", run, photos, "--shots", "1", "--report", tmp_path / "page.html")
    assert done.returncode == 2 and "--report cannot be combined with --shots" in done.stderr


def test_compare_tests_runs_on_the_same_photos(run: Path, photos: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    done = run_allmlp("train", photos, "--recipe", RECIPE, "--epochs", "1", "--seed", "7", "--out", other)
    assert done.returncode == 0, done.stderr
    done = run_allmlp("compare", run, other, "--out", tmp_path / "page.html")
    assert done.returncode == 0, done.stderr
    assert "num_epochs" in done.stdout and "seed" in done.stdout and "batch_size" not in done.stdout
    tables = [rows_of(each / "predictions.csv") for each in (run, other)]
    right = [
        {row["sha256"]: row["label"] == row["prediction"] for row in table if row["split"] == "test"}
        for table in tables
    ]
    only = [sum(right[i][key] and not right[1 - i][key] for key in right[0]) for i in (0, 1)]
    p = binomtest(only[0], sum(only)).pvalue if sum(only) else 1.0
    line = next(line for line in done.stdout.splitlines() if line.startswith("finished, other"))
    assert line.split()[2:7] == ["42", "test", str(only[0]), str(only[1]), f"{p:.2g}"]
    text = Page(tmp_path / "page.html").text
    assert "Settings that differ" in text and f"{p:.2g}" in text


def test_compare_says_when_the_photos_differ(run: Path, photos: Path, tmp_path: Path) -> None:
    fewer, other = tmp_path / "photos", tmp_path / "other"
    shutil.copytree(photos, fewer)
    for path in sorted((fewer / "test" / "red").iterdir())[:4]:
        path.unlink()
    assert run_allmlp("train", fewer, "--recipe", RECIPE, "--epochs", "1", "--out", other).returncode == 0
    done = run_allmlp("compare", run, other)
    assert done.returncode == 0, done.stderr
    assert "were scored on different photos: 42 and 38 test photos, of which 38 are the same" in done.stdout
    same = run_allmlp("compare", run, other, "--photos", photos)
    assert same.returncode == 0, same.stderr
    assert "were scored on different photos" not in same.stdout and "42 test" in same.stdout
    # The loss is that on the same photos, too, and not the one that each run has saved for its own.
    losses = [f"{evaluate(each, photos).loss:.3f}" for each in (run, other)]
    assert next(line for line in same.stdout.splitlines() if line.startswith("test loss")).split()[2:] == losses
    assert f"--photos {shlex.quote(str(photos))} --out comparison.html" in same.stdout
    # Photos without splits are not called photos of a train split, next to the accuracy on the training photos.
    flat = run_allmlp("compare", run, other, "--photos", fewer / "test")
    assert flat.returncode == 0, flat.stderr
    assert "labelled top-1 " in flat.stdout and "38 labelled" in flat.stdout and "train top-1" not in flat.stdout


def test_compare_refuses_one_run_and_the_same_run_twice(run: Path) -> None:
    for runs in ((run,), (run, run), (run, f"{run}{os.sep}.")):
        done = run_allmlp("compare", *runs)
        assert done.returncode == 2 and "two or more different runs" in done.stderr


def test_imbalance_names_the_remedy(photos: Path, tmp_path: Path) -> None:
    uneven = tmp_path / "photos"
    shutil.copytree(photos, uneven)
    for path in sorted((uneven / "train" / "red").iterdir())[:10]:
        path.unlink()
    done = run_allmlp("train", uneven, "--recipe", RECIPE, "--epochs", "1", "--out", tmp_path / "run")
    assert "3.5 times as many training photos as the smallest" in done.stdout
    assert "To balance them: --balance (docs/recipes.md)" in done.stdout
    assert "--balance" in Page(tmp_path / "run" / "report.html").text
    command = ("train", uneven, "--recipe", RECIPE, "--epochs", "1", "--balance")
    assert "times as many" not in run_allmlp(*command, "--out", tmp_path / "balanced").stdout
