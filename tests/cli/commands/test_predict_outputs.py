"""What `allmlp predict` writes, as a real process: files, sorted photos, pages; and its progress at a terminal."""

import csv
import hashlib
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image
from tests.forks import run_allmlp

from allmlp import Predictor, load_checkpoint
from allmlp import report as allmlp_report
from allmlp.report import ExplanationFolder


@pytest.fixture
def process(saved_checkpoint, tmp_path):
    """Run `allmlp predict CHECKPOINT ...` in `tmp_path`."""

    def run(*arguments):
        return run_allmlp("predict", saved_checkpoint, *arguments, cwd=tmp_path)

    return run


@pytest.fixture
def photos(write_photo, tmp_path, monkeypatch):
    """Eight photos: in two folders, whose files have the same names, and with a name that only other systems forbid."""
    monkeypatch.chdir(tmp_path)
    for index in range(6):
        write_photo(Path("photos") / f"folder {index % 2}" / f"{index // 2}.png", index)
    write_photo(Path("photos/what?.png"), 6)
    write_photo(Path("photos/x.JPG"), 7)
    return Path("photos")


def digests(folder):
    return {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.rglob("*") if path.is_file()}


def answers(checkpoint, **options):
    return {
        answer.source: answer
        for answer in Predictor.from_checkpoint(checkpoint, device="cpu").predict("photos", **options)
    }


def threshold(expected):
    """A score that half of the predictions reach."""
    return float(np.median([answer.score for answer in expected.values()]))


def test_a_file_is_written_in_the_format_of_its_ending(process, photos, saved_checkpoint, allmlp):
    expected = answers(saved_checkpoint, top_k=2)
    limit = threshold(expected)
    unsure = {path for path, answer in expected.items() if answer.score < limit}
    assert len(unsure) == 4
    outcome = process("photos", "-o", "x.parquet", "--top-k", 2, "--min-score", limit)
    assert (outcome.returncode, outcome.stderr) == (0, "")
    assert re.search(r"^Wrote x.parquet \([\d.]+ kB\): 8 photos, 4 of them unsure$", outcome.stdout, re.M)
    assert " predict " in outcome.stdout.partition("Next:")[2]
    for name in ("x.csv", "x.json", "x.jsonl", "x.txt"):
        outcome = allmlp("predict", saved_checkpoint, "photos", "-o", name, "--top-k", 2, "--min-score", limit)
        assert (outcome.code, outcome.err) == (0, "")
        assert f"Wrote {name} (" in outcome.out
    rows = list(csv.DictReader(Path("x.csv").read_text().splitlines()))
    assert list(rows[0]) == ["path", "unsure", "label_1", "score_1", "label_2", "score_2"]
    assert {row["path"] for row in rows if row["unsure"] == "true"} == unsure
    records = json.loads(Path("x.json").read_text())
    assert records == [json.loads(line) for line in Path("x.jsonl").read_text().splitlines()]
    assert [record["path"] for record in records] == sorted(expected)
    for record in records:
        answer = expected[record["path"]]
        assert record == {"path": answer.source, "unsure": answer.source in unsure, "predictions": list(answer.labels)}
    table = pq.read_table("x.parquet").to_pylist()
    for row, record in zip(table, records, strict=True):
        (first, second) = record["predictions"]
        assert row == {
            "path": record["path"],
            "unsure": record["unsure"],
            "label_1": first["label"],
            "score_1": first["score"],
            "label_2": second["label"],
            "score_2": second["score"],
        }
    lines = Path("x.txt").read_text().splitlines()
    assert {line.split("  ")[0].rstrip() for line in lines if "  unsure  " in line} == unsure
    assert not list(Path().glob(".*.part"))


def test_only_what_no_file_ending_says_needs_a_format(process, photos):
    assert process("photos", "--out", "answers.data", "--format", "csv").returncode == 0
    assert Path("answers.data").read_text().startswith("path,label_1,score_1")


