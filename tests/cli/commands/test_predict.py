import csv
import io
import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from PIL import Image
from tests.builders import tiny_checkpoint

from allmlp import Predictor, save_checkpoint
from allmlp.cli.main import main
from allmlp.data import MAX_PHOTO_BYTES

FORMATS = ("text", "json", "jsonl", "csv")
HOSTILE = [
    "=cmd()",
    "+1",
    "@x",
    "car\rriage",
    "new\nline",
    "esc\x1b[31m",
    "[red]x[/red]",
    "\u202egpj",
    "tab\there",
    "quote\"'",
    "ünïcödé",
]


def paths_of(outcome, kind):
    if kind == "json":
        return [record["path"] for record in json.loads(outcome.out)]
    if kind == "jsonl":
        return [json.loads(line)["path"] for line in outcome.out.splitlines()]
    if kind == "csv":
        return [row["path"] for row in csv.DictReader(io.StringIO(outcome.out, newline=""))]
    rows = outcome.out.splitlines()
    return [row.split("  ")[0].rstrip() for row in rows]


@pytest.mark.parametrize("kind", FORMATS)
def test_every_format_gives_the_predictors_answers(kind, saved_checkpoint, write_photo, tmp_path, allmlp):
    paths = [write_photo(tmp_path / f"{index}.png", index) for index in range(3)]
    expected = Predictor.from_checkpoint(saved_checkpoint, device="cpu").predict(paths, top_k=2)
    outcome = allmlp("predict", saved_checkpoint, *paths, "--format", kind, "--top-k", 2)
    assert outcome.code == 0
    if kind in ("json", "jsonl"):
        records = json.loads(outcome.out) if kind == "json" else [json.loads(line) for line in outcome.out.splitlines()]
        assert records == [{"path": each.source, "predictions": list(each.labels)} for each in expected]
        assert outcome.err == ""
    elif kind == "csv":
        rows = list(csv.DictReader(io.StringIO(outcome.out)))
        assert [row["path"] for row in rows] == list(map(str, paths))
        for row, each in zip(rows, expected, strict=True):
            assert row["label_1"] == each.labels[0]["label"]
            assert float(row["score_2"]) == pytest.approx(each.labels[1]["score"], abs=1e-6)
    else:
        for line, each in zip(outcome.out.splitlines(), expected, strict=True):
            first, second = each.labels
            assert line.startswith(each.source)
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
    assert f"{tmp_path / 'empty'}: no photos in this folder" in outcome.err


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.parametrize("kind", FORMATS)
def test_hostile_names_are_harmless_to_people_and_whole_for_programs(
    kind, name, saved_checkpoint, write_photo, tmp_path, monkeypatch, allmlp
):
    monkeypatch.chdir(tmp_path)
    write_photo(tmp_path / f"{name}.png")
    outcome = allmlp("predict", saved_checkpoint, f"{name}.png", "--format", kind)
    assert outcome.code == 0
    (path,) = paths_of(outcome, kind)
    if kind != "text" or name.isprintable():
        assert path == f"{name}.png"
    if kind == "csv":  # as it is shown on a terminal
        monkeypatch.setattr("sys.stdout.isatty", lambda: True)
        outcome = allmlp("predict", saved_checkpoint, f"{name}.png", "--format", kind)
    lines = {"text": 1, "json": 2, "jsonl": 1, "csv": 2}[kind]
    assert len(outcome.out.splitlines()) == lines
    assert all(character.isprintable() or character == "\n" for character in outcome.out)


def test_a_name_that_is_no_utf8_is_answered_in_every_format(saved_checkpoint, write_photo, tmp_path, allmlp):
    write_photo(tmp_path / "folder" / os.fsdecode(b"\xff\xfe.png"))
    for kind in FORMATS:
        outcome = allmlp("predict", saved_checkpoint, tmp_path / "folder", "--format", kind)
        assert outcome.code == 0
        outcome.out.encode("utf-8")
        assert "xff" in outcome.out or "udcff" in outcome.out


@pytest.mark.parametrize("name", ["x" * 10**5, "\x1b" * 10**5, "犬" * 10**5])
def test_lines_stay_short_whatever_the_names_of_classes(name, write_photo, tmp_path, allmlp):
    checkpoint = save_checkpoint(tiny_checkpoint(class_names=("cat", "dog", name)), tmp_path / "checkpoint")
    outcome = allmlp("predict", checkpoint, write_photo(tmp_path / "a.png"))
    assert outcome.code == 0
    assert len(outcome.out) < 3000
    (row,) = csv.reader(allmlp("predict", checkpoint, tmp_path / "a.png", "--format", "csv").out.splitlines()[1:])
    assert name in row


