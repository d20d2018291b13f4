"""CIFAR-10 from scratch: what the sentence may say of which photos, and that test photos are scored once."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
from tests.studies.contexts import SmallContext
from tests.training.small_runs import write_photos

from allmlp.data import open_dataset
from allmlp.errors import DataError
from allmlp.studies.drawing import to_png
from allmlp.studies.paper import cifar_stages
from allmlp.studies.paper.cifar_record import BASE, FINAL, PARTS, STUDY, THEIRS
from allmlp.studies.paper.cifar_stages import stages
from allmlp.studies.study import Arm, ArmResult, StudyOptions

_CIFAR10 = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]
_CIFAR100 = [
    *("aquarium_fish", "cockroach", "skyscraper", "sweet_pepper", "willow_tree"),
    *(f"class {number}" for number in range(95)),
]
_FULL = {"num_train": 50_000, "num_test": 10_000}


def _results(
    top1: float, *, num_seeds: int = 3, trials: dict[str, float] | None = None, **facts: Any
) -> list[ArmResult]:
    """Return results with this top-1; trials have 80 % on validation photos, or what `trials` says."""

    def figures(arm: Arm) -> dict[str, Any]:
        validation = (trials or {}).get(arm.name.removeprefix("trial: "), 0.8)
        cost = {"epochs": 72.0, "minutes": 60.0 + 2 * arm.seed, "parameters": 663_738}
        tested = (
            {"test_top1": top1 + 0.001 * (arm.seed - 1 if num_seeds == 3 else 0)} if arm.settings["is_tested"] else {}
        )
        return {"validation_top1": validation, **tested, **cost, **facts}

    return [ArmResult(arm, figures(arm)) for arm in STUDY.arms(StudyOptions(num_seeds=num_seeds))]


@pytest.mark.parametrize(
    ("facts", "record"),
    [
        ({"class_names": _CIFAR10, "num_test": 10_000}, "90.83"),  # of an old version
        ({"class_names": _CIFAR10, **_FULL}, "90.83"),
        ({"class_names": _CIFAR100, **_FULL}, "67.51"),
    ],
)
def test_the_record_is_that_of_the_photos_and_takes_three_seeds_to_pass(facts: dict[str, Any], record: str) -> None:
    passed = STUDY.agreement(_results(0.92, **facts))
    assert passed.count(f"the mean of 3 seeds, 92.00 ± 0.10 %, passes {record} % (1.13 M parameters, 300 epochs)") == 2
    above = STUDY.agreement(_results(0.92, num_seeds=2, **facts))
    assert above.count(f"is above {record} % (1.13 M parameters, 300 epochs), which takes 3 seeds to pass") == 2
    assert "passes" not in above
    unsure = STUDY.agreement(_results(float(record) / 100 + 0.0005, **facts))  # the seeds differ by 0.1 points
    assert unsure.count(f"is above {record} % (1.13 M parameters, 300 epochs), but not surely") == 2
    assert "passes" not in unsure
    missed = STUDY.agreement(_results(0.6, num_seeds=1, **facts))
    assert missed.count(f"the mean of 1 seed, 60.00 %, does not reach {record} %") == 2


@pytest.mark.parametrize(
    "facts",
    [
        {"class_names": ["a", "b"], "num_test": 10_000},
        {"class_names": _CIFAR10, "num_test": 50},
        {"class_names": _CIFAR10, "num_test": 10_000, "num_train": 500},
    ],
)
def test_other_photos_pass_nothing(facts: dict[str, Any]) -> None:
    results = _results(0.99, num_seeds=1, **facts)
    sentence = STUDY.agreement(results)
    assert sentence.startswith("These are not the photos of CIFAR-10 or CIFAR-100: nothing is passed or missed.")
    assert "the mean of 1 seed is 99.00 %" in sentence
    assert "90.83" not in sentence and "67.51" not in sentence
    assert _lines(results) == []


def test_photos_that_were_not_recorded_pass_nothing() -> None:
    """An old version stored no classes; the photos may have been any."""
    sentence = STUDY.agreement(_results(0.99))
    assert sentence.startswith("The photos were not recorded: nothing is passed or missed.")
    assert "passes" not in sentence and "90.83" not in sentence
    assert _lines(_results(0.99)) == []


def _lines(results: list[ArmResult]) -> list[str]:
    """Return the labels of the lines in the plot, by its panels; none may be in that of validation photos."""
    assert STUDY.figure is not None
    drawing = STUDY.figure(results)
    assert to_png(drawing).startswith(b"\x89PNG")
    validation, test = drawing.axes
    assert not validation.lines
    return [str(line.get_label()) for line in test.lines]


def test_the_line_of_the_record_is_in_the_plot_of_test_photos_and_has_a_label() -> None:
    assert _lines(_results(0.9, class_names=_CIFAR10, **_FULL)) == ["MLP-Mixer-CIFAR on CIFAR-10: 90.83 %"]
    assert _lines(_results(0.6, class_names=_CIFAR100, **_FULL)) == ["MLP-Mixer-CIFAR on CIFAR-100: 67.51 %"]


def test_the_sentence_has_the_cost_and_what_each_part_gains() -> None:
    facts: dict[str, Any] = {"precision": "bfloat16", "photos_seen": 3_584_000, "multiply_adds": 47_120_000}
    facts |= {"class_names": _CIFAR10, **_FULL}
    trials = {BASE: 0.87, "AdamW": 0.85, FINAL: 0.88, "Muon, weights not averaged": 0.865}
    sentence = STUDY.agreement(_results(0.9, trials=trials, **facts))
    assert (
        "With 0.66 M parameters, 47 M multiply-adds per photo, 3.58 M photos seen (72 epochs), 62 ± 2 minutes in bfloat16: "
        "the mean of 3 seeds, 90.00 ± 0.10 %, does not reach 90.83 %"
    ) in sentence
    assert f"{THEIRS}, for as many multiply-adds, 90.00 ± 0.10 %" in sentence
    assert "in points above 'Muon' (87.00 %): AdamW -2.00; Muon, weights not averaged -0.50" in sentence
    assert f"{FINAL} +1.00" in sentence
    assert sentence.endswith(f"The final arms have '{FINAL}', which was the best of them.")
    better = STUDY.agreement(_results(0.9, trials={**trials, "Muon, clean end": 0.885}, **facts))
    assert better.endswith(f"The final arms have '{FINAL}', although 'Muon, clean end' was better by 0.50.")


def test_results_of_the_earlier_version_are_read_and_say_that_trials_scored_the_test_photos() -> None:
    """It had one arm of the other code's settings, trials with test scores, and no such number of training photos."""
    old = [
        ArmResult(
            Arm(result.arm.name.replace(THEIRS, "AdamW"), {}, result.arm.seed), {"test_top1": 0.8, **result.figures}
        )
        for result in _results(0.9, class_names=_CIFAR10, num_test=10_000)
        if result.arm.name != f"0.66 M: {THEIRS}"
    ]
    sentence = STUDY.agreement(old)
    assert sentence.endswith("trials and stages before the last scored the test photos as well.")
    assert "does not reach 90.83 %" in sentence
    assert [row[7] for row in STUDY.table(old).rows if row[0].startswith("trial")] == [""] * len(PARTS)
    assert _lines(old) == ["MLP-Mixer-CIFAR on CIFAR-10: 90.83 %"]


