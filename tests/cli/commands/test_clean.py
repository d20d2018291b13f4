"""`allmlp clean`: planted label errors are found, and photos move only on request, with a log that undoes it."""

import base64
import csv
import hashlib
import json
import re
import shutil
import subprocess
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tests.forks import run_allmlp
from tests.training.small_runs import TINY, write_photos

from allmlp import find_label_errors, train
from allmlp.config import override

PLANTED = (
    "train/blue/red-00.png",
    "train/green/blue-01.png",
    "train/red/green-02.png",
)  # all three are what their name says
LEARNT = override(TINY, ["num_epochs=12", "optimizer.learning_rate=0.02"])


@pytest.fixture(scope="module")
def photos(tmp_path_factory) -> Path:
    root = write_photos(tmp_path_factory.mktemp("clean") / "photos")
    for path in PLANTED:
        truth, number = Path(path).stem.split("-")
        (root / "train" / truth / f"{number}.png").rename(root / path)
    return root


@pytest.fixture(scope="module")
def cross_validated(photos, tmp_path_factory) -> Path:
    return train(override(LEARNT, ["data.folds=3"]), photos, tmp_path_factory.mktemp("runs") / "folds").directory


@pytest.fixture
def copy(photos, cross_validated, tmp_path) -> tuple[Path, Path]:
    """The run, and its photos, of one test."""
    run, own = tmp_path / "run", tmp_path / "photos"
    shutil.copytree(photos, own)
    shutil.copytree(cross_validated, run)
    set_source(run, own)
    return run, own


def set_source(run: Path, source: object) -> None:
    (run / "data.json").write_text(json.dumps({"source": str(source)}))


def process(*arguments: object) -> "subprocess.CompletedProcess[str]":
    return run_allmlp("clean", *arguments)


