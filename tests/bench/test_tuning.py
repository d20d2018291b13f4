"""Tuning with engines whose speed and answers are known, and a clock that only they advance."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from tests.builders import tiny_checkpoint

from allmlp import Checkpoint, RunnableModel
from allmlp.bench import random_checkpoint, tune
from allmlp.exports import open_export
from allmlp.inference import Backend, EngineSettings, Tuned, read_tuned, tuned_as
from allmlp.model import variant_config
from allmlp.quantisation import unjudged_int8

Answer = Callable[[NDArray[np.float32]], NDArray[np.float32]]


def same_answer(images: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.tile(np.array([1, 2, 3], np.float32), (len(images), 1))


class Machine:
    """The time, and engines that take a number of seconds per image."""

    def __init__(self) -> None:
        self.now = 0.0

    def clock(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds

    def engine(self, seconds: float, answer: Answer = same_answer) -> Backend:
        def forward(images: NDArray[np.float32]) -> NDArray[np.float32]:
            self.now += seconds * len(images)
            return answer(images)

        def open_it(*_: Any) -> RunnableModel:
            return RunnableModel(forward, tiny_checkpoint().description)

        sizes = [EngineSettings(largest_micro_batch=size) for size in (1, 2, 4, 8, 16)]
        return Backend(
            recognises=lambda _: True,
            open=open_it,
            precisions=("float32",),
            modules=("numpy",),
            settings=lambda _: sizes,
        )


@pytest.fixture
def engines(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> tuple[Machine, dict[str, Backend]]:
    machine, backends = Machine(), dict[str, Backend]()
    monkeypatch.setenv("ALLMLP_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr("allmlp.bench.tuning.BACKENDS", backends)
    monkeypatch.setattr("time.sleep", machine.sleep)
    return machine, backends


@pytest.fixture(scope="module")
def large() -> Checkpoint:
    return random_checkpoint(variant_config("B/16"), source="random")


@pytest.mark.parametrize("seconds", [0.01, 0.1, 0.25, 0.5, 1.0])
def test_a_large_mixer_is_tuned_in_under_a_minute(
    seconds: float, large: Checkpoint, engines: tuple[Machine, dict[str, Backend]]
) -> None:
    machine, backends = engines
    backends |= {f"engine {number}": machine.engine(seconds * (1 - number / 10)) for number in range(4)}
    found, _ = tune(large, clock=machine.clock)
    assert machine.now < 60
    assert "engine 0" in found and len(found) >= 2
    measured = list(found.values())
    assert measured == sorted(measured) == pytest.approx([seconds * (1 - int(name[-1]) / 10) for name in found])


def test_in_enough_time_there_are_rounds(large: Checkpoint, engines: tuple[Machine, dict[str, Backend]]) -> None:
    machine, backends = engines
    backends |= {"fast": machine.engine(0.001), "slow": machine.engine(0.002)}
    found, _ = tune(large, clock=machine.clock)
    assert list(found) == ["fast", "slow"]
    assert machine.now > 12 * 6 * 0.1  # twelve rounds of six finalists, with a pause before each turn


def test_a_lucky_trial_does_not_beat_rounds(
    large: Checkpoint, engines: tuple[Machine, dict[str, Backend]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where only the fastest settings of each engine get rounds, their other settings are out, whatever one trial said."""
    machine, backends = engines
    backends |= {"first": machine.engine(0.25), "second": machine.engine(0.2)}

    def rounds(calls: dict[str, Any], **_: Any) -> dict[str, list[float]]:
        assert len(calls) < 10  # of five settings for each
        return {label: [100.0] for label in calls}

    monkeypatch.setattr("allmlp.bench.tuning.alternated_rounds", rounds)
    found, _ = tune(large, clock=machine.clock)
    assert found["first"] == found["second"] > 10  # seconds per image: no trial takes as long


def test_logits_that_are_not_finite_are_nobodys_reference(
    large: Checkpoint, engines: tuple[Machine, dict[str, Backend]]
) -> None:
    machine, backends = engines
    lines: list[str] = []
    backends["broken"] = machine.engine(0.001, lambda images: np.full((len(images), 3), np.nan, np.float32))
    backends |= {"second": machine.engine(0.002), "third": machine.engine(0.002)}
    found, _ = tune(large, clock=machine.clock, report=lines.append)
    assert set(found) == {"second", "third"}
    assert "broken: left out. Its logits are not finite." in lines


@pytest.mark.parametrize(("num_changed", "is_kept"), [(2, True), (3, False)])
def test_int8_is_judged_by_the_classes_of_photos(
    num_changed: int, is_kept: bool, tmp_path: Path, engines: tuple[Machine, dict[str, Backend]]
) -> None:
    """Of 200 photos, 2 may get another class. The logits may differ by any amount: all of the others here have half of them."""
    machine, backends = engines
    checkpoint = tiny_checkpoint()
    pixels = np.random.default_rng(0).integers(0, 256, (2, *checkpoint.config.image_size, 3), dtype=np.uint8)
    path = tmp_path / "int8.onnx"
    path.write_bytes(unjudged_int8(checkpoint, pixels))
    seen: list[int] = []

    def other_answer(images: NDArray[np.float32]) -> NDArray[np.float32]:
        seen.append(len(images))
        logits = same_answer(images) / 2
        logits[:num_changed, 0] = 5
        return logits

    lines: list[str] = []
    backends |= {"first": machine.engine(0.002), "other": machine.engine(0.001, other_answer)}
    found, _ = tune(path, clock=machine.clock, report=lines.append)
    assert max(seen) == 200
    assert list(found) == (["other", "first"] if is_kept else ["first"])
    assert ("other: left out. It gives 1.5% of 200 photos another class." in lines) != is_kept
    assert isinstance(read_tuned(checkpoint.config, tuned_as(open_export(path).info)), Tuned)
