"""Which tasks are here: folders, files and public data sets; what is missing is missing, what is wrong is named."""

from pathlib import Path

import pytest
from tests.data.photo_sources import SPLIT, write_folder, write_zip

from allmlp.errors import ConfigError, DataError
from allmlp.studies.study import StudyOptions
from allmlp.studies.tasks.sources import find_label_sets, find_tasks, task_arms
from allmlp.studies.tasks.task import AVG_5, VTAB_1K


def test_tasks_are_sub_folders_and_files_with_their_names(tmp_path: Path) -> None:
    write_folder(tmp_path / "pets", SPLIT)
    write_zip(tmp_path / "cifar100.zip", SPLIT)
    (tmp_path / "flowers102.csv").write_bytes(b"not read")
    (tmp_path / "notes.txt").write_text("ignored")
    (tmp_path / "flowers").mkdir()
    found = find_tasks(str(tmp_path), list(AVG_5))
    assert found == {
        "cifar100": str(tmp_path / "cifar100.zip"),
        "pets": str(tmp_path / "pets"),
        "flowers102": str(tmp_path / "flowers102.csv"),
    }
    assert list(find_tasks(str(tmp_path), list(VTAB_1K))) == ["cifar100", "flowers102", "pets"]


def test_the_folders_of_public_data_sets_are_known(tmp_path: Path) -> None:
    (tmp_path / "cifar-10-batches-py").mkdir()
    (tmp_path / "oxford-iiit-pet").mkdir()
    (tmp_path / "train").mkdir()  # not ImageNet
    assert find_tasks(str(tmp_path), list(AVG_5)) == {"cifar10": f"cifar10:{tmp_path}", "pets": f"pets:{tmp_path}"}


def test_public_data_sets_are_taken_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALLMLP_DATA", str(tmp_path))
    assert find_tasks(None, list(AVG_5)) == {}
    (tmp_path / "cifar-10-batches-py").mkdir()
    (tmp_path / "cifar-10-batches-py" / "batches.meta").touch()
    assert find_tasks(None, list(AVG_5)) == {"cifar10": "cifar10"}
    assert find_tasks(f"cifar10:{tmp_path}", list(AVG_5)) == {"cifar10": f"cifar10:{tmp_path}"}
    with pytest.raises(
        DataError, match=r"pets: this data set is not on this machine(.|\n)*allmlp data pets --download"
    ):
        find_tasks("cifar10,pets", list(AVG_5))
    with pytest.raises(ConfigError, match=r"cifar10 is not a task here\. Did you mean 'cifar100'\?"):
        find_tasks("cifar10", list(VTAB_1K))


@pytest.mark.parametrize(
    ("data", "name"), [("pets,nope", "nope"), ("pets,", "an empty name"), ("pest,cifar10", "pest")]
)
def test_names_of_which_one_is_not_a_public_data_set_are_refused(data: str, name: str) -> None:
    with pytest.raises(ConfigError, match=rf"{data}: {name} is not a public data set\..*Expected some of .*cifar10"):
        find_tasks(data, list(AVG_5))


def test_an_empty_name_is_not_the_current_folder() -> None:
    with pytest.raises(DataError, match="a shell variable may be unset"):
        find_tasks("", list(AVG_5))


def test_folders_without_tasks_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"nowhere: there is no such folder.*The tasks are imagenet, cifar10"):
        find_tasks(str(tmp_path / "nowhere"), list(AVG_5))
    with pytest.raises(DataError, match=r"none of the tasks is in this folder.*imagenet\.zip"):
        find_tasks(str(tmp_path), list(AVG_5))
    (tmp_path / "pets.parquet").touch()
    with pytest.raises(
        DataError, match=r"pets.parquet: .* one split\. Make a folder pets with train.parquet and test.parquet"
    ):
        find_tasks(str(tmp_path), list(AVG_5))


def test_an_arm_has_the_rules_of_its_task(tmp_path: Path) -> None:
    for name in ("imagenet", "pets"):
        (tmp_path / name).mkdir()
    arms = task_arms(AVG_5, StudyOptions(data=str(tmp_path), num_seeds=2), num_seeds=1)
    assert [(arm.name, arm.seed) for arm in arms] == [("imagenet", 0), ("pets", 0), ("imagenet", 1), ("pets", 1)]
    assert arms[0].settings["num_steps"] == 20_000
    assert arms[1].settings["num_steps"] == 500
    assert arms[1].settings["learning_rates"] == [0.003, 0.01, 0.03, 0.06]
    assert arms[1].settings["checkpoint"] == "starter"
    assert not arms[0].settings["has_label_sets"]

    (tmp_path / "imagenet_real.json").write_text("[]")
    assert find_label_sets(str(tmp_path)) == tmp_path / "imagenet_real.json"
    options = StudyOptions(data=str(tmp_path), num_steps=7, checkpoint="b16-i21k")
    arms = task_arms(AVG_5, options, num_seeds=1)
    assert [arm.settings["has_label_sets"] for arm in arms] == [True, False]
    assert {arm.settings["num_steps"] for arm in arms} == {7}
    assert {arm.settings["checkpoint"] for arm in arms} == {"b16-i21k"}
    assert find_label_sets("pets") is None
    assert find_label_sets(None) is None


def test_the_rules_are_those_of_the_papers() -> None:
    """ViT (arXiv 2010.11929), table 4; BiT (arXiv 1912.11370), section 3.3 and supplement F; VTAB's groups."""
    assert {name: task.num_steps for name, task in AVG_5.items()} == {
        "imagenet": 20_000,
        "cifar10": 10_000,
        "cifar100": 10_000,
        "pets": 500,
        "flowers102": 500,
    }
    assert {task.learning_rates for task in AVG_5.values()} == {(0.003, 0.01, 0.03, 0.06)}
    assert {(task.num_steps, task.learning_rates) for task in VTAB_1K.values()} == {(2500, (0.003, 0.01, 0.03))}
    groups = [task.group for task in VTAB_1K.values()]
    assert [groups.count(group) for group in ("natural", "specialised", "structured")] == [7, 4, 8]
    no_flips = {"dsprites_orientation", "smallnorb_azimuth", "dsprites_location"}
    no_crops = {"clevr_count", "clevr_distance", "dmlab", "kitti_distance", "dsprites_location"}
    assert {name for name, task in VTAB_1K.items() if not task.flips} == no_flips
    assert {name for name, task in VTAB_1K.items() if not task.crops} == no_crops
    # 32 x 32, 32 x 32, 64 x 64, 64 x 64: under 96 x 96 pixels. Camelyon and SmallNORB have 96 x 96.
    small = {"cifar100", "svhn", "eurosat", "dsprites_location", "dsprites_orientation"}
    assert {name for name, task in VTAB_1K.items() if not task.has_large_images} == small