def test_a_file_without_any_prediction_is_not_written(process, tmp_path):
    (tmp_path / "bad.png").write_text("x")
    outcome = process("bad.png", "-o", "x.csv", "--sheet", "x.html", "--sort-into", "sorted")
    assert outcome.returncode == 3
    assert "none of the photos could be read; nothing was written" in outcome.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["bad.png"]


def test_photos_are_sorted_by_class_and_left_as_they_are(process, photos, saved_checkpoint):
    expected = answers(saved_checkpoint)
    limit = threshold(expected)
    before = digests(photos)
    outcome = process("photos", "--sort-into", "sorted", "--min-score", limit, "--format", "csv")
    assert outcome.returncode == 0
    assert len(outcome.stdout.splitlines()) == 9  # standard output holds only the table
    assert "Copied 8 photos into sorted: " in outcome.stderr
    assert digests(photos) == before
    after = digests(Path("sorted"))
    assert sorted(after.values()) == sorted(before.values())
    folders = {before[path]: "unsure" if answer.score < limit else answer.label for path, answer in expected.items()}
    assert {digest: Path(path).parts[1] for path, digest in after.items()} == folders
    again = process("photos", "--sort-into", "sorted")
    assert again.returncode == 2
    assert "sorted: this folder is not empty, and nothing is overwritten" in again.stderr
    assert digests(Path("sorted")) == after


@pytest.mark.skipif(os.name != "posix", reason="links of POSIX")
def test_photos_are_sorted_as_links(process, photos):
    for kind in ("hard", "symbolic"):
        outcome = process("photos", "--sort-into", f"by {kind}", "--link", kind)
        assert outcome.returncode == 0
        assert f"Linked 8 photos into by {kind}: " in outcome.stderr
        originals = {path.stat().st_ino for path in photos.rglob("*") if path.is_file()}
        links = [path for path in Path(f"by {kind}").rglob("*") if path.is_file()]
        assert {path.stat().st_ino for path in links} == originals
        assert all(path.is_symlink() == (kind == "symbolic") for path in links)


def test_the_page_shows_every_photo_by_class_and_loads_nothing(process, photos, saved_checkpoint):
    expected = answers(saved_checkpoint)
    limit = threshold(expected)
    outcome = process("photos", "--sheet", "sheet.html", "--min-score", limit)
    assert outcome.returncode == 0
    assert re.search(r"^Wrote sheet.html \([\d.]+ kB\): open it in a browser$", outcome.stderr, re.M)
    page = Path("sheet.html").read_text()
    names = [name.removeprefix("photos/") for name in expected]
    assert [page.count(f'<p class="caption">{name}</p>') for name in names] == [1] * 8
    assert page.count('<img src="data:image/') == page.count('loading="lazy"') == 8
    assert page.index(">Unsure <") < page.index('id="group-1"')
    assert not re.search(r"<script|https?://", page)


def test_flip_averages_the_logits_of_photo_and_mirror_image(process, photos, saved_checkpoint):
    outcome = process("photos", "--flip", "--format", "json", "--top-k", 6)
    checkpoint = load_checkpoint(saved_checkpoint)
    model = checkpoint.build().eval()
    for record in json.loads(outcome.stdout):
        image = torch.from_numpy(checkpoint.preprocessing(np.asarray(Image.open(record["path"]))))[None]
        with torch.no_grad():
            logits = (model(image) + model(torch.flip(image, dims=[3]))) / 2
        scores = (logits / checkpoint.temperature).softmax(dim=1)[0].tolist()
        given = {answer["label"]: answer["score"] for answer in record["predictions"]}
        assert given == pytest.approx(dict(zip(checkpoint.class_names, scores, strict=True)), rel=1e-4)


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        ("photos/*.png", ["photos/what?.png"]),
        ("photos/**/*.png", [f"photos/folder {i}/{j}.png" for i in range(2) for j in range(3)] + ["photos/what?.png"]),
        ("photos/folder ?", [f"photos/folder {i}/{j}.png" for i in range(2) for j in range(3)]),
        ("photos/folder [1]/[!0].png", ["photos/folder 1/1.png", "photos/folder 1/2.png"]),
        ("photos/what?.png", ["photos/what?.png"]),
    ],
)
def test_a_quoted_pattern_is_expanded_and_sorted(pattern, names, saved_checkpoint, photos, write_photo, allmlp):
    write_photo(Path("photos/whatX.png").with_suffix(".gif"))
    outcome = allmlp("predict", saved_checkpoint, pattern, "--format", "jsonl")
    assert outcome.code == 0
    assert [json.loads(line)["path"] for line in outcome.out.splitlines()] == names


