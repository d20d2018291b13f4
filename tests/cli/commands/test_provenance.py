"""`predict` and `evaluate` say which photos the model was trained on, whatever the photos are called."""

import json
from pathlib import Path

import pytest
from tests.training.small_runs import TINY, write_photos

from allmlp import train


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("provenance")
    write_photos(root / "photos", per_class=6)
    train(TINY, root / "photos", root / "run")
    return root


def test_predict_says_which_photos_were_trained_on(folder, tmp_path, allmlp):
    train_ids = json.loads((folder / "run" / "split.json").read_text())["train"]
    for number, sample_id in enumerate(train_ids[:4]):
        (tmp_path / f"renamed {number}.png").write_bytes((folder / "photos" / "train" / sample_id).read_bytes())
    test_photo = folder / "photos" / "test" / "red" / "00.png"
    (tmp_path / "new.png").write_bytes(test_photo.read_bytes())
    outcome = allmlp("predict", folder / "run", tmp_path, "--format", "json")
    assert outcome.code == 0 and len(json.loads(outcome.out)) == 5
    assert "The model was trained on 4 of these photos, known by their content: " in outcome.err
    assert "renamed 0.png" in outcome.err and "new.png" not in outcome.err
    outcome = allmlp("predict", folder / "run" / "checkpoints" / "best", tmp_path / "new.png")
    assert outcome.code == 0 and "trained on" not in outcome.err


def test_evaluate_says_how_many_photos_were_trained_on(folder, tmp_path, allmlp):
    outcome = allmlp("evaluate", folder / "run", folder / "photos", "--split", "train", "--device", "cpu")
    assert outcome.code == 0
    assert "The model was trained on 15 of these 15 photos, known by their content" in outcome.out
    outcome = allmlp("evaluate", folder / "run", folder / "photos", "--split", "test", "--json", "--device", "cpu")
    assert json.loads(outcome.out)["num_trained_on"] == 0
