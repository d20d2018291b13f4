"""The transfer study: what an arm does, continuing bit for bit in real processes, and what follows from the figures."""

import json
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.forks import run_allmlp, run_python
from tests.studies.contexts import BrightAndDark
from tests.training.small_runs import write_photos

from allmlp.errors import DataError, DivergedError
from allmlp.studies.drawing import to_png
from allmlp.studies.learning.fit import Schedule
from allmlp.studies.learning.networks import make_network
from allmlp.studies.paper.data_size import IMAGE_SIZE, NETWORKS
from allmlp.studies.paper.transfer import RATES, STUDY, lead
from allmlp.studies.study import Arm, ArmResult, StudyOptions
from allmlp.studies.tasks.transfer import read_transfer_photos, transfer

WIDTHS: Mapping[str, Mapping[str, Any]] = {
    "Mixer": {"patch_size": 8, "num_blocks": 1, "hidden_dim": 8, "tokens_mlp_dim": 4, "channels_mlp_dim": 16},
    "ViT": {"patch_size": 8, "hidden_dim": 8, "num_blocks": 1, "num_heads": 2},
    "ResNet": {"layers": [1], "widths": [4]},
}
MEASURED = {"core_hours", "minutes", "images_per_second"}


class _Context(BrightAndDark):
    """Pre-training photos of two classes, and the options of a user."""

    def __init__(self, folder: Path, options: StudyOptions) -> None:
        super().__init__(folder)
        self.options = options


def _small(arm: Arm) -> Arm:
    """Return an arm with a tiny network and small batches."""
    changed = {key: {**arm.settings[key], "batch_size": 8} for key in ("pretraining", "fine_tuning")}
    return replace(arm, settings={**arm.settings, **changed, "widths": dict(WIDTHS[arm.settings["network"]])})