def test_classes_in_csv_are_those_of_the_checkpoint(saved_checkpoint, write_photo, tmp_path, allmlp):
    outcome = allmlp("predict", saved_checkpoint, write_photo(tmp_path / "a.png"), "--format", "csv", "--top-k", 6)
    (_, row) = csv.reader(outcome.out.splitlines())
    assert sorted(row[1::2]) == sorted(["cat", "=dog", "[red]fox", "owl", "yak", "zebra"])


def test_a_dash_reads_one_photo_from_standard_input(saved_checkpoint, write_photo, tmp_path, allmlp):
    path = write_photo(tmp_path / "a.png")
    by_path = json.loads(allmlp("predict", saved_checkpoint, path, "--format", "json").out)
    by_bytes = json.loads(allmlp("predict", saved_checkpoint, "-", "--format", "json", stdin=path.read_bytes()).out)
    assert by_bytes == [{"path": "-", "predictions": by_path[0]["predictions"]}]


def test_no_photo_on_standard_input_exits_3(saved_checkpoint, allmlp):
    outcome = allmlp("predict", saved_checkpoint, "-", stdin=b"")
    assert outcome.code == 3
    assert "allmlp: -: the file is empty" in outcome.err


class Endless(io.RawIOBase):
    """Zeros up to far more than a photo may hold; counts those that were read."""

    num_read = 0

    def readable(self):
        return True

    def readinto(self, buffer):
        if self.num_read > 2 * MAX_PHOTO_BYTES:
            return 0
        buffer[:] = bytes(len(buffer))
        self.num_read += len(buffer)
        return len(buffer)


def test_of_an_endless_standard_input_no_more_than_a_photo_is_read(saved_checkpoint, monkeypatch, capsys):
    endless = Endless()
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BufferedReader(endless)))
    with pytest.raises(SystemExit) as stop:
        main(["predict", str(saved_checkpoint), "-"])
    assert stop.value.code == 3
    assert f"allmlp: -: the file has 200,000,001 bytes; the limit is {MAX_PHOTO_BYTES:,}" in capsys.readouterr().err
    assert endless.num_read < 1.1 * MAX_PHOTO_BYTES


@pytest.mark.skipif(os.name != "posix", reason="a POSIX shell")
@pytest.mark.parametrize(
    ("redirection", "reason"), [("<&-", "is closed"), ("0>out", "cannot be read (Bad file descriptor)")]
)
def test_without_a_readable_standard_input_the_other_photos_are_answered(
    redirection, reason, saved_checkpoint, write_photo, tmp_path
):
    write_photo(tmp_path / "a.png")
    outcome = shell(f'"$PYTHON" -m allmlp predict "$CHECKPOINT" - a.png {redirection}', saved_checkpoint, tmp_path)
    assert outcome.returncode == 3
    assert outcome.stdout.startswith("a.png  ")
    assert outcome.stderr.startswith(f"allmlp: -: standard input {reason}")
    assert "Traceback" not in outcome.stderr


@pytest.mark.skipif(os.name != "posix", reason="a POSIX shell")
def test_a_reader_that_leaves_early_ends_it_without_a_word(saved_checkpoint, write_photo, tmp_path):
    for index in range(300):  # more lines than a pipe holds
        write_photo(tmp_path / "photos" / f"{index}{'x' * 200}.png")
    command = '{ "$PYTHON" -m allmlp predict "$CHECKPOINT" photos --batch-size 1; echo $? >code; } | head -n 1'
    outcome = shell(command, saved_checkpoint, tmp_path)
    assert (len(outcome.stdout.splitlines()), outcome.stderr) == (1, "")
    assert (tmp_path / "code").read_text() == "141\n"


def shell(command, checkpoint, folder):
    environment = {**os.environ, "PYTHON": sys.executable, "CHECKPOINT": str(checkpoint)}
    return subprocess.run(
        ["sh", "-c", command], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )


@pytest.mark.skipif(os.name != "posix", reason="links of POSIX")
def test_paths_that_cannot_be_looked_at_are_named_and_the_others_answered(
    saved_checkpoint, write_photo, tmp_path, allmlp
):
    good = write_photo(tmp_path / "a.png")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    long = "x" * 5_000
    outcome = allmlp("predict", saved_checkpoint, tmp_path / "loop", long, "nul\0", "", good, "--format", "jsonl")
    assert outcome.code == 3
    assert paths_of(outcome, "jsonl") == [str(good)]
    for line, reason in zip(
        outcome.err.splitlines(),
        (
            f"{tmp_path / 'loop'}: this photo cannot be read: too many levels of symbolic links.",
            f"{long}: this photo cannot be read: file name too long.",
            "nul\\x00: this photo cannot be read: embedded null byte.",
            "The path of a photo is empty.",
            "4 of 5 could not be read",
        ),
        strict=True,
    ):
        assert reason in line


