"""The loop of the studies: exact resume, its schedule, and that networks learn."""

import contextlib
import signal
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from allmlp.errors import CheckpointError, DivergedError
from allmlp.studies.learning.fit import Schedule, augmented, fit, fit_once, predicted
from allmlp.studies.learning.networks import make_network
from allmlp.studies.learning.photos import LabelledPhotos, StudyPhotos
from allmlp.training import Stopped, StopSignal

_SCHEDULE = Schedule(num_steps=12, batch_size=8, num_scores=3, learning_rate=3e-3)
_WIDTHS = {"patch_size": 4, "num_blocks": 2, "hidden_dim": 16, "tokens_mlp_dim": 8, "channels_mlp_dim": 32}


def _photos(number: int = 60) -> StudyPhotos:
    """Return photos whose class is their brighter half."""
    draws = np.random.default_rng(0)
    labels = draws.integers(0, 2, number)
    images = draws.integers(0, 100, (number, 16, 16, 3))
    for image, label in zip(images, labels, strict=True):
        image[8 * label : 8 * label + 8] += 100
    photos = LabelledPhotos(images.astype(np.uint8), labels)
    return StudyPhotos(photos, photos, ["above", "below"])


def _network(kind: str = "mixer", seed: int = 0) -> nn.Module:
    widths = _WIDTHS if kind == "mixer" else {"layers": [1, 1], "widths": [8, 16]}
    return make_network(kind, seed=seed, image_size=(16, 16), num_classes=2, widths=widths)


@pytest.mark.parametrize("kind", ["mixer", "resnet"])  # the ResNet's batch norms have state of their own
@pytest.mark.parametrize("stopped_at", [1, 4, 11, 12])
def test_a_stopped_arm_continues_bit_for_bit(
    kind: str, stopped_at: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = _network(kind)
    expected = fit(whole, _photos(), _SCHEDULE, seed=3, folder=tmp_path, report=str)

    stop = StopSignal()
    with monkeypatch.context() as patch:
        patch.setattr("allmlp.studies.learning.fit.StopSignal", lambda: contextlib.nullcontext(stop))
        patch.setattr("allmlp.studies.learning.fit.augmented", _interrupting(stopped_at, stop))
        with pytest.raises(Stopped) as stopped:
            fit(_network(kind), _photos(), _SCHEDULE, seed=3, folder=tmp_path, report=str)
    assert stopped.value.exit_code == 143
    resumed = _network(kind, seed=9)  # whose weights the snapshot replaces
    actual = fit(resumed, _photos(), _SCHEDULE, seed=3, folder=tmp_path, report=str)

    assert actual["curve"] == expected["curve"]
    for name, tensor in whole.state_dict().items():
        assert torch.equal(tensor, resumed.state_dict()[name]), name


def _interrupting(step: int, stop: StopSignal):  # type: ignore[no-untyped-def]
    """Return `augmented` during which a signal comes in a training step, the `step`-th."""
    calls = 0

    def wrapper(images, draws, pad_pixels):  # type: ignore[no-untyped-def]
        nonlocal calls
        calls += draws is not None
        if calls == step and draws is not None:
            stop.received = signal.SIGTERM
        return augmented(images, draws, pad_pixels)

    return wrapper


def test_a_network_learns_what_can_be_seen(tmp_path: Path) -> None:
    network = _network()
    figures = fit(
        network, _photos(), Schedule(60, batch_size=16, learning_rate=3e-3), seed=0, folder=tmp_path, report=str
    )
    assert figures["top1"] >= 0.95
    assert [point["photos_seen"] for point in figures["curve"]] == [96 * number for number in range(1, 11)]
    assert figures["curve"][-1]["train_loss"] < figures["curve"][0]["train_loss"]


def test_seeds_differ_and_repeat(tmp_path: Path) -> None:
    losses = [
        fit(_network(), _photos(), _SCHEDULE, seed=seed, folder=tmp_path, report=str)["curve"][-1]["train_loss"]
        for seed in (0, 0, 1)
    ]
    assert losses[0] == losses[1] != losses[2]


def test_a_damaged_snapshot_is_named(tmp_path: Path) -> None:
    (tmp_path / "snapshot.safetensors").write_bytes(b"nonsense")
    with pytest.raises(CheckpointError, match=r"snapshot\.safetensors: this snapshot is damaged.*Delete it"):
        fit(_network(), _photos(), _SCHEDULE, seed=0, folder=tmp_path, report=str)


@pytest.mark.parametrize("kind", ["mixer", "resnet"])
def test_a_finished_training_is_not_repeated(kind: str, tmp_path: Path) -> None:
    trained, again = _network(kind), _network(kind, seed=9)
    folder = tmp_path / "new" / "folder"
    lines: list[str] = []
    expected = fit_once(trained, _photos(), _SCHEDULE, seed=3, folder=folder, report=lines.append)
    assert lines
    assert [path.name for path in folder.iterdir()] == ["finished.safetensors"]
    lines.clear()
    assert fit_once(again, _photos(), _SCHEDULE, seed=3, folder=folder, report=lines.append) == expected
    assert lines == []
    for name, tensor in trained.state_dict().items():
        assert torch.equal(tensor, again.state_dict()[name]), name


@pytest.mark.parametrize("damage", ["nonsense", "another network"])
def test_a_damaged_finished_training_is_named(damage: str, tmp_path: Path) -> None:
    if damage == "nonsense":
        (tmp_path / "finished.safetensors").write_bytes(b"nonsense")
    else:
        fit_once(_network("resnet"), _photos(), _SCHEDULE, seed=3, folder=tmp_path, report=str)
    with pytest.raises(CheckpointError, match=r"finished\.safetensors: this file is damaged, or of another network"):
        fit_once(_network(), _photos(), _SCHEDULE, seed=3, folder=tmp_path, report=str)


def test_the_schedule_warms_up_and_ends_near_zero() -> None:
    schedule = Schedule(num_steps=100)
    factors = [schedule.factor(step) for step in range(100)]
    assert factors[:5] == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0])
    assert factors[4:] == sorted(factors[4:], reverse=True)
    assert 0 < factors[-1] < 0.001
    assert schedule.score_steps() == list(range(10, 101, 10))
    assert Schedule(num_steps=3).score_steps() == [1, 2, 3]


