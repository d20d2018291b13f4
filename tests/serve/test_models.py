"""A served model: what it opens later is the model that answers, and its identity is of all that answers depend on."""

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.builders import tiny_checkpoint, unknown_rule

from allmlp import Checkpoint, export, open_model, save_checkpoint
from allmlp.errors import CheckpointError
from allmlp.serve import models as models_module
from allmlp.serve.models import ServedModel

NAMES = ("a", "b", "c")


def checkpoint_of(**changes: Any) -> Checkpoint:
    return tiny_checkpoint(**{"seed": 1, "num_classes": 3, "class_names": NAMES, **changes})


def served(source: Any) -> ServedModel:
    return ServedModel(source, backend="auto", device="cpu", precision="auto")


@pytest.mark.parametrize("change", [{"seed": 2}, {"class_names": NAMES[::-1]}])
@pytest.mark.parametrize("opening", ["open_features", "open_explain"])
def test_a_checkpoint_that_was_replaced_is_not_mixed_with_the_one_that_answers(
    opening: str, change: dict[str, Any], tmp_path: Path
):
    folder = save_checkpoint(checkpoint_of(), tmp_path / "checkpoint")
    model = served(folder)
    shutil.move(folder, tmp_path / "before")
    save_checkpoint(checkpoint_of(**change), folder)
    with pytest.raises(CheckpointError, match="has changed since the server started"):
        getattr(model, opening)()
    shutil.rmtree(folder)
    shutil.move(tmp_path / "before", folder)
    getattr(model, opening)()


def test_a_source_that_changes_while_it_is_opened_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    folder = save_checkpoint(checkpoint_of(), tmp_path / "checkpoint")

    def open_and_replace(source: Any, **options: Any) -> Any:
        opened = open_model(source, **options)
        shutil.rmtree(folder)
        save_checkpoint(checkpoint_of(seed=2), folder)
        return opened

    monkeypatch.setattr(models_module, "open_model", open_and_replace)
    with pytest.raises(CheckpointError, match="changed while it was opened"):
        served(folder)


def test_its_identity_is_of_all_that_answers_depend_on(tmp_path: Path):
    checkpoint = checkpoint_of()
    rule = unknown_rule(checkpoint.config.hidden_dim)
    colours = replace(checkpoint.preprocessing, mean=(0.1, 0.2, 0.3))
    others = [
        checkpoint_of(seed=2),
        checkpoint_of(class_names=NAMES[::-1]),
        checkpoint.replace(temperature=2.0),
        checkpoint.replace(unknown=rule),
        checkpoint.replace(unknown=replace(rule, threshold=-1.0)),
        checkpoint.replace(preprocessing=colours),
    ]
    found = [served(each).identity for each in (checkpoint, *others)]
    assert len(set(found)) == len(found)
    assert served(save_checkpoint(checkpoint, tmp_path / "checkpoint")).identity == found[0]
    assert served(checkpoint.replace(source="words about its origin")).identity == found[0]
    exported = export(checkpoint, to="onnx", out=tmp_path / "model.onnx")
    assert served(exported).info["weights_sha256"] == served(checkpoint).info["weights_sha256"]