@pytest.mark.skipif(os.name != "posix", reason="links of POSIX")
def test_a_link_to_itself_inside_a_folder_is_skipped_by_name(saved_checkpoint, write_photo, tmp_path, allmlp):
    write_photo(tmp_path / "photos" / "a.png")
    (tmp_path / "photos" / "itself").symlink_to("itself")
    outcome = allmlp("predict", saved_checkpoint, tmp_path / "photos", "--format", "csv")
    assert outcome.code == 0
    assert f"{tmp_path / 'photos' / 'itself'}: skipped: too many levels of symbolic links." in outcome.err


def test_impossible_options_exit_2_before_the_checkpoint_is_read(allmlp):
    for options in (["--top-k", "0"], ["-"]):
        outcome = allmlp("predict", "no such checkpoint", "-", *options)
        assert outcome.code == 2
        assert outcome.out == ""


def test_an_impossible_batch_size_or_device_exits_2(saved_checkpoint, allmlp):
    for size in ("0", "1025"):
        outcome = allmlp("predict", saved_checkpoint, "x.png", "--batch-size", size)
        assert outcome.code == 2
        assert "'--batch-size'" in outcome.err
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


PHONE_FORMATS = Path(__file__).parents[2] / "cases" / "layouts" / "phone_formats.zip"


def test_photos_in_formats_that_are_not_read_are_named_and_count_as_failures(saved_checkpoint, tmp_path, allmlp):
    zipped = allmlp("predict", saved_checkpoint, PHONE_FORMATS)
    assert zipped.code == 3
    assert "this is a zip archive, not a photo that can be decoded. Unpack it, and give its folder." in zipped.err
    with zipfile.ZipFile(PHONE_FORMATS) as archive:
        archive.extractall(tmp_path / "phone")
    for name in (".DS_Store", "Thumbs.db", "._0.jpg", "notes.txt", "._p0.avif"):
        (tmp_path / "phone" / "leaf" / name).write_bytes(b"junk")
    (tmp_path / "phone" / "leaf" / "raw.CR2").write_bytes(b"II*\0\x10\0\0\0CR\2\0")
    outcome = allmlp("predict", saved_checkpoint, tmp_path / "phone", "--format", "jsonl")
    assert outcome.code == 3
    answered = [Path(path).name for path in paths_of(outcome, "jsonl")]
    assert len(answered) == 11
    assert {"web.jfif", "old.jpe"} <= set(answered)
    lines = outcome.err.splitlines()
    assert lines[-1] == "6 of 17 could not be read; all others are classified."
    assert sum("this is an AVIF image" in line for line in lines) == 4
    assert sum("this is a HEIC image" in line for line in lines) == 1
    assert sum("raw.CR2: this is a RAW photo of a camera" in line for line in lines) == 1
    assert len(lines) == 7


@pytest.mark.parametrize("name", ["IMG_0001", "photo.jpg_large", "scan.jpg.1", "upload.bin", "a.pjpeg"])
def test_a_photo_in_a_folder_is_answered_under_any_name(name, saved_checkpoint, write_photo, tmp_path, allmlp):
    folder = tmp_path / "photos"
    write_photo(folder / "a.png").rename(folder / name)
    for junk in ("notes.txt", "movie.MOV", "._IMG", ".hidden"):
        (folder / junk).write_bytes(b"\xff\xd8\xff" if junk[0] == "." else b"junk")
    outcome = allmlp("predict", saved_checkpoint, folder, "--format", "jsonl")
    assert outcome.code == 0
    assert [Path(path).name for path in paths_of(outcome, "jsonl")] == [name]


def test_a_photo_beyond_the_limit_is_read_if_the_limit_is_raised(saved_checkpoint, tmp_path, allmlp):
    Image.new("1", (7_200, 7_000)).save(tmp_path / "large.png")
    outcome = allmlp("predict", saved_checkpoint, tmp_path / "large.png")
    assert outcome.code == 3
    assert "the limit is 50,000,000. If you trust it, raise the limit: --max-megapixels 51" in outcome.err
    assert allmlp("predict", saved_checkpoint, tmp_path / "large.png", "--max-megapixels", 51).code == 0
    assert allmlp("predict", saved_checkpoint, tmp_path / "large.png").code == 3  # the limit holds for one command
    assert "expected an integer from 1 to 4,000" in allmlp("predict", "x", "y", "--max-megapixels", 0).err


@pytest.mark.parametrize("command", ["train", "finetune", "predict", "evaluate", "embed", "search"])
def test_every_command_that_decodes_photos_can_raise_the_limit(command, allmlp):
    assert "--max-megapixels" in allmlp(command, "--help").out
