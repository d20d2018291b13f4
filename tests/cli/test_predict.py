import csv
import io
import json
import os

import pytest

from allmlp import Predictor

FORMATS = ("table", "json", "jsonl", "csv")
HOSTILE = ["=cmd()", "new\nline", "esc\x1b[31m", "[red]x[/red]", "\u202egpj", "tab\there", "quote\"'", "ünïcödé"]


def paths_of(outcome, kind):
    if kind == "json":
        return [record["path"] for record in json.loads(outcome.out)]
    if kind == "jsonl":
        return [json.loads(line)["path"] for line in outcome.out.splitlines()]
    rows = outcome.out.splitlines()
    if kind == "csv":
        return [row[0] for row in csv.reader(rows[1:])]
    return [row.split("  ")[0].rstrip() for row in rows]


@pytest.mark.parametrize("kind", FORMATS)
def test_every_format_gives_the_predictors_answers(kind, saved_checkpoint, write_photo, tmp_path, allmlp):
    paths = [write_photo(tmp_path / f"{index}.png", index) for index in range(3)]
    expected = Predictor.from_checkpoint(saved_checkpoint, device="cpu").predict(paths, top_k=2)
    outcome = allmlp("predict", saved_checkpoint, *paths, "--format", kind, "--top-k", 2)
    assert outcome.code == 0
    if kind in ("json", "jsonl"):
        records = json.loads(outcome.out) if kind == "json" else [json.loads(line) for line in outcome.out.splitlines()]
        assert records == [{"path": one.source, "predictions": list(one.labels)} for one in expected]
        assert outcome.err == ""
    elif kind == "csv":
        rows = list(csv.DictReader(io.StringIO(outcome.out)))
        assert [row["path"] for row in rows] == list(map(str, paths))
        for row, one in zip(rows, expected, strict=True):
            assert row["label_1"].lstrip("'") == one.labels[0]["label"]
            assert float(row["score_2"]) == pytest.approx(one.labels[1]["score"], abs=1e-6)
    else:
        for line, one in zip(outcome.out.splitlines(), expected, strict=True):
            first, second = one.labels
            assert line.startswith(one.source)
            assert f"{first['score']:.1%}" in line
            assert line.index(first["label"]) < line.rindex(second["label"])


def test_folders_are_searched_to_the_bottom_in_sorted_order(saved_checkpoint, write_photo, tmp_path, allmlp):
    for name in ("b/2.png", "b/10.PNG", "a/deep/er/1.png", "z.png", ".hidden.png", "b/.trash/x.png"):
        write_photo(tmp_path / "root" / name)
    (tmp_path / "root" / "notes.txt").write_text("not a photo")
    outcome = allmlp("predict", saved_checkpoint, tmp_path / "root", "--format", "jsonl")
    assert outcome.code == 0
    names = [os.path.relpath(path, tmp_path / "root") for path in paths_of(outcome, "jsonl")]
    assert names == ["a/deep/er/1.png", "b/10.PNG", "b/2.png", "z.png"]


@pytest.mark.parametrize("kind", FORMATS)
def test_bad_files_are_named_on_standard_error_and_the_others_answered(
    kind, saved_checkpoint, write_photo, tmp_path, allmlp
):
    good = [write_photo(tmp_path / "a.png"), write_photo(tmp_path / "c.png")]
    (tmp_path / "b.jpg").write_text("a web page " * 30)
    missing = tmp_path / "missing.png"
    outcome = allmlp("predict", saved_checkpoint, good[0], tmp_path / "b.jpg", missing, good[1], "--format", kind)
    assert outcome.code == 3
    assert paths_of(outcome, kind) == [str(path) for path in good]
    first, second, summary = outcome.err.splitlines()  # each on one line, however long
    assert first.startswith(f"allmlp: {tmp_path / 'b.jpg'}: ")
    assert second.startswith(f"allmlp: {missing}: ")
    assert summary.startswith("2 of 4 ")


@pytest.mark.parametrize("kind", FORMATS)
def test_only_bad_files_still_give_a_whole_answer(kind, saved_checkpoint, tmp_path, allmlp):
    (tmp_path / "bad.png").touch()
    outcome = allmlp("predict", saved_checkpoint, tmp_path / "bad.png", "--format", kind)
    assert outcome.code == 3
    assert paths_of(outcome, kind) == []


