"""`allmlp check`: a table, JSON, a fix list, and an exit code that tells whether training would be hurt."""

import contextlib
import csv
import fcntl
import io
import json
import os
import pty
import re
import shutil
import struct
import subprocess
import sys
import termios

import pytest
from PIL import Image
from tests.data.quality.troubled import SOUND, TROUBLE, write


@pytest.fixture(autouse=True)
def cache_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("ALLMLP_HOME", str(tmp_path / "cache"))


def test_sound_photos_pass_and_the_next_command_trains(allmlp, tmp_path):
    folder = write(tmp_path / "photos", SOUND)
    outcome = allmlp("check", folder)
    assert outcome.code == 0
    assert "Nothing was found that would hurt training." in outcome.out
    assert f"allmlp finetune {folder}" in outcome.out
    assert ["hat", "6", "3"] in [line.split() for line in outcome.out.splitlines()]


def test_leaks_exit_with_3_and_name_files_reason_and_advice(allmlp, tmp_path):
    folder = write(tmp_path / "photos", SOUND, TROUBLE["duplicate-leak"]())
    outcome = allmlp("check", folder)
    assert outcome.code == 3
    assert "train/hat/0.jpg = test/hat/x.jpg" in outcome.out
    assert "why: the model has seen what it is scored on" in outcome.out
    assert "do:  keep it in one split" in outcome.out
    assert "--fix-list fixes.csv" in outcome.out


