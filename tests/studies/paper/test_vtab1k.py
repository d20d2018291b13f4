"""VTAB-1k on 1,000 photos of one task."""

import dataclasses
import json
from pathlib import Path

from tests.builders import tiny_checkpoint
from tests.studies.tasks.task_contexts import TaskContext
from tests.training.small_runs import write_photos

from allmlp.checkpoints import save_checkpoint
from allmlp.studies.paper.vtab1k import STUDY
from allmlp.studies.study import StudyOptions
from allmlp.studies.tasks.fine_tuning import fine_tune
from allmlp.studies.tasks.task import VTAB_1K


def test_a_task_is_trained_on_800_photos_and_then_on_1000(tmp_path: Path) -> None:
    write_photos(tmp_path / "tasks" / "svhn", per_class=334, splits=("train",))
    write_photos(tmp_path / "tasks" / "svhn", per_class=10, splits=("test",))
    save_checkpoint(tiny_checkpoint(), tmp_path / "mine")
    options = StudyOptions(data=str(tmp_path / "tasks"), num_steps=2, checkpoint=str(tmp_path / "mine"))
    (arm,) = STUDY.arms(options)
    context = TaskContext(tmp_path / "work", options)
    tasks = {"svhn": dataclasses.replace(VTAB_1K["svhn"], learning_rates=(0.01,))}  # of three, for the time
    figures = fine_tune(tasks, arm, context)
    assert (figures["num_train"], figures["num_held_out"], figures["num_test"]) == (1000, 200, 30)
    assert figures["is_drawn"]  # of 1,002
    assert figures["image_size"] == [16, 16]
    for run, expected in (("rates/lr-0.01", {"train": 800, "validation": 200}), ("last", {"train": 1000, "test": 30})):
        splits = json.loads((context.folder / run / "split.json").read_text())
        assert expected.items() <= {name: len(ids) for name, ids in splits.items()}.items()
    assert any("2 trainings of 2 steps: 2,048 photos are seen, of 1,000" in line for line in context.lines)


def test_every_task_has_one_training_per_rate_and_one_more() -> None:
    training = STUDY.full_scale[-1]
    assert training.command == "allmlp study vtab1k --data FOLDER --from l16-i21k"
    assert training.num_photos_seen == 19 * (3 + 1) * 2500 * 512