@pytest.fixture(scope="module")
def tasks(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Two tasks of three colours; the second has a validation split, and too few photos for 5-shot."""
    root = tmp_path_factory.mktemp("tasks")
    write_photos(root / "many", per_class=15)
    write_photos(root / "few", per_class=2, splits=("train", "validation", "test"))
    return {name: str(root / name) for name in ("many", "few")}


@pytest.mark.parametrize("name", NETWORKS)
def test_an_arm_of_each_network(name: str, tasks: dict[str, str], tmp_path: Path) -> None:
    options = StudyOptions(num_seeds=1, num_steps=40, tasks=tasks)
    arm = next(_small(arm) for arm in STUDY.arms(options) if arm.settings["network"] == name)
    context = _Context(tmp_path, options)
    figures = STUDY.run(arm, context)
    assert json.loads(json.dumps(figures)) == figures
    assert (figures["photos"], figures["classes"]) == (120, 2)
    assert figures["epochs"] == round(40 * 8 / 120, 2)
    many, few = figures["tasks"]["many"], figures["tasks"]["few"]
    counts = ("num_train", "num_validation", "num_test", "num_classes")
    assert [many[key] for key in counts] == [36, 9, 45, 3]  # a fifth of the 45 is held out
    assert [few[key] for key in counts] == [9, 3, 6, 3]  # a fifth of 6 and 6 photos, rounded in each class
    assert many["few_shot"] > 0.5 and few["few_shot"] is None
    for task in (many, few):
        top1 = {each["learning_rate"]: each["top1"] for each in task["rates"]}
        assert list(top1) == sorted(RATES)
        best = [rate for rate in top1 if top1[rate] == max(top1.values())]
        assert task["learning_rate"] == min(best)
    assert [line for line in context.reports if "fine-tuning on" in line] == [
        f"  fine-tuning on {task}, 10 steps at each learning rate" for task in tasks
    ]


def test_an_unusable_task_is_named_before_pre_training(tasks: dict[str, str], tmp_path: Path) -> None:
    shutil.copytree(tasks["many"], tmp_path / "damaged")
    (tmp_path / "damaged" / "test" / "blue" / "00.png").write_bytes(b"nonsense")
    options = StudyOptions(num_seeds=1, num_steps=40, tasks={"damaged": str(tmp_path / "damaged")})
    context = _Context(tmp_path / "arm", options)
    with pytest.raises(DataError, match=r"00\.png"):
        STUDY.run(STUDY.arms(options)[0], context)
    assert context.reports == []


SIGNALLED = """
import os, sys
from allmlp.cli.main import main
from allmlp.studies.learning import fit

number, batch, *arguments = sys.argv[1:]
calls, augmented = 0, fit.augmented

def counted(images, draws, pad_pixels):
    global calls
    calls += draws is not None
    if draws is not None and calls == int(batch):
        os.kill(os.getpid(), int(number))
    return augmented(images, draws, pad_pixels)

fit.augmented = counted
main(["study", *arguments])
"""


def test_a_study_that_is_killed_and_stopped_ends_as_one_that_was_not(tasks: dict[str, str], tmp_path: Path) -> None:
    """Real networks; each arm has two steps of pre-training, and one of fine-tuning per learning rate."""
    write_photos(tmp_path / "photos", per_class=10)
    options = ("transfer", "--data", tmp_path / "photos", "--task", f"many={tasks['many']}", "--steps", 2, "--seeds", 1)
    whole = run_allmlp("study", *options, "--out", tmp_path / "whole")
    assert whole.returncode == 0, whole.stderr

    killed = run_python(SIGNALLED, 9, 4, *options, "--out", tmp_path / "out")  # in the second fine-tuning of the Mixer
    assert killed.returncode == -9
    (arm,) = (tmp_path / "out" / "arms").iterdir()
    assert (arm / "pre-training" / "finished.safetensors").exists()
    assert (arm / "task-many" / "rate-0.0003" / "finished.safetensors").exists()

    stopped = run_python(SIGNALLED, 15, 4, "--resume", tmp_path / "out")  # in the last step of the ViT's pre-training
    assert stopped.returncode == 143, stopped.stderr
    assert "Stopped. What is done so far is saved" in stopped.stderr
    resumed = run_allmlp("study", "--resume", tmp_path / "out")
    assert resumed.returncode == 0, resumed.stderr
    assert resumed.stderr.count("learning rate 0.0003") == 2  # the Mixer was finished before

    assert _without_times(tmp_path / "out") == _without_times(tmp_path / "whole")
    assert (tmp_path / "out" / "transfer.png").read_bytes() == (tmp_path / "whole" / "transfer.png").read_bytes()
    command = "allmlp study transfer --seeds 1 --steps 2 --data PHOTOS --task many=PHOTOS"
    assert f"    {command}\n" in (tmp_path / "out" / "transfer.md").read_text()
    assert str(tmp_path) not in (tmp_path / "out" / "result.json").read_text()


def _without_times(folder: Path) -> Any:
    def stripped(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: stripped(each) for key, each in value.items() if key not in MEASURED}
        return [stripped(each) for each in value] if isinstance(value, list) else value

    result = json.loads((folder / "result.json").read_text())
    return stripped([[arm["settings"], arm["figures"]] for arm in result["arms"]])


def _results(
    correct: Mapping[str, float], *, num_seeds: int = 3, noise: float = 0.0, num_test: int = 1000
) -> list[ArmResult]:
    """Return results in which the first of the test photos are classified correctly; odd seeds change the Mixer's share."""

    def figures(arm: Arm) -> dict[str, Any]:
        name, tasks = arm.settings["network"], {}
        for task in arm.settings["tasks"]:
            share = correct[name] + (noise * (-1) ** arm.seed if name == "Mixer" else 0.0)
            bits = np.arange(num_test) < round(num_test * share)
            tasks[task] = {
                "top1": float(bits.mean()),
                "correct": np.packbits(bits).tobytes().hex(),
                "few_shot": None if task == "b" else share - 0.1,
                "learning_rate": RATES[arm.seed % 2],
                "num_test": num_test,
            }
        facts = {"photos": 100_000, "classes": 200, "epochs": 1.15, "multiply_adds": 22_000_000, "top1": 0.2}
        return {**facts, "core_hours": 0.1, "tasks": tasks}

    options = StudyOptions(num_seeds=num_seeds, tasks={"a": "A", "b": "B"})
    return [ArmResult(arm, figures(arm)) for arm in STUDY.arms(options)]


@pytest.mark.parametrize(
    ("correct", "options", "verdict", "beaten"),
    [
        ({"Mixer": 0.6, "ViT": 0.5, "ResNet": 0.55}, {}, "Agrees with the paper", "both others"),
        ({"Mixer": 0.6, "ViT": 0.5, "ResNet": 0.61}, {}, "Agrees with the paper", "the ViT but not the ResNet"),
        ({"Mixer": 0.6, "ViT": 0.61, "ResNet": 0.5}, {}, "Agrees with the paper", "the ResNet but not the ViT"),
        ({"Mixer": 0.6, "ViT": 0.5, "ResNet": 0.63}, {}, "Does not agree", "the ViT but not the ResNet"),
        ({"Mixer": 0.6, "ViT": 0.63, "ResNet": 0.63}, {}, "Does not agree", "neither of the others"),
        ({"Mixer": 0.6, "ViT": 0.63, "ResNet": 0.5}, {"num_seeds": 1}, "Points the other way", "neither of the others"),
        # More than 4 points behind in the mean, by seeds that differ by 8.
        (
            {"Mixer": 0.58, "ViT": 0.6367, "ResNet": 0.5},
            {"noise": 0.04},
            "Points the other way",
            "the ResNet but not the ViT",
        ),
        # One seed says otherwise; the test photos are too few; there is one seed only.
        (
            {"Mixer": 0.6, "ViT": 0.58, "ResNet": 0.5},
            {"noise": 0.03},
            "Agrees with the paper",
            "the ResNet but not the ViT",
        ),
        ({"Mixer": 0.6, "ViT": 0.5, "ResNet": 0.5}, {"num_test": 10}, "Agrees with the paper", "neither of the others"),
        ({"Mixer": 0.6, "ViT": 0.5, "ResNet": 0.5}, {"num_seeds": 1}, "Points the same way", "neither of the others"),
    ],
)
def test_the_sentence_follows_from_the_figures(
    correct: dict[str, float], options: dict[str, Any], verdict: str, beaten: str
) -> None:
    sentence = STUDY.agreement(_results(correct, **options))
    assert sentence.startswith(f"{verdict}: the Mixer beats {beaten}. Its mean top-1 over a and b is ")
    assert f"({options.get('num_seeds', 3)} seed" in sentence
    assert "on 100,000 photos of 200 classes for 1.15 epochs" in sentence
    assert "took the Mixer 0.1, the ViT 0.1 and the ResNet 0.1 core-hours." in sentence


def test_a_lead_is_paired_by_seed_and_by_photo() -> None:
    """The oracle is the definition: in each task, 100 of 1,000 photos are classified correctly by the Mixer only."""
    results = _results({"Mixer": 0.6, "ViT": 0.5, "ResNet": 0.6})
    ahead = lead(results, "ViT", ["a", "b"])
    assert ahead.by_seed == pytest.approx([0.1] * 3)
    per_photo = np.repeat([0.0, 1.0, 0.0], [500, 100, 400])
    one_task = per_photo.std(ddof=1) / np.sqrt(1000)
    assert lead(results, "ViT", ["a"]).error == pytest.approx(one_task)
    assert ahead.error == pytest.approx(one_task / np.sqrt(2))
    assert ahead.is_clear
    same = lead(results, "ResNet", ["a", "b"])
    assert (same.by_seed, same.error, same.is_clear) == (pytest.approx([0.0] * 3), 0.0, False)


def test_table_and_plot() -> None:
    results = _results({"Mixer": 0.6, "ViT": 0.5, "ResNet": 0.55})
    table = STUDY.table(results)
    assert [(row[0], row[1]) for row in table.rows] == [
        (task, network) for task in ("a", "b", "mean of the tasks") for network in NETWORKS
    ]
    assert {len(row) for row in table.rows} == {len(table.columns)}
    first = [
        "a",
        "ViT",
        "22 M",
        "0.1",
        "20.0 ± 0.0",
        "0.0003, 0.001",
        "40.0 ± 0.0",
        "50.0 ± 0.0",
        "+10.0 ± 0.0",
        "0.9",
        "1,000",
    ]
    assert [*first, "3"] in [list(row) for row in table.rows]
    assert next(row[6] for row in table.rows if row[0] == "b") == ""
    assert STUDY.figure is not None
    assert to_png(STUDY.figure(results)).startswith(b"\x89PNG")
    alone = [result for result in results if result.arm.seed == 0]
    assert to_png(STUDY.figure(alone)).startswith(b"\x89PNG")


def test_all_networks_have_the_same_budget_and_choice() -> None:
    arms = STUDY.arms(StudyOptions(tasks={"a": "A"}))
    assert [(arm.name, arm.seed) for arm in arms] == [(name, seed) for seed in range(3) for name in NETWORKS]
    fixed = [
        {key: arm.settings[key] for key in arm.settings if key not in ("network", "kind", "widths")} for arm in arms
    ]
    assert all(settings == fixed[0] for settings in fixed)
    assert (fixed[0]["learning_rates"], fixed[0]["tasks"]) == (list(RATES), ["a"])
    assert "A" not in json.dumps(fixed[0]["tasks"])  # paths mean nothing to others
    assert IMAGE_SIZE == (32, 32)


def test_a_learning_rate_that_diverges_is_left_out(tasks: dict[str, str], tmp_path: Path) -> None:
    network = make_network("mixer", seed=0, image_size=IMAGE_SIZE, num_classes=2, widths=WIDTHS["Mixer"])
    photos = read_transfer_photos(tasks["many"], IMAGE_SIZE, held_out=0.2)
    schedule = Schedule(num_steps=10, batch_size=8, num_scores=1)
    lines: list[str] = []
    figures = transfer(network, photos, schedule, (1e37, 1e-3), seed=0, folder=tmp_path, report=lines.append)
    assert figures["learning_rate"] == 1e-3
    assert [(each["learning_rate"], each["top1"] is None) for each in figures["rates"]] == [(1e-3, False), (1e37, True)]
    assert json.loads(json.dumps(figures)) == figures
    assert any("training diverged" in line for line in lines)
    with pytest.raises(DivergedError, match=r"training diverged at every learning rate \(1e\+37\)"):
        transfer(network, photos, schedule, (1e37,), seed=0, folder=tmp_path / "other", report=str)