def test_a_file_of_that_name_comes_before_a_pattern_and_no_match_is_an_error(process, photos, write_photo):
    write_photo(Path("what[1].png"))
    write_photo(Path("what1.png"))
    outcome = process("what[1].png", "none/*.png", "*\x01", "--format", "jsonl")
    assert [json.loads(line)["path"] for line in outcome.stdout.splitlines()] == ["what[1].png"]
    assert outcome.returncode == 3
    assert outcome.stderr.splitlines() == [
        "allmlp: none/*.png: no file matches this pattern.",
        "allmlp: *\\x01: no file matches this pattern.",
        "2 of 3 could not be read; all others are classified.",
    ]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["-o", "x.xlsx"], "expected a name that ends in .txt, .csv, .json, .jsonl, .parquet"),
        (["-o", "x.csv", "--format", "json"], "--format json does not match --out x.csv, which ends in .csv"),
        (["--format", "parquet"], "add -o predictions.parquet"),
        (["-o", "mine.csv"], "this file exists, and nothing is overwritten"),
        (["--sheet", "mine.html"], "this file exists, and nothing is overwritten"),
        (["--sheet", "x.pdf"], "expected a name that ends in .html"),
        (["--sheet", "x.html", "-o", "x.html", "--format", "text"], "are the same file"),
        (["--sheet", "x.html", "--sort-into", "../here/x.html"], "--sheet and --sort-into are the same file"),
        (["--link", "hard"], "--link without --sort-into would have no effect"),
        (["--sort-into", "photos"], "the photos come from this folder"),
        (["--sort-into", "photos/sorted"], "the photos come from this folder"),
        (["photos/a.png", "--sort-into", "../here/photos"], "the photos come from this folder"),
        (["--sort-into", "linked/sorted"], "the photos come from this folder"),
        (["photos/**/*.png", "--sort-into", "photos/sorted"], "the photos come from this folder"),
        (["**", "--sort-into", "sorted"], "the photos come from this folder"),
        (["photos/*.png", "--sort-into", "photos"], "the photos come from this folder"),
        (["-", "--sort-into", "sorted"], "standard input, which has no name"),
        (["--min-score", "1.5"], "--min-score is 1.5; expected a score from 0 to 1"),
        (["--min-score", "nan"], "--min-score is nan; expected a score from 0 to 1"),
        (["--conf", "0.5"], "Use --min-score S"),
        (["--tta"], "Use --flip"),
        (["--output", "x.csv"], "Use --out PATH"),
    ],
    ids=" ".join,
)
def test_unusable_options_exit_2_before_the_checkpoint_is_read(arguments, words, tmp_path, monkeypatch, allmlp):
    (tmp_path / "here" / "photos").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "here")
    Path("linked").symlink_to("photos")
    for name in ("mine.csv", "mine.html"):
        Path(name).write_text("mine")
    outcome = allmlp(
        "predict",
        "no such checkpoint",
        *([] if arguments[0][0] != "-" or arguments[0] == "-" else ["photos"]),
        *arguments,
    )
    assert outcome.code == 2
    assert words in outcome.err
    assert Path("mine.csv").read_text() == "mine"
    assert not Path("photos/sorted").exists()