def test_augmentation_moves_and_mirrors_whole_photos() -> None:
    image = np.zeros((1, 8, 8, 3), np.uint8)
    image[0, 3, 2] = 255  # far enough from the border that its reflection is out of sight
    places = set()
    for seed in range(200):
        moved = augmented(np.repeat(image, 3, axis=0), np.random.default_rng(seed), 1)
        assert moved.shape == (3, 3, 8, 8)
        places |= {tuple(map(int, place)) for photo in moved for place in np.argwhere(photo[0].numpy() > 0)}
    assert places == {(row, column) for row in (2, 3, 4) for column in (1, 2, 3, 4, 5, 6)}


def test_images_are_scaled_to_minus_one_and_one() -> None:
    images = np.array([[[[0, 127, 255]]]], np.uint8)
    assert augmented(images, None, None).flatten().tolist() == pytest.approx([-1, 127 / 127.5 - 1, 1])


def test_predictions_do_not_depend_on_training_mode() -> None:
    network = _network("resnet")
    images = _photos().train.images
    before = predicted(network.train(), images)
    assert np.array_equal(before, predicted(network.eval(), images))


def test_a_loss_that_is_not_finite_ends_the_training_at_its_step(tmp_path: Path) -> None:
    lines: list[str] = []
    schedule = Schedule(num_steps=12, batch_size=8, num_scores=12, learning_rate=1e37)
    with pytest.raises(DivergedError, match=r"training diverged: the .* at step [23]\."):
        fit_once(_network(), _photos(), schedule, seed=0, folder=tmp_path, report=lines.append)
    assert not any("nan" in line for line in lines)
    assert not list(tmp_path.iterdir())


def test_a_gradient_that_is_not_finite_changes_no_weights(tmp_path: Path) -> None:
    network = _network()
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    network.get_parameter("head.weight").register_hook(lambda gradient: gradient * torch.inf)
    with pytest.raises(DivergedError, match=r"the gradient norm is (nan|inf) at step 1"):
        fit(network, _photos(), _SCHEDULE, seed=0, folder=tmp_path, report=str)
    assert all(torch.equal(before[name], tensor) for name, tensor in network.state_dict().items())