def test_the_table_has_the_spread_of_the_minutes() -> None:
    table = STUDY.table(_results(0.9))
    assert {len(row) for row in table.rows} == {len(table.columns)}
    row = next(list(row) for row in table.rows if row[0] == f"0.66 M: {FINAL}")
    assert row == [f"0.66 M: {FINAL}", "0.66 M", "", "72", "62 ± 2", "", "80.00 ± 0.00", "90.00 ± 0.10", "3"]


def test_photos_without_a_test_split_are_refused_before_training(tmp_path: Path) -> None:
    write_photos(tmp_path / "photos", per_class=2)
    (tmp_path / "photos" / "test").rename(tmp_path / "photos" / "validation")
    context = SmallContext(tmp_path / "arm", open_dataset(str(tmp_path / "photos")))
    with pytest.raises(DataError, match="needs a test split next to the validation photos"):
        STUDY.run(STUDY.arms(StudyOptions())[0], context)
    assert not (tmp_path / "arm").exists()


def test_their_settings_are_trained_in_both_sizes_on_as_many_photos() -> None:
    arms = {arm.name: arm for arm in STUDY.arms(StudyOptions(num_seeds=1))}
    assert not [name for name in arms if "recipe" in name]
    for size in ("0.66 M", "1.13 M"):
        ours, theirs = (arms[f"{size}: {name}"].settings for name in (FINAL, THEIRS))
        assert ours["widths"] == theirs["widths"]
        assert ours["num_steps"] * ours["batch_size"] == theirs["num_steps"] * theirs["batch_size"]
        (recipe,) = stages(theirs, 0)
        assert (recipe.batch_size, recipe.ema_decay, recipe.augmentation.mix_probability) == (128, None, 0.5)
        assert (recipe.schedule.decay, recipe.schedule.final_fraction) == ("cosine", 1e-3)  # from 1e-3 to 1e-6
        optimizer = recipe.optimizer
        assert (optimizer.name, optimizer.learning_rate, optimizer.betas) == ("adamw", 1e-3, (0.9, 0.99))
        assert optimizer.clip_norm is None