def tree(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def write_choices(path: Path, *rows: tuple[str, ...], header: str = "path,given,predicted,score,action") -> Path:
    path.write_text("\n".join([header, *(",".join(row) for row in rows)]) + "\n", encoding="utf-8")
    return path


def test_planted_errors_come_first_on_the_page_and_in_the_table(copy, tmp_path):
    run, photos = copy
    before = tree(photos)
    outcome = process(run, "--out", tmp_path / "errors")
    assert outcome.returncode == 0, outcome.stderr
    with (tmp_path / "errors/label_errors.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.reader(file))
    assert rows[0] == ["path", "given", "predicted", "score", "action"]
    found = {row[0]: (row[1], row[2]) for row in rows[1:4]}
    assert found == {path: (path.split("/")[1], Path(path).stem.split("-")[0]) for path in PLANTED}
    scores = [float(row[3]) for row in rows[1:]]
    assert scores == sorted(scores) and scores[0] < 0
    assert {row[4] for row in rows[1:]} == {""}
    page = (tmp_path / "errors/label_errors.html").read_text(encoding="utf-8")
    assert page.index(rows[1][0]) < page.index(rows[2][0])
    assert page.count('value="move"') == len(rows) - 1
    assert f"clean {run} --apply label_choices.csv" in page
    assert f"{len(rows) - 1} of 84 photos may have a wrong label" in outcome.stdout
    assert tree(photos) == before


def test_the_page_and_the_table_alone(copy, tmp_path):
    run, _ = copy
    outcome = process(run, "--page", tmp_path / "page.html", "--csv", tmp_path / "table.csv", "--device", "cpu")
    assert outcome.returncode == 0, outcome.stderr
    assert f"wrote   {tmp_path / 'page.html'}" in outcome.stdout
    assert f"clean {run} --apply {tmp_path / 'table.csv'}" in outcome.stdout
    assert (tmp_path / "table.csv").read_text().startswith("path,given,predicted,score,action\n")
    again = process(run, "--csv", tmp_path / "table.csv")
    assert again.returncode == 2 and "nothing is overwritten" in again.stderr


def test_the_page_runs_its_own_script_only(cross_validated, tmp_path):
    page = find_label_errors(cross_validated).write_page(tmp_path / "page.html").read_text(encoding="utf-8")
    policy = re.search(r'http-equiv="Content-Security-Policy" content="([^"]*)"', page)[1].replace("&#39;", "'")
    (script,) = re.findall(r"<script>(.*?)</script>", page, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert policy.startswith("default-src 'none'; ") and policy.count("script-src") == 1
    assert f"script-src 'sha256-{digest}';" in policy
    assert not re.findall(r'(?:src|href)="(?!data:|#)', page)


def test_moves_and_removals_are_carried_out_and_undone(copy, tmp_path):
    run, photos = copy
    before = tree(photos)
    (photos / "train/blue/green-02.png").write_bytes(b"taken")
    rows = [
        (PLANTED[0], "blue", "red", "-0.9", "move", ""),
        (PLANTED[1], "green", "blue", "-0.8", "Delete", ""),
        (PLANTED[2], "red", "green", "-0.7", "move", "blue"),
        ("train/red/03.png", "red", "green", "-0.1", "keep", ""),
        ("train/red/04.png", "red", "green", "-0.1", "", ""),
    ]
    table = write_choices(tmp_path / "t.csv", *rows, header="path,given,predicted,score,action,to")
    outcome = process(run, "--apply", table)
    assert outcome.returncode == 0, outcome.stderr
    targets = (
        "photos/train/red/red-00.png",
        "photos-removed/train/green/blue-01.png",
        "photos/train/blue/green-02 (2).png",
    )
    for path, target in zip(PLANTED, targets, strict=True):
        assert (tmp_path / target).read_bytes() == before[path]
        assert not (photos / path).exists()
    assert (photos / "train/blue/green-02.png").read_bytes() == b"taken"
    assert {path: content for path, content in tree(photos).items() if path in before}.items() <= before.items()
    log = tmp_path / "t-log.jsonl"
    assert f"wrote   {log}" in outcome.stdout and f"clean --undo {log}" in outcome.stdout
    undone = process("--undo", log)
    assert undone.returncode == 0, undone.stderr
    (photos / "train/blue/green-02.png").unlink()
    assert tree(photos) == before
    assert not (tmp_path / "photos-removed").exists()
    assert "Nothing was moved back" in process("--undo", log).stdout


def test_the_next_command_reads_the_photos_as_the_run_did(copy, tmp_path, allmlp):
    run, photos = copy
    folders = {"train": "train", "test": "test"}
    (run / "data.json").write_text(json.dumps({"source": str(photos), "split_folders": folders}))
    table = write_choices(tmp_path / "t.csv", (PLANTED[0], "blue", "red", "-0.9", "delete"))
    outcome = allmlp("clean", run, "--apply", table)
    assert outcome.code == 0, outcome.err
    assert f"finetune {photos} --split-folders train=train,test=test" in outcome.out


def test_a_photo_that_has_changed_stops_and_what_was_done_is_listed(copy, tmp_path):
    run, photos = copy
    (photos / PLANTED[1]).write_bytes((photos / PLANTED[1]).read_bytes() + b"!")
    table = write_choices(tmp_path / "t.csv", *((path, "x", "green", "0", "delete") for path in PLANTED))
    outcome = process(run, "--apply", table)
    assert outcome.returncode == 3
    assert f"{photos / PLANTED[1]}: this is not the photo that the run read" in outcome.stderr
    assert "Moved before it, 1 of 3" in outcome.stderr
    assert f"{photos / PLANTED[0]} -> {tmp_path / 'photos-removed' / PLANTED[0]}" in outcome.stderr
    assert [(photos / path).exists() for path in PLANTED] == [False, True, True]
    assert process("--undo", tmp_path / "t-log.jsonl").returncode == 0
    assert (photos / PLANTED[0]).exists()


def test_a_link_is_not_moved(copy, tmp_path, allmlp):
    run, photos = copy
    (photos / PLANTED[0]).rename(tmp_path / "elsewhere.png")
    (photos / PLANTED[0]).symlink_to(tmp_path / "elsewhere.png")
    outcome = allmlp("clean", run, "--apply", write_choices(tmp_path / "t.csv", (PLANTED[0], "", "red", "", "move")))
    assert outcome.code == 3 and "this is a link" in outcome.err and "Nothing was moved." in outcome.err


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ((PLANTED[0], "blue", "red", "0", "remove"), "line 2: unknown action 'remove'; expected keep, move, delete"),
        ((PLANTED[0], "blue", "rad", "0", "move"), "there is no class 'rad'. Did you mean 'red'?"),
        ((PLANTED[0], "blue", "blue", "0", "move"), "it is in class 'blue' already"),
        (("train/blue/../../x.png", "blue", "red", "0", "move"), "there is no such photo any more"),
        ((PLANTED[0], "blue", "red", "0"), "line 2 has more or fewer cells"),
    ],
)
def test_an_invalid_row_moves_nothing(row, words, copy, tmp_path, allmlp):
    run, photos = copy
    before = tree(photos)
    good = (PLANTED[1], "green", "blue", "0", "move")
    outcome = allmlp("clean", run, "--apply", write_choices(tmp_path / "t.csv", row, good))
    assert outcome.code == 3 and words in outcome.err
    assert tree(photos) == before and not (tmp_path / "t-log.jsonl").exists()


def test_a_table_that_a_spreadsheet_saved(copy, tmp_path, allmlp):
    run, photos = copy
    table = tmp_path / "t.csv"
    table.write_bytes(f"\ufeffpath;predicted;action;to\r\n{PLANTED[0]};green;move;red\r\n".encode())
    assert allmlp("clean", run, "--apply", table).code == 0
    assert (photos / "train/red/red-00.png").exists()
    other = write_choices(tmp_path / "other.csv", header="name,label")
    outcome = allmlp("clean", run, "--apply", other)
    assert outcome.code == 3 and "no column path or predicted or action" in outcome.err


def sources(folder: Path, photos: Path) -> dict[str, Path | str]:
    shutil.make_archive(str(folder / "packed"), "zip", photos)
    rows = [(path.relative_to(folder).as_posix(), path.parent.name) for path in sorted(photos.rglob("*.png"))]
    (folder / "table.csv").write_text("\n".join(["path,label", *(",".join(row) for row in rows)]))
    images = [{"bytes": (folder / path).read_bytes(), "path": path} for path, _ in rows]
    pq.write_table(pa.table({"image": images, "label": [label for _, label in rows]}), folder / "train.parquet")
    return {
        "zip": folder / "packed.zip",
        "CSV": folder / "table.csv",
        "Parquet": folder / "train.parquet",
        "named": "clothing",
    }


@pytest.mark.parametrize(
    ("kind", "advice"),
    [
        ("zip", "unpack it, and train on the folder"),
        ("CSV", "correct the labels in that table"),
        ("Parquet", "save its photos as a folder"),
        ("named", "save its photos as a folder"),
    ],
)
def test_photos_that_are_not_files_of_a_folder_are_refused_with_advice(kind, advice, copy, tmp_path, allmlp):
    run, photos = copy
    set_source(run, sources(tmp_path, photos)[kind])
    outcome = allmlp(
        "clean", run, "--apply", write_choices(tmp_path / "t.csv", (PLANTED[0], "blue", "red", "0", "move"))
    )
    assert outcome.code == 3 and "only photos in a folder can be moved" in outcome.err and advice in outcome.err


def test_an_interrupted_move_is_undone(copy, tmp_path, allmlp):
    """A process killed between reserving the new name and moving leaves an empty file, and a line cut short after it."""
    run, photos = copy
    before = tree(photos)
    table = write_choices(tmp_path / "t.csv", *((path, "", "red", "", "delete") for path in PLANTED[:2]))
    assert allmlp("clean", run, "--apply", table).code == 0
    removed = tmp_path / "photos-removed" / PLANTED[1]
    removed.rename(photos / PLANTED[1])
    removed.touch()
    with (tmp_path / "t-log.jsonl").open("a") as log:
        log.write('{"from": "/x')
    assert allmlp("clean", "--undo", tmp_path / "t-log.jsonl").code == 0
    assert tree(photos) == before and not (tmp_path / "photos-removed").exists()


@pytest.mark.parametrize("share", [0.5, 1.0])
def test_a_copy_to_another_disk_that_was_killed_is_undone(share, copy, tmp_path, allmlp):
    """The photo is still there, and the copy is cut short, or complete and the photo not yet removed."""
    run, photos = copy
    before = tree(photos)
    table = write_choices(tmp_path / "t.csv", (PLANTED[0], "", "red", "", "delete"))
    assert allmlp("clean", run, "--apply", table).code == 0
    removed = tmp_path / "photos-removed" / PLANTED[0]
    (photos / PLANTED[0]).write_bytes(removed.read_bytes())
    removed.write_bytes(removed.read_bytes()[: int(share * removed.stat().st_size)])
    assert allmlp("clean", "--undo", tmp_path / "t-log.jsonl").code == 0
    assert tree(photos) == before and not (tmp_path / "photos-removed").exists()


def test_an_undoing_that_was_killed_is_repeated(copy, tmp_path, allmlp):
    run, photos = copy
    before = tree(photos)
    table = write_choices(tmp_path / "t.csv", (PLANTED[0], "", "red", "", "delete"))
    assert allmlp("clean", run, "--apply", table).code == 0
    (photos / PLANTED[0]).write_bytes(before[PLANTED[0]][:100])  # what a copy back from another disk leaves
    assert allmlp("clean", "--undo", tmp_path / "t-log.jsonl").code == 0
    assert tree(photos) == before


def test_a_folder_of_photos_that_was_renamed_is_not_undone(copy, tmp_path, allmlp):
    run, photos = copy
    rows = ((PLANTED[0], "blue", "red", "", "move"), (PLANTED[1], "", "red", "", "delete"))
    assert allmlp("clean", run, "--apply", write_choices(tmp_path / "t.csv", *rows)).code == 0
    photos.rename(tmp_path / "renamed")
    before = tree(tmp_path)
    outcome = allmlp("clean", "--undo", tmp_path / "t-log.jsonl")
    assert outcome.code == 3 and "1 of 2 photos are in neither of their two places" in outcome.err
    assert str(photos / PLANTED[0]) in outcome.err and "Nothing was moved. If a folder was renamed" in outcome.err
    assert tree(tmp_path) == before and not photos.exists()
    (tmp_path / "renamed").rename(photos)
    log = tmp_path / "t-log.jsonl"
    first, *others = log.read_text().splitlines(keepends=True)
    # A name that another program took in that moment, and has given up since, is in the log before the one that was used.
    taken = {"from": str(photos / PLANTED[0]), "to": str(tmp_path / "taken.png"), "sha256": "0"}
    log.write_text("".join([first, json.dumps(taken) + "\n", *others]))
    assert allmlp("clean", "--undo", tmp_path / "t-log.jsonl").code == 0
    assert (photos / PLANTED[0]).exists() and (photos / PLANTED[1]).exists()


@pytest.mark.parametrize("is_undo", [False, True])
def test_ctrl_c_says_what_was_moved_and_how_to_go_on(is_undo, copy, tmp_path, allmlp, monkeypatch):
    run, photos = copy
    before = tree(photos)
    table = write_choices(tmp_path / "t.csv", *((path, "", "red", "", "delete") for path in PLANTED))
    log = tmp_path / "t-log.jsonl"
    arguments = ("clean", run, "--apply", table)
    if is_undo:
        assert allmlp(*arguments).code == 0
        arguments = ("clean", "--undo", log)
    with monkeypatch.context() as patch:
        replace, calls = Path.replace, []

        def interrupted(path: Path, target: Path) -> Path:
            calls.append(path)
            if len(calls) == 2:
                raise KeyboardInterrupt
            return replace(path, target)

        patch.setattr(Path, "replace", interrupted)
        outcome = allmlp(*arguments)
    assert outcome.code == 130
    if is_undo:
        assert "Stopped by Ctrl-C." in outcome.err and "Moved back before it, 1 of 3; repeat the command" in outcome.err
    else:
        assert f"Moved before it, 1 of 3 (log: {log}; `allmlp clean --undo {log}` moves them back)" in outcome.err
        assert str(photos / PLANTED[0]) in outcome.err
    assert allmlp("clean", "--undo", log).code == 0
    assert tree(photos) == before


def test_undoing_overwrites_nothing(copy, tmp_path, allmlp):
    run, photos = copy
    table = write_choices(tmp_path / "t.csv", (PLANTED[0], "blue", "red", "", "move"))
    assert allmlp("clean", run, "--apply", table).code == 0
    (photos / PLANTED[0]).write_bytes(b"new")
    outcome = allmlp("clean", "--undo", tmp_path / "t-log.jsonl")
    assert outcome.code == 3 and "another file has this name now" in outcome.err
    assert (photos / PLANTED[0]).read_bytes() == b"new" and (photos / "train/red/red-00.png").exists()
    outcome = allmlp("clean", "--undo", table)
    assert outcome.code == 3 and "cannot be read as a log of `allmlp clean --apply`" in outcome.err


def test_without_folds_only_validation_and_test_photos_are_judged(photos, tmp_path, allmlp):
    run = train(override(LEARNT, ["num_epochs=1"]), photos, tmp_path / "run").directory
    judged = sum(len(ids) for name, ids in json.loads((run / "split.json").read_text()).items() if name != "train")
    outcome = allmlp("clean", run)
    assert outcome.code == 0
    assert f"Only the {judged:,} validation and test photos could be judged" in outcome.err
    assert "`allmlp finetune PHOTOS --folds 5` judges all" in outcome.err
    (run / "metrics.json").unlink()
    outcome = allmlp("clean", run)
    assert outcome.code == 2 and "this run is not finished" in outcome.err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "Missing RUN"),
        (("run", "--apply", "a.csv", "--undo", "b"), "give only one"),
        (("run", "--apply", "a.csv", "--page", "b.html"), "give only one"),
        (("run", "--page", "b.csv", "--csv", "./b.csv"), "--page and --csv are the same file"),
        (("run", "--out", "a", "--csv", "b.csv"), "takes both the page and the CSV"),
        (("run", "--undo", "b"), "needs only the log"),
        (("run",), "there is no such run folder"),
    ],
)
def test_options_that_exclude_each_other(arguments, words, tmp_path, monkeypatch, allmlp):
    monkeypatch.chdir(tmp_path)
    outcome = allmlp("clean", *arguments)
    assert outcome.code == 2 and words in outcome.err
