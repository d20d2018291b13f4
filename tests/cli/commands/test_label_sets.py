"""`allmlp evaluate --labels`: right is what is in the set, and an empty set does not count."""

import dataclasses
import json

import numpy as np
import pytest
import torch
from tests.builders import tiny_checkpoint
from timm.data.real_labels import RealLabelsImagenet

from allmlp import load_checkpoint, save_checkpoint
from allmlp.data import decode, label_names, synsets_of
from allmlp.inference import eager_forward

NUM_PHOTOS = 40


@pytest.fixture(scope="module")
def imagenet(tmp_path_factory):
    """A checkpoint of ImageNet's classes that tells photos apart by chance."""
    checkpoint = tiny_checkpoint(num_classes=1000, class_names=label_names("imagenet-1k"))
    return save_checkpoint(checkpoint, tmp_path_factory.mktemp("imagenet") / "saved")


@pytest.fixture
def photos(tmp_path, write_photo, imagenet):
    """val/<synset>/ILSVRC2012_val_........JPEG, each in the folder of its prediction or of another class, in turn."""
    checkpoint = load_checkpoint(imagenet)
    synsets, forward = synsets_of(checkpoint.class_names), eager_forward(checkpoint, device="cpu")
    logits = []
    for number in range(1, NUM_PHOTOS + 1):
        name = f"ILSVRC2012_val_{number:08}.JPEG"
        photo = decode(write_photo(tmp_path / name, number).read_bytes(), name=name)
        logits.append(forward(checkpoint.preprocessing(photo)[None])[0])
        synset = synsets[int(logits[-1].argmax()) if number % 2 else 7 + number % 3]
        (tmp_path / "val" / synset).mkdir(parents=True, exist_ok=True)
        (tmp_path / name).rename(tmp_path / "val" / synset / name)
    return tmp_path / "val", np.array(logits)


def test_real_accuracy_is_timms_and_stands_beside_the_original(photos, imagenet, tmp_path, allmlp):
    folder, logits = photos
    generator = np.random.default_rng(0)
    best = logits.argsort(axis=1)[:, ::-1]
    sets = [
        generator.choice(best[index, :12], generator.integers(0, 5), replace=False).tolist()
        for index in range(NUM_PHOTOS)
    ]
    path = tmp_path / "real.json"
    path.write_text(json.dumps(sets))
    oracle = RealLabelsImagenet([f"ILSVRC2012_val_{n:08}.JPEG" for n in range(1, NUM_PHOTOS + 1)], real_json=path)
    oracle.add_result(torch.from_numpy(logits))
    outcome = allmlp("evaluate", imagenet, folder, "--labels", path, "--json")
    assert (outcome.code, outcome.err) == (0, "")
    found = json.loads(outcome.out)
    assert found["num_examples"] == sum(map(bool, sets)) < NUM_PHOTOS
    assert 100 * found["top1"] == pytest.approx(oracle.get_accuracy(1))
    assert 100 * found["top5"] == pytest.approx(oracle.get_accuracy(5))
    plain = json.loads(allmlp("evaluate", imagenet, folder, "--json").out)
    assert plain["num_examples"] == NUM_PHOTOS
    assert found["original_top1"] == plain["top1"] == 0.5
    assert "original_top1" not in plain
    shown = allmlp("evaluate", imagenet, folder, "--labels", path).out
    assert f"{found['num_examples']} photos that have one" in shown
    assert f"({round(found['top1'] * found['num_examples'])} of {found['num_examples']}; 95% interval" in shown
    assert "own labels" in shown and "50.00%" in shown


def test_real_is_the_same_for_a_mixer_whose_classes_are_in_another_order(photos, imagenet, tmp_path, allmlp):
    folder, logits = photos
    (tmp_path / "real.json").write_text(json.dumps([[int(row.argmax())] for row in logits]))
    checkpoint = load_checkpoint(imagenet)
    names = tuple(sorted(checkpoint.class_names))  # as after training on imagenet
    order = [checkpoint.class_names.index(name) for name in names]
    weights = {
        name: weight[order] if name.startswith("head.") else weight for name, weight in checkpoint.weights.items()
    }
    save_checkpoint(dataclasses.replace(checkpoint, weights=weights, class_names=names), tmp_path / "ordered")
    folder = folder.rename(tmp_path / "photos")
    for synset in list(folder.iterdir()):
        synset.rename(folder / label_names("imagenet-1k")[synsets_of(label_names("imagenet-1k")).index(synset.name)])
    found = json.loads(
        allmlp("evaluate", tmp_path / "ordered", folder, "--labels", tmp_path / "real.json", "--json").out
    )
    assert (found["top1"], found["original_top1"]) == (1.0, 0.5)


def test_classes_of_the_photos_that_the_checkpoint_does_not_know_leave_the_original_score_away(
    photos, imagenet, tmp_path, allmlp
):
    folder, logits = photos
    for number, path in enumerate(sorted(folder.rglob("*.JPEG"))):
        (tmp_path / "data" / f"batch{number % 2}").mkdir(parents=True, exist_ok=True)
        path.rename(tmp_path / "data" / f"batch{number % 2}" / path.name)
    (tmp_path / "real.json").write_text(json.dumps([[int(row.argmax())] for row in logits]))
    command = ("evaluate", imagenet, tmp_path / "data", "--labels", tmp_path / "real.json")
    found = json.loads(allmlp(*command, "--json").out)
    assert (found["top1"], found["labels"]) == (1.0, str(tmp_path / "real.json"))
    assert "original_top1" not in found
    shown = allmlp(*command).out
    assert f"By label sets, on the {NUM_PHOTOS} photos that have one" in shown
    assert "own labels" not in shown
    assert allmlp("evaluate", imagenet, tmp_path / "data").code == 3


def test_names_of_classes_and_synsets_do_as_well(photos, imagenet, tmp_path, allmlp):
    folder, logits = photos
    names = label_names("imagenet-1k")
    synsets = synsets_of(names)
    forms = [names, synsets, range(1000)]
    entries = {
        f"ILSVRC2012_val_{index + 1:08}.JPEG": [forms[index % 3][int(row.argmax())]] for index, row in enumerate(logits)
    }
    (tmp_path / "sets.json").write_text(json.dumps(entries))
    found = json.loads(allmlp("evaluate", imagenet, folder, "--labels", tmp_path / "sets.json", "--json").out)
    assert found["top1"] == 1.0
    assert allmlp("evaluate", imagenet, folder, "--labels", tmp_path / "sets.json", "--min-top1", "1").code == 0


def test_bad_entries_exit_3_and_no_options_without_effect(photos, imagenet, tmp_path, allmlp):
    folder, _ = photos
    (tmp_path / "sets.json").write_text("{}")
    outcome = allmlp("evaluate", imagenet, folder, "--labels", tmp_path / "sets.json")
    assert outcome.code == 3
    assert f"{NUM_PHOTOS} entries" in outcome.err and f"and {NUM_PHOTOS - 3} more: no entry" in outcome.err
    outcome = allmlp("evaluate", imagenet, folder, "--labels", tmp_path / "sets.json", "--shots", "1")
    assert outcome.code == 2
    assert "--labels cannot be combined with --shots" in outcome.err
