"""Functions that take a path: an object of another type is one short error, and a path in any form is a path."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.builders import tiny_checkpoint

import allmlp
from allmlp.data import read_label_sets
from allmlp.io.path_problem import path_text
from allmlp.recipes import RECIPES


class PathOf:
    def __init__(self, path: Any) -> None:
        self._path = path

    def __fspath__(self) -> Any:
        return self._path


DOORS: dict[str, Callable[[Any], object]] = {
    "open_dataset": allmlp.open_dataset,
    "check": allmlp.check,
    "evaluate": lambda value: allmlp.evaluate(tiny_checkpoint(), value),
    "load_checkpoint": allmlp.load_checkpoint,
    "open_model": allmlp.open_model,
    "push": lambda value: allmlp.push(value, "ann/mixer"),
    "push run": lambda value: allmlp.push(tiny_checkpoint(), "ann/mixer", run=value),
    "export": lambda value: allmlp.export(value, out="x.onnx"),
    "analyse_weights": allmlp.analyse_weights,
    "draw_weights": lambda value: allmlp.draw_weights(value, "x.png"),
    "draw_weights to": lambda value: allmlp.draw_weights(tiny_checkpoint(), value),
    "export to": lambda value: allmlp.export(tiny_checkpoint(), out=value),
    "verify_export": lambda value: allmlp.verify_export(value, tiny_checkpoint(), "clothing"),
    "verify_export of": lambda value: allmlp.verify_export("x.onnx", value, "clothing"),
    "save_checkpoint": lambda value: allmlp.save_checkpoint(tiny_checkpoint(), value),
    "train": lambda value: allmlp.train(RECIPES["photos64"](), "clothing", value),
    "finetune": lambda value: allmlp.finetune("clothing", value, recipe=RECIPES["finetune"]()),
    "finetune teacher": lambda value: allmlp.finetune("clothing", "run", teacher=value),
    "finetune photos": lambda value: allmlp.finetune(value, "run"),
    "labels": lambda value: read_label_sets(value, ["a.jpg"], {"cat": 0}, num_classes=1),
}
NEW_BY_DEFAULT = (
    "push run",
    "train",
    "finetune",
    "finetune teacher",
    "export to",
)  # None has a meaning
OTHERS = (None, 3, 10**5000, b"bytes", ["a"], {"a": 1}, object(), np.zeros(3), torch.zeros(3), PathOf(3), PathOf(None))


@pytest.mark.parametrize("door", DOORS)
def test_another_object_than_a_path_is_one_short_error(door: str) -> None:
    for value in OTHERS[1:] if door in NEW_BY_DEFAULT else OTHERS:
        with pytest.raises(allmlp.AllmlpError, match="expected a path") as caught:
            DOORS[door](value)
        assert len(str(caught.value)) < 400
        assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize("door", ["open_dataset", "check", "evaluate", "load_checkpoint", "open_model", "train"])
def test_a_path_of_a_million_characters_is_not_repeated(door: str) -> None:
    with pytest.raises(allmlp.AllmlpError) as caught:
        DOORS[door]("x" * 10**6)
    assert len(str(caught.value)) < 1000


def test_a_path_may_be_an_object_of_text_or_bytes(tmp_path: Path) -> None:
    assert path_text(PathOf("a")) == path_text(PathOf(b"a")) == path_text(Path("a")) == "a"
    assert path_text(PathOf(3)) is None
    saved = allmlp.save_checkpoint(tiny_checkpoint(), PathOf(os.fsencode(tmp_path / "x")))  # type: ignore[arg-type]
    assert allmlp.load_checkpoint(PathOf(str(saved))).config == tiny_checkpoint().config  # type: ignore[arg-type]
