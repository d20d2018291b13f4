"""The temperature of a run: fitted on validation at its end, kept in its best checkpoint, the same after any kill."""

import dataclasses
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from tests.forks import run_python
from tests.training.same_run import assert_same_run
from tests.training.small_runs import TINY, write_photos

from allmlp import Embedder, load_checkpoint, train
from allmlp.cli.main import main
from allmlp.data import evaluation_batches, open_dataset, resized_images
from allmlp.inference import eager_forward
from allmlp.metrics import fit_temperature, held_out_closeness, score_batches

RECIPE = dataclasses.replace(TINY, num_epochs=2)


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """14 photos a class to train on, and as many to validate on and to test: enough to fit a temperature."""
    return write_photos(tmp_path_factory.mktemp("photos"), splits=("train", "val", "test"))


@pytest.fixture(scope="module")
def run(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train(RECIPE, photos, tmp_path_factory.mktemp("runs") / "run").directory


def outputs(run: Path, photos: Path, split: str) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the best checkpoint's logits and the labels, one-hot."""
    checkpoint, data = load_checkpoint(run), open_dataset(photos).splits[split]
    batches = list(
        evaluation_batches(
            resized_images(data, checkpoint.preprocessing), data.labels, checkpoint.preprocessing, num_classes=3
        )
    )
    forward = eager_forward(checkpoint, device="cpu")
    logits = [torch.from_numpy(forward(batch.images)[batch.mask]) for batch in batches]
    return torch.cat(logits), torch.cat([torch.from_numpy(batch.labels[batch.mask]) for batch in batches])


def test_the_best_checkpoint_keeps_most_validation_photos_known(run: Path, photos: Path) -> None:
    rule = load_checkpoint(run).unknown
    assert rule is not None
    assert (rule.score, rule.kept, rule.num_photos) == ("closeness", 0.95, 42)
    features = Embedder.from_checkpoint(run, device="cpu").embed_split(open_dataset(photos).splits["validation"])
    scores = held_out_closeness(features)
    assert (
        int((scores >= rule.threshold - 1e-6 * abs(rule.threshold)).sum()) == 41
    )  # the second lowest score is the threshold
    np.testing.assert_allclose(rule.matrix(features.shape[1])[0, :-1], features.mean(axis=0), atol=1e-6)
    assert load_checkpoint(run / "checkpoints" / "last").unknown is None


def test_copies_of_a_few_validation_photos_give_no_threshold(photos: Path, tmp_path: Path) -> None:
    shutil.copytree(photos, tmp_path / "photos")
    for folder in (tmp_path / "photos" / "val").iterdir():
        first, *others = sorted(folder.iterdir())
        for path in others:
            shutil.copy(first, path)
    run = train(dataclasses.replace(RECIPE, num_epochs=1), tmp_path / "photos", tmp_path / "run").directory
    assert load_checkpoint(run).unknown is None
    log = (run / "log.txt").read_text(encoding="utf-8")
    assert "unknown     no threshold: of 42 photos, fewer than 30 differ in what the model sees in them" in log


def test_the_best_checkpoint_has_the_temperature_of_validation(run: Path, photos: Path) -> None:
    temperature = load_checkpoint(run).temperature
    logits, labels = outputs(run, photos, "validation")
    assert temperature == fit_temperature(logits.numpy(), labels.numpy())
    assert temperature != 1.0
    assert load_checkpoint(run / "checkpoints" / "last").temperature == 1.0
    metrics = json.loads((run / "metrics.json").read_text())
    assert metrics["temperature"] == temperature
    for name in ("validation", "test"):
        logits, labels = outputs(run, photos, name)
        for suffix, divisor in (("", temperature), ("_as_trained", 1.0)):
            loss = torch.nn.functional.cross_entropy(logits.double() / divisor, labels.double())
            assert metrics["evaluations"][name][f"loss{suffix}"] == pytest.approx(float(loss), rel=1e-12)
        top1 = float((logits.argmax(dim=1) == labels.argmax(dim=1)).double().mean())
        assert metrics["evaluations"][name]["top1"] == pytest.approx(top1)
    validation = metrics["evaluations"]["validation"]
    assert validation["loss"] < validation["loss_as_trained"]
    assert "The logits are divided by the temperature" in (run / "report.html").read_text()


def test_evaluate_finds_what_the_run_found(run: Path, photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["evaluate", str(run), str(photos), "--json"])
    assert stop.value.code == 0
    found = json.loads(capsys.readouterr().out)
    written = json.loads((run / "metrics.json").read_text())["evaluations"]["test"]
    assert {name: found[name] for name in written} == written


@pytest.mark.parametrize("place", ["save_checkpoint", "write_run_report"])
def test_a_kill_about_the_temperature_is_no_harm(place: str, photos: Path, run: Path, tmp_path: Path) -> None:
    """Between its two files, and before the report; the run that is resumed ends with the same bits."""
    program = f"""
import os, sys
from pathlib import Path
from allmlp.io import atomic_write as files
from allmlp.training import finish, train
from tests.training.test_finish import RECIPE
def die(*_, **__): os._exit(9)
if {place!r} == "save_checkpoint":
    save = finish.save_checkpoint
    def save_and_die(*arguments):
        rename = files._rename
        def rename_and_die(old, new):
            rename(old, new)
            die()
        files._rename = rename_and_die
        save(*arguments)
    finish.save_checkpoint = save_and_die
else:
    finish.write_run_report = die
train(RECIPE, sys.argv[1], sys.argv[2], resume=True)
"""
    killed = tmp_path / "run"
    for _ in range(2):  # also as it ends for the second time
        assert run_python(program, photos, killed).returncode == 9
        assert not (killed / "metrics.json").exists()
        has_temperature = load_checkpoint(killed).temperature == load_checkpoint(run).temperature
        assert has_temperature == (place == "write_run_report")
    train(RECIPE, photos, killed, resume=True)
    assert_same_run(killed, run)


def test_a_run_that_goes_back_to_an_older_save_ends_with_the_same_temperature(
    photos: Path, run: Path, tmp_path: Path
) -> None:
    again = tmp_path / "run"
    recipe = dataclasses.replace(RECIPE, saving=dataclasses.replace(RECIPE.saving, every_steps=3, keep_every=3))
    train(recipe, photos, again)
    (again / "metrics.json").unlink()
    for path in (again / "resume").glob("step-*"):
        if path.name != "step-000000003":
            shutil.rmtree(path)
    train(recipe, photos, again, resume=True)
    assert_same_run(again, run)


def test_too_few_photos_fit_no_temperature(tmp_path: Path) -> None:
    data = write_photos(tmp_path / "data", per_class=9, splits=("train", "val"))
    result = train(dataclasses.replace(RECIPE, num_epochs=1), data, tmp_path / "run")
    assert load_checkpoint(result.directory).temperature == 1.0
    metrics = result.evaluations["validation"]
    assert (metrics.temperature, metrics.loss) == (1.0, metrics.loss_as_trained)
    batches = evaluation_batches(
        resized_images(open_dataset(data).splits["validation"], load_checkpoint(result.directory).preprocessing),
        open_dataset(data).splits["validation"].labels,
        load_checkpoint(result.directory).preprocessing,
        num_classes=3,
    )
    forward = eager_forward(load_checkpoint(result.directory), device="cpu")
    assert score_batches(forward, batches, ("blue", "green", "red")).to_dict() == metrics.to_dict()
