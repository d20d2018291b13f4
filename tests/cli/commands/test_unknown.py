"""What commands do with a checkpoint's threshold of "unknown", and the command that fits it."""

import csv
import io
import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image
from tests.builders import tiny_checkpoint, unknown_rule

from allmlp import Embedder, Predictor, export, load_checkpoint, save_checkpoint


@pytest.fixture
def photos(tmp_path, write_photo, monkeypatch):
    """40 photos of two of the classes."""
    monkeypatch.chdir(tmp_path)
    for number, name in enumerate(("yak", "cat")):
        for index in range(20):
            write_photo(Path("photos") / name / f"{index:02}.png", seed=100 * number + index)
    return Path("photos")


def scores_of(source, photos):
    """Return the score of each photo by `unknown_rule`, by path: minus the squared length of its features."""
    files = sorted(photos.rglob("*.png"))
    features = Embedder.from_checkpoint(source).embed(files).astype(float)
    return dict(zip(map(str, files), -np.square(features).sum(axis=1), strict=True))


@pytest.fixture
def cautious(saved_checkpoint, photos, tmp_path):
    """A checkpoint that answers "unknown" for half of the photos."""
    threshold = float(np.median(list(scores_of(saved_checkpoint, photos).values())))
    checkpoint = load_checkpoint(saved_checkpoint)
    rule = unknown_rule(checkpoint.config.hidden_dim, threshold=threshold, kept=0.5)
    return save_checkpoint(checkpoint.replace(unknown=rule), tmp_path / "cautious")


def test_every_format_says_which_photos_are_unknown(cautious, photos, allmlp):
    threshold = load_checkpoint(cautious).unknown.threshold
    expected = {path: bool(value < threshold) for path, value in scores_of(cautious, photos).items()}
    assert sum(expected.values()) == 20
    found = {
        row["path"]: row["unknown"] for row in json.loads(allmlp("predict", cautious, photos, "--format", "json").out)
    }
    assert found == expected
    rows = csv.DictReader(io.StringIO(allmlp("predict", cautious, photos, "--format", "csv").out))
    assert {row["path"]: row["unknown"] == "true" for row in rows} == expected
    outcome = allmlp("predict", cautious, photos, "-o", "p.parquet")
    assert "40 photos, 20 of them unknown" in outcome.out
    table = pq.read_table("p.parquet").to_pydict()
    assert dict(zip(table["path"], table["unknown"], strict=True)) == expected
    lines = allmlp("predict", cautious, photos)
    assert {line.split()[0]: line.split()[1] == "unknown" for line in lines.out.splitlines()} == expected
    assert "20 of 40 are unknown." in lines.err
    answers = Predictor.from_checkpoint(cautious, device="cpu").predict("photos")
    assert {answer.source: answer.is_unknown for answer in answers} == expected
    assert any(repr(answer).count("unknown, else") for answer in answers)


def test_it_can_be_switched_off(cautious, saved_checkpoint, photos, allmlp):
    plain = allmlp("predict", saved_checkpoint, photos, "--format", "json").out
    assert allmlp("predict", cautious, photos, "--format", "json", "--no-unknown").out == plain
    assert "unknown" not in plain
    assert not any(
        answer.is_unknown
        for answer in Predictor.from_checkpoint(cautious, device="cpu", unknown=False).predict("photos")
    )


def test_unknown_goes_before_unsure_in_folders_and_on_the_sheet(cautious, photos, allmlp):
    options = ("--min-score", 1, "--sort-into", "sorted", "--sheet", "sheet.html", "--format", "json")
    rows = json.loads(allmlp("predict", cautious, photos, *options).out)
    assert all(row["unsure"] for row in rows)
    assert {path.name: len(list(path.iterdir())) for path in Path("sorted").iterdir()} == {"unknown": 20, "unsure": 20}
    page = Path("sheet.html").read_text()
    assert "20 photos are unknown: probably of none of the classes." in page
    assert page.index(">Unknown <") < page.index(">Unsure <")
    text = allmlp("predict", cautious, photos, "--min-score", 1).out
    assert {line.split()[1] for line in text.splitlines()} == {"unknown", "unsure"}