@pytest.mark.skipif(os.name != "posix", reason="a pseudo-terminal")
def test_the_bar_is_on_a_terminal_only(process, photos, saved_checkpoint, tmp_path):
    leader, follower = os.openpty()
    command = [
        sys.executable,
        "-m",
        "allmlp",
        "predict",
        saved_checkpoint,
        "photos",
        "--format",
        "csv",
        "--batch-size",
        "1",
    ]
    outcome = subprocess.run(
        command, stdout=subprocess.PIPE, stderr=follower, text=True, check=False, cwd=tmp_path, timeout=300
    )
    os.close(follower)
    shown = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", os.read(leader, 100_000).decode())
    os.close(leader)
    assert "1/8 photos" in shown
    assert len(outcome.stdout.splitlines()) == 9
    assert process("photos", "--format", "csv", "--batch-size", 1).stderr == ""


def test_photos_are_explained_into_a_new_folder(process, photos, saved_checkpoint):
    (photos / "broken.png").write_bytes(b"no photo")
    before = digests(photos)
    result = process("photos", "-o", "p.csv", "--explain", "why")
    assert result.returncode == 3, result.stderr
    assert (
        "Wrote why/index.html: open it in a browser; next to it, 40 pictures and explanations.jsonl with the numbers "
        in (result.stdout)
    )
    lines = [json.loads(line) for line in Path("why/explanations.jsonl").read_text().splitlines()]
    (photos / "broken.png").unlink()
    expected = answers(saved_checkpoint, top_k=3)
    assert [line["photo"] for line in lines] == list(expected)
    for line in lines:
        best = [(each["label"], pytest.approx(each["score"], abs=1e-6)) for each in line["classes"]]
        assert best == [(each["label"], each["score"]) for each in expected[line["photo"]].labels]
    del before["photos/broken.png"]
    assert digests(photos) == before
    again = process("photos", "--explain", "why")
    assert again.returncode == 2
    assert "why: this folder is not empty, and nothing is overwritten." in again.stderr


class FolderOfThree(ExplanationFolder):
    """Has three cards; photos in `lost` are gone before the first explanation."""

    lost: tuple[str, ...] = ()

    def __init__(self, folder, model):
        super().__init__(folder, model, max_photos=3)
        for path in self.lost:
            Path(path).unlink()


@pytest.mark.parametrize("lost", [(), ("photos/folder 0/1.png",)])
def test_every_card_has_its_occlusion_and_lost_photos_are_reported(allmlp, photos, saved_checkpoint, lost, monkeypatch):
    for name in ("0a.png", "folder 0/0b.png"):
        (photos / name).write_bytes(b"no photo")
    monkeypatch.setattr(FolderOfThree, "lost", lost)
    monkeypatch.setattr(allmlp_report, "ExplanationFolder", FolderOfThree)
    outcome = allmlp("predict", saved_checkpoint, "photos", "-o", "p.csv", "--explain", "why")
    assert outcome.code == 3
    assert "2 of 10 could not be read; all others are classified." in outcome.err
    lines = [json.loads(line) for line in Path("why/explanations.jsonl").read_text().splitlines()]
    shown = [("pictures" in line, all("occlusion" in each for each in line["classes"])) for line in lines]
    assert shown == [(True, True)] * 3 + [(False, False)] * (5 - len(lost))
    assert Path("why/index.html").read_text().count("<section") == 3
    assert not {line["photo"] for line in lines} & set(lost)
    assert ("1 of 8 could not be read again for their explanation." in outcome.err) == bool(lost)
    for path in lost:
        assert f"allmlp: {path}" in outcome.err


def test_only_lost_photos_fail_the_command_too(allmlp, photos, saved_checkpoint, monkeypatch):
    monkeypatch.setattr(FolderOfThree, "lost", ("photos/x.JPG",))
    monkeypatch.setattr(allmlp_report, "ExplanationFolder", FolderOfThree)
    outcome = allmlp("predict", saved_checkpoint, "photos", "-o", "p.csv", "--explain", "why")
    assert outcome.code == 3
    assert "1 of 8 could not be read again for their explanation." in outcome.err


def test_explanations_are_of_the_photo_as_it_is(process, photos):
    result = process("photos", "--explain", "why", "--flip")
    assert result.returncode == 2
    assert "--explain shows the answer for the photo as it is" in result.stderr
    assert not Path("why").exists()
