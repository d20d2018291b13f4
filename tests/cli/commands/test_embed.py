"""`allmlp embed`: what it writes is what `Embedder` gives."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from allmlp import Embedder
from allmlp.data import open_dataset

NAMES = ("cat", "emu", "gnu")  # not all of them the checkpoint's


@pytest.fixture
def data(tmp_path, write_photo):
    for split, number in (("train", 3), ("test", 2)):
        for name in NAMES:
            for index in range(number):
                write_photo(tmp_path / "data" / split / name / f"{index}.png", seed=len(split) * 100 + index)
    return tmp_path / "data"


def test_files_are_embedded_in_order_as_npz(saved_checkpoint, write_photo, tmp_path, allmlp):
    paths = [write_photo(tmp_path / f"{index}.png", index) for index in (2, 0, 1)]
    outcome = allmlp("embed", saved_checkpoint, *paths, "-o", tmp_path / "new" / "x.npz")
    assert (outcome.code, outcome.err) == (0, "")
    path = tmp_path / "new" / "x.npz"
    assert f"Wrote {path} ({path.stat().st_size / 1000:.1f} kB): 16 features of 3 photos, float32" in outcome.out
    with np.load(tmp_path / "new" / "x.npz") as written:
        assert sorted(written) == ["features", "paths"]
        np.testing.assert_array_equal(
            written["features"], Embedder.from_checkpoint(saved_checkpoint, device="cpu").embed(paths)
        )
        assert written["features"].dtype == np.float32
        assert written["paths"].tolist() == list(map(str, paths))


@pytest.mark.parametrize("split", ["train", "test"])
def test_a_split_is_embedded_with_its_labels(split, saved_checkpoint, data, tmp_path, allmlp):
    outcome = allmlp("embed", saved_checkpoint, data, "--split", split, "-o", tmp_path / "x.npz")
    assert (outcome.code, outcome.err) == (0, "")
    assert "labels of 3 classes" in outcome.out
    assert f"evaluate {saved_checkpoint} {data} --shots 1 " in outcome.out  # 3 photos of each class
    photos = open_dataset(data).splits[split]
    with np.load(tmp_path / "x.npz") as written:
        embedder = Embedder.from_checkpoint(saved_checkpoint, device="cpu")
        np.testing.assert_array_equal(written["features"], embedder.embed_split(photos))
        assert tuple(written["paths"]) == photos.sample_ids
        np.testing.assert_array_equal(written["labels"], photos.labels)
        assert tuple(written["class_names"]) == NAMES


def test_few_shot_is_not_offered_where_there_is_nothing_to_score(saved_checkpoint, data, tmp_path, allmlp):
    outcome = allmlp("embed", saved_checkpoint, data / "train", "--split", "train", "-o", tmp_path / "x.npz")
    assert outcome.code == 0 and "--shots" not in outcome.out


def test_parquet_holds_the_same(saved_checkpoint, data, tmp_path, allmlp):
    for name in ("x.npz", "x.parquet"):
        assert allmlp("embed", saved_checkpoint, data, "--split", "test", "-o", tmp_path / name).code == 0
    table = pq.read_table(tmp_path / "x.parquet")
    assert table.column_names == ["path", "label", "features"]
    assert str(table.schema.field("features").type).startswith("fixed_size_list<") and "[16]" in str(
        table.schema.field("features").type
    )
    with np.load(tmp_path / "x.npz") as written:
        np.testing.assert_array_equal(np.array(table["features"].to_pylist(), dtype=np.float32), written["features"])
        assert table["path"].to_pylist() == written["paths"].tolist()
        assert table["label"].to_pylist() == [NAMES[label] for label in written["labels"]]
    assert allmlp("embed", saved_checkpoint, data / "test", "-o", tmp_path / "files.parquet").code == 0
    files = pq.read_table(tmp_path / "files.parquet")
    assert files.column_names == ["path", "features"]
    assert files["features"].equals(table["features"])


@pytest.mark.parametrize("ending", ["npz", "parquet"])
def test_the_printed_line_reads_what_was_written(ending, saved_checkpoint, write_photo, tmp_path, allmlp):
    path = tmp_path / f"it's.{ending}"
    outcome = allmlp("embed", saved_checkpoint, write_photo(tmp_path / "a.png"), "-o", path)
    (line,) = (line.partition("  # ")[0] for line in outcome.out.splitlines() if "python -c" in line)
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"  # "python" is the one that runs the tests
    read = subprocess.run(
        ["sh", "-c", line], env=os.environ | {"PATH": path}, capture_output=True, text=True, check=True, timeout=60
    )
    assert "features" in read.stdout


@pytest.mark.parametrize("ending", ["npz", "parquet"])
def test_a_name_that_is_no_utf8_is_written(ending, saved_checkpoint, write_photo, tmp_path, allmlp):
    write_photo(tmp_path / "folder" / os.fsdecode(b"\xff.png"))
    path = tmp_path / f"x.{ending}"
    assert allmlp("embed", saved_checkpoint, tmp_path / "folder", "-o", path).code == 0
    if ending == "npz":
        with np.load(path) as written:
            (name,) = written["paths"].tolist()
        assert os.fsencode(name).endswith(b"\xff.png")
    else:
        assert pq.read_table(path)["path"].to_pylist()[0].endswith("\\udcff.png")


def test_bad_photos_are_named_and_the_others_written(saved_checkpoint, write_photo, tmp_path, allmlp):
    good = [write_photo(tmp_path / "a.png"), write_photo(tmp_path / "c.png")]
    (tmp_path / "b.jpg").write_text("a web page")
    outcome = allmlp("embed", saved_checkpoint, good[0], tmp_path / "b.jpg", good[1], "none", "-o", tmp_path / "x.npz")
    assert outcome.code == 3
    assert f"allmlp: {tmp_path / 'b.jpg'}: " in outcome.err
    assert f"2 of 4 could not be read; the features of all others are in {tmp_path / 'x.npz'}." in outcome.err
    with np.load(tmp_path / "x.npz") as written:
        assert written["paths"].tolist() == list(map(str, good))


def test_nothing_is_written_where_no_photo_can_be_read(saved_checkpoint, tmp_path, allmlp):
    outcome = allmlp("embed", saved_checkpoint, tmp_path / "none.png", "-o", tmp_path / "x.npz")
    assert outcome.code == 3
    assert "nothing was written" in outcome.err
    assert not (tmp_path / "x.npz").exists()


def test_a_bad_photo_of_a_split_is_named_and_nothing_written(saved_checkpoint, data, tmp_path, allmlp):
    for name in ("cat/1.png", "gnu/0.png"):
        (data / "test" / name).write_text("text")
    outcome = allmlp("embed", saved_checkpoint, data, "--split", "test", "-o", tmp_path / "x.npz")
    assert outcome.code == 3
    assert all(str(data / "test" / name) in outcome.err for name in ("cat/1.png", "gnu/0.png"))
    assert not (tmp_path / "x.npz").exists()


def test_the_nearest_photos_are_those_of_scikit_learn(saved_checkpoint, write_photo, tmp_path, monkeypatch):
    from sklearn.metrics.pairwise import cosine_similarity

    monkeypatch.chdir(tmp_path)
    paths = [str(write_photo(Path("photos") / f"{index}.png", index)) for index in range(9)]
    command = [sys.executable, "-m", "allmlp", "embed", str(saved_checkpoint)]
    outcome = subprocess.run(
        [*command, "photos/*.png", "--nearest", "./photos/4.png", "--top-k", "3"],
        capture_output=True,
        text=True,
        check=True,
        timeout=300,
    )
    features = Embedder.from_checkpoint(saved_checkpoint, device="cpu").embed(paths)
    expected = cosine_similarity(features[4:5], features)[0]
    best = [index for index in np.argsort(-expected) if index != 4][:3]
    rows = [line.split() for line in outcome.stdout.splitlines()[1:4]]
    assert rows == [[f"{expected[index]:.3f}", paths[index]] for index in best]
    assert "-o features.npz" in outcome.stdout


def test_the_nearest_photos_of_a_split_are_others_than_the_photo_itself(saved_checkpoint, data, write_photo, allmlp):
    write_photo(data / "train" / "emu" / "1.png", seed=7)
    outcome = allmlp(
        "embed", saved_checkpoint, data, "--split", "train", "--nearest", data / "train" / "cat" / "1.png", "--top-k", 9
    )
    assert outcome.code == 0, outcome.err
    rows = [line.split() for line in outcome.out.splitlines()[1:9]]
    assert sorted(path for _, path in rows) == sorted(
        f"{name}/{index}.png" for name in NAMES for index in range(3) if (name, index) != ("cat", 1)
    )
    assert rows[0] == ["1.000", "gnu/1.png"]  # a copy is another photo
    elsewhere = write_photo(data.parent / "elsewhere" / "cat" / "1.png", seed=8)
    outcome = allmlp("embed", saved_checkpoint, data, "--split", "train", "--nearest", elsewhere, "--top-k", 9)
    assert "cat/1.png" in outcome.out


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ([], "add -o FILE.npz, or --nearest PHOTO"),
        (["-o", "x.npz", "--top-k", "3"], "--top-k without --nearest would have no effect"),
        (["--nearest", "."], "--nearest .: a folder; expected one photo"),
    ],
)
def test_unusable_options_are_refused(options, words, saved_checkpoint, write_photo, tmp_path, monkeypatch, allmlp):
    monkeypatch.chdir(tmp_path)
    write_photo(Path("a.png"))
    outcome = allmlp("embed", saved_checkpoint, "a.png", *options)
    assert outcome.code == 2
    assert words in outcome.err


def test_a_photo_without_others_has_no_nearest_ones(saved_checkpoint, write_photo, tmp_path, allmlp):
    photo = write_photo(tmp_path / "a.png")
    outcome = allmlp("embed", saved_checkpoint, photo, "--nearest", photo)
    assert outcome.code == 3 and not outcome.out
    assert "there are no other photos to compare it with" in outcome.err


def test_an_existing_file_is_never_overwritten(saved_checkpoint, write_photo, tmp_path, allmlp):
    (tmp_path / "x.npz").write_text("mine")
    outcome = allmlp("embed", saved_checkpoint, write_photo(tmp_path / "a.png"), "-o", tmp_path / "x.npz")
    assert outcome.code == 2
    assert "this file exists, and nothing is overwritten" in outcome.err
    assert (tmp_path / "x.npz").read_text() == "mine"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["a.png", "-o", "x.csv"], ".npz or .parquet"),
        (["a.png", "-o", ""], "--out is empty"),
        (["a.png", "-o", "."], "features.npz"),
        (["-", "-", "-o", "x.npz"], "more than once"),
        (["a", "b", "--split", "test", "-o", "x.npz"], "2 were given"),
        (["clothing", "-o", "x.npz"], "clothing: a data set, not a photo"),
        (["photos.ZIP", "-o", "x.npz"], "--split train, validation or test"),
    ],
    ids=str,
)
def test_impossible_options_exit_2_before_the_checkpoint_is_read(arguments, words, tmp_path, monkeypatch, allmlp):
    monkeypatch.chdir(tmp_path)
    outcome = allmlp("embed", "no such checkpoint", *arguments)
    assert outcome.code == 2
    assert words in outcome.err


@pytest.mark.parametrize("output", ["mine.txt/x.npz", "mine.txt/new/x.npz", "link/x.npz", "/sys/new/x.npz"])
def test_an_output_that_cannot_be_written_is_found_before_the_checkpoint_is_read(output, tmp_path, monkeypatch, allmlp):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.txt").write_text("mine")
    (tmp_path / "link").symlink_to("nowhere")
    if output.startswith("/sys") and sys.platform != "linux":
        pytest.skip("needs a folder in which nobody can make files, not even root")
    outcome = allmlp("embed", "no such checkpoint", "a.png", "-o", output)
    assert outcome.code == 2
    assert outcome.err.startswith(f"allmlp: {output}: cannot be written to (")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["link", "mine.txt"]


def test_an_absent_split_exits_2(saved_checkpoint, data, tmp_path, allmlp):
    outcome = allmlp("embed", saved_checkpoint, data, "--split", "val", "-o", tmp_path / "x.npz")
    assert outcome.code == 2
    assert "It has: train, test." in outcome.err