def test_the_suggested_fix_list_is_a_new_file(allmlp, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = write(tmp_path / "photos", SOUND, TROUBLE["duplicate-leak"]())
    (tmp_path / "fixes.csv").touch()
    (tmp_path / "fixes-2.csv").touch()
    assert "--fix-list fixes-3.csv" in allmlp("check", folder).out


def test_warnings_exit_with_0(allmlp, tmp_path):
    outcome = allmlp("check", write(tmp_path / "photos", SOUND, TROUBLE["duplicate"]()))
    assert outcome.code == 0
    assert "with the same bytes in one class (duplicate)" in outcome.out


def test_the_table_has_a_few_files_and_the_fix_list_and_json_have_all(allmlp, tmp_path):
    many = {f"train/hat/a{i}.jpg": b"no photo, number %d" % i for i in range(9)}
    folder = write(tmp_path / "photos", SOUND, many)
    fixes = tmp_path / "new" / "fixes.csv"
    outcome = allmlp("check", folder, "--fix-list", fixes)
    assert outcome.code == 3
    assert "... and 6 more" in outcome.out
    assert f"wrote   {fixes}" in outcome.out
    with fixes.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert {row["file"] for row in rows if row["finding"] == "unreadable"} == set(many)
    assert all(
        row["suggestion"].startswith("replace or remove them, or train with --bad-photos skip; ") for row in rows
    )
    outcome = allmlp("check", folder, "--json")
    assert outcome.code == 3
    (finding,) = json.loads(outcome.out)["findings"]
    assert {file for group in finding["groups"] for file in group} == set(many)


def test_reasons_are_whole_and_advice_is_given_once(allmlp, tmp_path):
    large = io.BytesIO()
    Image.new("1", (7_200, 7_000)).save(large, "PNG")
    files = {"train/hat/a.jpg": b"", "train/hat/b: c.jpg": b"<html>", "train/hat/d.png": large.getvalue()}
    folder = write(tmp_path / "photos", SOUND, files)
    outcome = allmlp("check", folder)
    assert "train/hat/a.jpg: the file is empty\n" in outcome.out
    assert "train/hat/b: c.jpg: this is a web page or XML, not a photo that can be decoded\n" in outcome.out
    assert "train/hat/d.png: it has 7200 x 7000 pixels; the limit is 50,000,000. If you trust it" in outcome.out
    assert "Replace or remove this file" not in outcome.out
    outcome = allmlp("check", folder, "--max-megapixels", 51)
    assert "2 photos cannot be read (unreadable)" in outcome.out


def test_printed_commands_keep_the_limit_of_pixels(allmlp, tmp_path):
    outcome = allmlp("check", write(tmp_path / "photos", SOUND), "--max-megapixels", 54)
    assert f"allmlp finetune {tmp_path / 'photos'} --max-megapixels 54" in outcome.out


def test_findings_are_counted_at_the_end(allmlp, tmp_path):
    planted = TROUBLE["unreadable"]() | {"train/hat/notes.txt": b"mine", "train/hat/more.txt": b"mine"}
    outcome = allmlp("check", write(tmp_path / "photos", SOUND, planted))
    assert "\n2 findings. Hurts training: 1. For your information: 1.\n" in outcome.out


def test_on_a_narrow_terminal_no_line_is_too_long_and_no_command_is_broken(tmp_path):
    heic = {"train/hat/IMG_1.HEIC": b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(200)}
    folder = write(tmp_path / "p", SOUND, TROUBLE["lacking-pixels"](), TROUBLE["imbalance"](), heic)
    outcome = on_a_terminal([sys.executable, "-m", "allmlp", "check", folder.name], columns=60, cwd=tmp_path)
    lines = re.sub(r"\x1b\[[0-9;]*[mK]|.*\r(?!\n)", "", outcome).splitlines()
    assert [line for line in lines if len(line) > 60 and not line.endswith("--fix-list fixes.csv")] == []
    for command in ("--bad-photos skip", "--balance", "pip install 'allmlp[heic]'"):
        assert sum(command in line for line in lines) > 0, command
    assert "  # write all files and what to do as a table" in lines


def on_a_terminal(command, *, columns, cwd):
    """Run a command on a terminal of this width, and return what it printed."""
    leader, follower = pty.openpty()
    fcntl.ioctl(follower, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
    environment = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES")}
    process = subprocess.Popen(command, stdin=follower, stdout=follower, stderr=follower, cwd=cwd, env=environment)
    os.close(follower)
    printed = b""
    with contextlib.suppress(OSError):  # the terminal is closed when the process has ended
        while chunk := os.read(leader, 65536):
            printed += chunk
    os.close(leader)
    process.wait()
    return printed.decode()


def test_folders_that_are_a_question_are_checked_as_chosen(allmlp, tmp_path):
    names = {
        "train/hat": "valid/may",
        "train/shoe": "valid/june",
        "test/hat": "invalid/may",
        "test/shoe": "invalid/june",
    }
    photos = {f"{names[path[: path.rindex('/')]]}{path[path.rindex('/') :]}": b for path, b in SOUND.items()}
    folder = write(tmp_path / "photos", photos)
    assert "Choose this with --classes-from ." in allmlp("check", folder).err
    outcome = allmlp("check", folder, "--classes-from", ".")
    assert outcome.code == 0
    assert "2 classes; train 18 photos" in outcome.out
    assert f"allmlp finetune {folder} --classes-from ." in outcome.out
    outcome = allmlp("check", folder, "--split-folders", "train=valid,test=invalid")
    assert "2 classes; train 12, test 6 photos" in outcome.out


@pytest.mark.parametrize("packed", [False, True], ids=["folder", "zip"])
def test_photos_outside_of_every_class_are_not_said_to_have_a_wrong_name(packed, allmlp, tmp_path):
    train = {path: content for path, content in SOUND.items() if path.startswith("train/")}
    data = write(tmp_path / "photos", train, {"test/1.jpg": SOUND["test/hat/0.jpg"]})
    if packed:
        data = shutil.make_archive(str(data), "zip", data)
    outcome = allmlp("check", data)
    assert outcome.code == 0
    assert "left out: test/ has no class folders, so its photos have no labels" in outcome.out
    assert "left-out" not in outcome.out


def test_nothing_is_overwritten(allmlp, tmp_path):
    fixes = tmp_path / "fixes.csv"
    fixes.write_text("mine")
    outcome = allmlp("check", write(tmp_path / "photos", SOUND), "--fix-list", fixes)
    assert outcome.code == 2
    assert "nothing is overwritten" in outcome.err
    assert fixes.read_text() == "mine"


def test_names_cannot_control_the_terminal(allmlp, tmp_path):
    outcome = allmlp("check", write(tmp_path / "photos", SOUND, {"train/hat/\x1b[31m.jpg": b"no photo"}))
    assert outcome.code == 3
    assert "\x1b" not in outcome.out
    assert r"\x1b[31m.jpg" in outcome.out


def test_each_note_on_the_data_set_is_printed_once(allmlp, tmp_path):
    folder = write(tmp_path / "photos", SOUND, TROUBLE["stray"](), {"extra/x.jpg": SOUND["train/hat/0.jpg"]})
    (folder / "notes.txt").write_text("mine")
    outcome = allmlp("check", folder)
    opening = (outcome.out + outcome.err).partition("class ")[0].splitlines()[1:]
    lines = [line for line in opening if line]
    assert any("ignored folders next to the splits: extra" in line for line in lines)
    assert all((outcome.out + outcome.err).count(line) == 1 for line in lines)