def test_explanations_say_it(cautious, photos, allmlp):
    files = sorted(photos.rglob("*.png"))[:6]
    predicted = json.loads(allmlp("predict", cautious, *files, "--format", "json", "--explain", "why").out)
    lines = [json.loads(line) for line in Path("why/explanations.jsonl").read_text().splitlines()]
    expected = {row["path"]: row["unknown"] for row in predicted}
    assert {line["photo"]: line.get("unknown", False) for line in lines} == expected
    assert 0 < sum(expected.values()) < 6
    assert Path("why/index.html").read_text().count("<h2>Unknown ") == sum(expected.values())
    allmlp("predict", cautious, *files, "--no-unknown", "--explain", "plain")
    assert "unknown" not in Path("plain/explanations.jsonl").read_text()
    assert "<h2>Unknown " not in Path("plain/index.html").read_text()


def test_an_export_answers_unknown_too(cautious, photos, tmp_path, allmlp):
    expected = json.loads(allmlp("predict", cautious, photos, "--format", "json").out)
    path = export(cautious, out=tmp_path / "mixer.onnx")
    found = json.loads(allmlp("predict", path, photos, "--format", "json").out)
    assert [row["unknown"] for row in found] == [row["unknown"] for row in expected]


def test_inspect_shows_it(cautious, saved_checkpoint, allmlp):
    assert json.loads(allmlp("inspect", cautious, "--json").out)["unknown"]["num_photos"] == 40
    assert json.loads(allmlp("inspect", saved_checkpoint, "--json").out)["unknown"] is None
    assert "fitted on 40 photos of its classes, of which 50% reach it" in allmlp("inspect", cautious).out


def test_convert_fits_it_on_photos_and_leaves_the_checkpoint_as_it_is(saved_checkpoint, photos, allmlp, write_photo):
    before = (saved_checkpoint / "config.json").read_bytes()
    outcome = allmlp("convert", saved_checkpoint, "new", "--to", "allmlp", "--unknown-from", photos, "--keep", 0.9)
    assert outcome.code == 0, outcome.err
    assert "predict answers it for photos unlike 90% of 40 photos of the classes" in outcome.out
    rule = load_checkpoint("new").unknown
    assert (rule.score, rule.kept, rule.num_photos) == ("closeness", 0.9, 40)
    assert (saved_checkpoint / "config.json").read_bytes() == before
    # New photos of the same kind stay known as intended, and one of another kind is unknown, from an export, too.
    for index in range(40):
        write_photo(Path("again") / f"{index:02}.png", seed=1000 + index)
    Image.new("RGB", (20, 24), "orange").save("again/other.png")
    for source in ("new", export("new", out=Path("mixer.onnx")), export("new", to="openvino", out=Path("mixer.xml"))):
        outcome = allmlp("predict", source, "again", "--format", "json")
        *same, other = json.loads(outcome.out)
        assert other["unknown"]
        assert 28 <= sum(not row["unknown"] for row in same) <= 40
        plain = json.loads(allmlp("predict", source, "again", "--format", "json", "--no-unknown").out)
        assert [row["predictions"] for row in plain] == [row["predictions"] for row in (*same, other)]


def test_what_convert_cannot_do_is_said(saved_checkpoint, photos, tmp_path, allmlp, write_photo):
    def error(*options):
        outcome = allmlp("convert", saved_checkpoint, "new", *options)
        assert outcome.code in (2, 3)
        assert not Path("new").exists()
        return outcome.err

    assert "only --to allmlp can hold the threshold" in error("--to", "google", "--unknown-from", photos)
    assert "--keep without --unknown-from" in error("--to", "allmlp", "--keep", 0.9)
    assert "--keep is 1.5; expected a share" in error("--to", "allmlp", "--keep", 1.5, "--unknown-from", photos)
    for index in range(5):
        write_photo(tmp_path / "few" / "cat" / f"{index}.png", seed=index)
    assert "5 photos are too few for a threshold; expected at least 30" in error(
        "--to", "allmlp", "--unknown-from", "few"
    )
    write_photo(tmp_path / "few" / "lion" / "0.png")
    assert "lion" in error("--to", "allmlp", "--unknown-from", "few")


def test_a_class_of_this_name_keeps_its_folder(photos, tmp_path, allmlp):
    checkpoint = tiny_checkpoint(class_names=("unknown", "unsure", "cat"))
    threshold = float(np.median(list(scores_of(checkpoint, photos).values())))
    rule = unknown_rule(checkpoint.config.hidden_dim, threshold=threshold)
    source = save_checkpoint(checkpoint.replace(unknown=rule), tmp_path / "names")
    outcome = allmlp("predict", source, photos, "--sort-into", "sorted", "--format", "json")
    rows = json.loads(outcome.out)
    num_unknown = sum(row["unknown"] for row in rows)
    assert num_unknown == 20
    assert len(list(Path("sorted/unknown (2)").iterdir())) == num_unknown