def test_a_folder_without_photos_is_named_and_exits_3(saved_checkpoint, tmp_path, allmlp):
    (tmp_path / "empty").mkdir()
    outcome = allmlp("predict", saved_checkpoint, tmp_path / "empty", "--format", "json")
    assert outcome.code == 3
    assert json.loads(outcome.out) == []
    assert f"{tmp_path / 'empty'}: there are no photos" in outcome.err


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.parametrize("kind", FORMATS)
def test_hostile_names_are_one_harmless_line_and_json_keeps_them_whole(
    kind, name, saved_checkpoint, write_photo, tmp_path, monkeypatch, allmlp
):
    monkeypatch.chdir(tmp_path)
    write_photo(tmp_path / f"{name}.png")
    outcome = allmlp("predict", saved_checkpoint, f"{name}.png", "--format", kind)
    assert outcome.code == 0
    lines = {"table": 1, "json": 2, "jsonl": 1, "csv": 2}[kind]
    assert len(outcome.out.splitlines()) == lines
    assert all(character.isprintable() or character == "\n" for character in outcome.out)
    (path,) = paths_of(outcome, kind)
    if kind in ("json", "jsonl"):
        assert path == f"{name}.png"
    elif kind == "csv":
        assert path[0] not in "=+-@"
    elif name.isprintable():
        assert path == f"{name}.png"


def test_a_name_that_is_no_utf8_is_answered_in_every_format(saved_checkpoint, write_photo, tmp_path, allmlp):
    write_photo(tmp_path / "folder" / os.fsdecode(b"\xff\xfe.png"))
    for kind in FORMATS:
        outcome = allmlp("predict", saved_checkpoint, tmp_path / "folder", "--format", kind)
        assert outcome.code == 0
        outcome.out.encode("utf-8")
        assert "xff" in outcome.out or "udcff" in outcome.out


def test_class_names_that_spreadsheets_would_run_are_quoted(saved_checkpoint, write_photo, tmp_path, allmlp):
    outcome = allmlp("predict", saved_checkpoint, write_photo(tmp_path / "a.png"), "--format", "csv", "--top-k", 6)
    (_, row) = csv.reader(outcome.out.splitlines())
    assert sorted(row[1::2]) == sorted(["cat", "'=dog", "[red]fox", "owl", "yak", "zebra"])


def test_a_dash_reads_one_photo_from_standard_input(saved_checkpoint, write_photo, tmp_path, allmlp):
    path = write_photo(tmp_path / "a.png")
    by_path = json.loads(allmlp("predict", saved_checkpoint, path, "--format", "json").out)
    by_bytes = json.loads(allmlp("predict", saved_checkpoint, "-", "--format", "json", stdin=path.read_bytes()).out)
    assert by_bytes == [{"path": "-", "predictions": by_path[0]["predictions"]}]


def test_no_photo_on_standard_input_exits_3(saved_checkpoint, allmlp):
    outcome = allmlp("predict", saved_checkpoint, "-", stdin=b"")
    assert outcome.code == 3
    assert "allmlp: -: the file is empty" in outcome.err


def test_impossible_options_exit_2_before_the_checkpoint_is_read(allmlp):
    for options in (["--top-k", "0"], ["-"]):
        outcome = allmlp("predict", "no such checkpoint", "-", *options)
        assert outcome.code == 2
        assert outcome.out == ""


def test_an_impossible_batch_size_or_device_exits_2(saved_checkpoint, allmlp):
    assert allmlp("predict", saved_checkpoint, "x.png", "--batch-size", "0").code == 2
    assert allmlp("predict", saved_checkpoint, "x.png", "--device", "tpu").code == 2


def test_answers_are_the_same_for_any_batch_size(saved_checkpoint, write_photo, tmp_path, allmlp):
    for index in range(9):
        write_photo(tmp_path / "photos" / f"{index}.png", index)
    outputs = {
        allmlp("predict", saved_checkpoint, tmp_path / "photos", "--format", "json", "--batch-size", size).out
        for size in (1, 7, 64)
    }
    assert len(outputs) == 1


def test_no_checkpoint_exits_4(write_photo, tmp_path, allmlp):
    assert allmlp("predict", tmp_path / "none", write_photo(tmp_path / "a.png")).code == 4