def test_every_arm_has_recipes() -> None:
    for arm in STUDY.arms(StudyOptions()):
        for recipe in stages(arm.settings, arm.seed):
            is_distorted = arm.settings["rand_augment"] and recipe.name != "clean"
            assert recipe.augmentation.rand_augment_layers == (2 if is_distorted else 0)
            assert (recipe.ema_decay is None) == ("not averaged" in arm.name or THEIRS in arm.name)


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_photos(tmp_path_factory.mktemp("photos"), per_class=10)


def _small(name: str) -> Arm:
    """Return an arm of a tiny Mixer, with few steps of small batches."""
    arm = next(arm for arm in STUDY.arms(StudyOptions(num_steps=12)) if arm.name == name)
    widths = {"hidden_dim": 16, "tokens_mlp_dim": 8, "channels_mlp_dim": 24}
    return dataclasses.replace(arm, settings={**arm.settings, "batch_size": 8, "widths": widths})


@pytest.mark.parametrize("name", [f"0.66 M: {FINAL}", f"trial: {FINAL}"])
def test_an_arm_trains_its_stages_and_only_the_end_of_a_final_one_sees_test_photos(
    name: str, photos: Path, tmp_path: Path
) -> None:
    arm, context = _small(name), SmallContext(tmp_path, open_dataset(str(photos)))
    figures = STUDY.run(arm, context)
    assert json.loads(json.dumps(figures)) == figures
    recipes = stages(arm.settings, arm.seed)
    assert [recipe.name for recipe in recipes] == ["coarse", "fine", "clean"]
    assert figures["photos_seen"] == 8 * sum(recipe.num_steps or 0 for recipe in recipes)
    assert figures["epochs"] == round(figures["photos_seen"] / 27, 1)  # a tenth of 30 is held out
    assert (figures["num_train"], figures["num_test"]) == (30, 30)
    is_final = not name.startswith("trial")
    assert ("test_top1" in figures) is is_final
    for number, stage in enumerate(("coarse", "fine", "clean"), 1):
        folder = tmp_path / f"{number}-{stage}"
        expected = {"validation", "test"} if is_final and stage == "clean" else {"validation"}
        assert set(json.loads((folder / "metrics.json").read_text())["evaluations"]) == expected
        assert ("test" in json.loads((folder / "split.json").read_text())) is ("test" in expected)
    assert [line for line in context.lines if "top-1 on validation photos" in line]


def test_weights_whose_growth_was_interrupted_are_written_again(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arm, dataset = _small(f"trial: {FINAL}"), open_dataset(str(photos))
    whole = STUDY.run(arm, SmallContext(tmp_path / "whole", dataset))

    def interrupted(checkpoint: object, path: Path) -> None:
        path.mkdir()
        (path / "model.safetensors").write_bytes(b"half")
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(cifar_stages, "save_checkpoint", interrupted)
        with pytest.raises(KeyboardInterrupt):
            STUDY.run(arm, SmallContext(tmp_path / "stopped", dataset))
    resumed = STUDY.run(arm, SmallContext(tmp_path / "stopped", dataset))
    assert {**resumed, "minutes": 0} == {**whole, "minutes": 0}
