"""Running a study: arms once, continuing after a stop, what is written, and clear errors."""

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.forks import ROOT
from tests.same_bits import write_photos

from allmlp.errors import CheckpointError, ConfigError, DataError, MissingExtraError
from allmlp.studies import (
    STUDIES,
    Arm,
    ArmContext,
    ArmResult,
    Study,
    StudyOptions,
    Table,
    agreement_of,
    load_study,
    page_of,
    resume_study,
    run_study,
)
from allmlp.studies.folder import hold_folder
from allmlp.studies.opening import with_absolute_paths


class _Recorder:
    """A study without photos that records which arms it measured, and can be stopped in one."""

    def __init__(self, stop_in: str | None = None, value: int = 1) -> None:
        self.measured: list[tuple[str, int]] = []
        self.found_snapshots: list[str] = []
        self.stop_in, self.value = stop_in, value
        self.study = Study(
            name="recorded",
            title="A recorded study",
            claim="The paper says so.",
            outcome="It measured 1.",
            setup="Nothing is trained.",
            data="clothing",
            arms=self.arms,
            run=self.run,
            table=self.table,
            agreement=lambda results: f"The sum is {sum(result.figures['value'] for result in results)}.",
        )

    def arms(self, options: StudyOptions) -> list[Arm]:
        return [
            Arm(name, {"value": self.value, "num_steps": options.num_steps or 5}, seed)
            for seed in range(options.num_seeds or 2)
            for name in ("first | arm", "second arm")
        ]

    def run(self, arm: Arm, context: ArmContext) -> Mapping[str, Any]:
        if (context.folder / "snapshot").exists():
            self.found_snapshots.append(arm.name)
        if arm.name == self.stop_in:
            (context.folder / "snapshot").write_text("kept")
            raise KeyboardInterrupt
        self.measured.append((arm.name, arm.seed))
        return {"value": self.value}

    @staticmethod
    def table(results: Sequence[ArmResult]) -> Table:
        return Table(("arm", "value"), [(result.arm.name, str(result.figures["value"])) for result in results])


_OTHER_PHOTOS = "Run on other photos (6 training and 6 test photos of 3 classes), not on the study's own clothing."


def test_a_study_is_written_and_continued(tmp_path: Path) -> None:
    out = tmp_path / "out"
    stopped = _Recorder(stop_in="second arm")
    with pytest.raises(KeyboardInterrupt):
        run_study(stopped.study, out, report=str)
    assert stopped.measured == [("first | arm", 0)]
    assert [path.read_text() for path in out.glob("arms/*/snapshot")] == ["kept"]

    resumed = _Recorder()
    finished = resume_study(out, resumed.study, report=str)
    assert resumed.measured == [("second arm", 0), ("first | arm", 1), ("second arm", 1)]
    assert resumed.found_snapshots == ["second arm"]
    assert finished.agreement == "The sum is 4."
    assert not list(out.glob("arms/*/"))  # the working folders are gone
    result = json.loads((out / "result.json").read_text())
    assert result["environment"]["command"] == "allmlp study recorded"
    assert [(arm["name"], arm["seed"], arm["figures"]) for arm in result["arms"]][1] == ("second arm", 0, {"value": 1})
    page = (out / "recorded.md").read_text()
    assert "# A recorded study" in page
    assert "The paper says so. It measured 1." in page
    assert "The sum is 4." in page
    assert r"| first \| arm | 1 |" in page
    assert "Seeds: 0, 1." in page

    again = _Recorder()
    resume_study(out, again.study, report=str)
    assert again.measured == []


def test_changed_photos_are_noticed_only_while_arms_are_missing(tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    write_photos(photos, per_class=2)
    out = tmp_path / "out"
    options = StudyOptions(data=str(photos), num_seeds=1)
    with pytest.raises(KeyboardInterrupt):
        run_study(_Recorder(stop_in="second arm").study, out, options, report=str)
    file = next(path for path in photos.rglob("*.*") if path.is_file())
    content = file.read_bytes()
    file.unlink()
    with pytest.raises(DataError, match="not the photos with which the study"):
        resume_study(out, _Recorder().study, report=str)
    file.write_bytes(content)
    resume_study(out, _Recorder().study, report=str)
    shutil.rmtree(photos)
    assert resume_study(out, _Recorder().study, report=str).agreement == f"The sum is 2. {_OTHER_PHOTOS}"
    assert str(tmp_path) not in (out / "result.json").read_text()  # which others read
    assert "allmlp study recorded --seeds 1 --data PHOTOS" in (out / "recorded.md").read_text()


def test_a_study_continues_from_another_working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_photos(tmp_path / "photos", per_class=2)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        run_study(_Recorder(stop_in="second arm").study, "out", StudyOptions(data="photos", num_seeds=1), report=str)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    finished = resume_study(tmp_path / "out", _Recorder().study, report=str)
    assert finished.agreement == f"The sum is 2. {_OTHER_PHOTOS}"


def test_folders_of_named_photos_and_checkpoints_are_kept_by_absolute_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("mine").mkdir()
    for checkpoint, kept in (("mine", str(tmp_path / "mine")), ("starter", "starter"), ("b16-i21k", "b16-i21k")):
        assert with_absolute_paths(StudyOptions(checkpoint=checkpoint)).checkpoint == kept
    for data, kept in (
        ("cifar10:here", f"cifar10:{tmp_path}/here"),
        ("cifar10:here,pets,flowers102:there", f"cifar10:{tmp_path}/here,pets,flowers102:{tmp_path}/there"),
        ("cifar10:a,b", f"cifar10:{tmp_path}/a,b"),
        ("cifar10,pets", "cifar10,pets"),
        ("mine", str(tmp_path / "mine")),
        ("nowhere", "nowhere"),
    ):
        assert with_absolute_paths(StudyOptions(data=data)).data == kept


def test_an_arm_whose_settings_changed_is_measured_again(tmp_path: Path) -> None:
    run_study(_Recorder().study, tmp_path, StudyOptions(num_seeds=1), report=str)
    changed = _Recorder(value=2)
    finished = resume_study(tmp_path, changed.study, report=str)
    assert changed.measured == [("first | arm", 0), ("second arm", 0)]
    assert finished.agreement == "The sum is 4."


def test_what_an_arm_with_other_settings_left_is_not_used(tmp_path: Path) -> None:
    lines: list[str] = []
    for value, kept in ((1, []), (2, []), (2, ["second arm"])):
        recorder = _Recorder(stop_in="second arm", value=value)
        with pytest.raises(KeyboardInterrupt):
            resume_study(tmp_path, recorder.study, report=lines.append)
        assert recorder.found_snapshots == kept
    assert sum("has other settings" in line for line in lines) == 1


def test_used_folders_other_studies_and_damaged_files_are_named(tmp_path: Path) -> None:
    study = _Recorder().study
    run_study(study, tmp_path / "out", StudyOptions(num_seeds=1), report=str)
    with pytest.raises(ConfigError, match=r"not empty.*allmlp study recorded --resume"):
        run_study(study, tmp_path / "out", report=str)
    with pytest.raises(CheckpointError, match="this is study recorded, not permutations"):
        resume_study(tmp_path / "out", "permutations", report=str)
    with pytest.raises(CheckpointError, match=r"holds no study \(there is no study.json in it\)"):
        resume_study(tmp_path / "none", report=str)
    file = next((tmp_path / "out" / "arms").glob("*.json"))
    file.write_text("{")
    with pytest.raises(CheckpointError, match=rf"{file.name}: this file is damaged\. Delete it"):
        resume_study(tmp_path / "out", study, report=str)
    file.write_text('{"settings": {"value": 1}, "seed": 0, "figures": {}}')
    with pytest.raises(CheckpointError, match=rf"{file.name}: this file is damaged"):
        resume_study(tmp_path / "out", study, report=str)
    request = {"study": "recorded", "options": {}}
    for wrong in (
        {"study": 3},
        {"options": {"num_steps": "3"}},
        {"options": {"num_seeds": -1}},
        {"options": {"data": 1}},
        {"options": {"tasks": {"a": 1}}},
        {"options": {"tasks": ["a"]}},
    ):
        (tmp_path / "out" / "study.json").write_text(json.dumps(request | wrong))
        with pytest.raises(CheckpointError, match=r"study.json: this file cannot be read"):
            resume_study(tmp_path / "out", study, report=str)


def test_a_missing_library_and_unusable_photos_are_named_before_anything_is_written(tmp_path: Path) -> None:
    needy = replace(_Recorder().study, extras={"no_such_module": "studies"})
    with pytest.raises(
        MissingExtraError, match=r"Study recorded needs no_such_module: pip install 'allmlp\[studies\]'"
    ):
        run_study(needy, tmp_path / "out", report=str)
    with pytest.raises(DataError, match="nowhere"):
        run_study(_Recorder().study, tmp_path / "out", StudyOptions(data=str(tmp_path / "nowhere")), report=str)
    assert not (tmp_path / "out").exists()


def test_photos_without_a_test_split_or_of_one_class_are_refused_before_anything_is_written(tmp_path: Path) -> None:
    write_photos(tmp_path / "photos", per_class=2)
    shutil.rmtree(tmp_path / "photos" / "test")
    one_class = tmp_path / "one"
    for split in ("train", "test"):
        (one_class / split).mkdir(parents=True)
        shutil.copytree(next((tmp_path / "photos" / "train").iterdir()), one_class / split / "only")
    for source, message in (
        (tmp_path / "photos", "train split and a test split"),
        (one_class, "1 class; a study needs"),
    ):
        with pytest.raises(DataError, match=message):
            run_study(_Recorder().study, tmp_path / "out", StudyOptions(data=str(source)), report=str)
    assert not (tmp_path / "out").exists()


def test_a_file_and_a_folder_that_another_process_uses_are_refused(tmp_path: Path) -> None:
    study, file, out = _Recorder().study, tmp_path / "file", tmp_path / "out"
    file.write_text("kept")
    for path, message in ((file, "this is a file"), (file / "below", "is not writable"), (Path("a\0b"), "NUL")):
        with pytest.raises(ConfigError, match=message):
            run_study(study, path, report=str)
    assert file.read_text() == "kept"
    with pytest.raises(KeyboardInterrupt):
        run_study(_Recorder(stop_in="second arm").study, out, report=str)
    with hold_folder(out), pytest.raises(ConfigError, match="another process is running the study in this folder"):
        resume_study(out, study, report=str)
    assert resume_study(out, study, report=str).agreement == "The sum is 4."
    assert not (out / ".lock").exists()


def test_photos_for_a_study_without_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="study recorded takes no photos; omit --data"):
        run_study(replace(_Recorder().study, data=None), tmp_path / "out", StudyOptions(data="clothing"), report=str)


def _with_tasks(recorder: _Recorder) -> Study:
    return replace(recorder.study, tasks={"clothing": "clothing"})


def test_tasks_are_kept_by_absolute_path_and_named_without_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_photos(tmp_path / "photos", per_class=2)
    monkeypatch.chdir(tmp_path)
    options = StudyOptions(num_seeds=1, tasks={"colours": "photos", "clothes": "clothing"})
    with pytest.raises(KeyboardInterrupt):
        run_study(_with_tasks(_Recorder(stop_in="second arm")), "out", options, report=str)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    file = next((tmp_path / "photos" / "test").rglob("*.png"))
    content = file.read_bytes()
    file.unlink()
    with pytest.raises(DataError, match=r"photos: these are not the photos with which the study"):
        resume_study(tmp_path / "out", _with_tasks(_Recorder()), report=str)
    file.write_bytes(content)
    assert resume_study(tmp_path / "out", _with_tasks(_Recorder()), report=str).agreement == "The sum is 2."
    command = "allmlp study recorded --seeds 1 --task colours=PHOTOS --task clothes=clothing"
    assert f"    {command}\n" in (tmp_path / "out" / "recorded.md").read_text()
    assert str(tmp_path) not in (tmp_path / "out" / "result.json").read_text()


@pytest.mark.parametrize(
    ("tasks", "error", "message"),
    [
        ({"../up": "clothing"}, ConfigError, r"the name of a task is '\.\./up'; expected up to 40 letters"),
        ({"": "clothing"}, ConfigError, "the name of a task is ''"),
        ({}, ConfigError, "study recorded needs at least one task"),
        ({"mine": "nowhere"}, DataError, "nowhere: there is no such file or folder"),
    ],
)
def test_unusable_tasks_are_named_before_anything_is_written(
    tasks: dict[str, str], error: type[Exception], message: str, tmp_path: Path
) -> None:
    with pytest.raises(error, match=message):
        run_study(_with_tasks(_Recorder()), tmp_path / "out", StudyOptions(tasks=tasks), report=str)
    assert not (tmp_path / "out").exists()


def test_tasks_for_a_study_without_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="study recorded takes no tasks by name; omit --task"):
        run_study(_Recorder().study, tmp_path / "out", StudyOptions(tasks={"a": "clothing"}), report=str)


def test_other_steps_than_the_studys_own_are_stated(tmp_path: Path) -> None:
    finished = run_study(_Recorder().study, tmp_path, StudyOptions(num_seeds=1, num_steps=3), report=str)
    assert finished.agreement == "The sum is 2. Run with --steps 3, not with the study's own number of steps."
    assert finished.agreement in (tmp_path / "recorded.md").read_text()


def test_published_results_of_other_steps_say_so() -> None:
    for path in sorted((ROOT / "experiments" / "studies" / "results").glob("*.json")):
        result = json.loads(path.read_text())
        steps = result["options"]["num_steps"]
        words = f"Run with --steps {steps}, not with the study's own number of steps."
        for sentence in (result["agreement"], agreement_of(load_study(path.stem), result)):
            assert (words in sentence) == (steps is not None), path.name


def test_published_results_whose_photos_were_not_recorded_say_so() -> None:
    for path in sorted((ROOT / "experiments" / "studies" / "results").glob("*.json")):
        result, study = json.loads(path.read_text()), load_study(path.stem)
        is_unknown = study.data is not None and result.get("data") is None
        page = page_of(study, result, picture=None)
        assert ("The photos of this run were not recorded." in agreement_of(study, result)) == is_unknown, path.name
        assert ("**Here.** Which photos this run had was not recorded; what follows is" in page) == is_unknown, (
            path.name
        )


def test_a_page_does_not_claim_photos_that_an_old_version_did_not_record(tmp_path: Path) -> None:
    study = _Recorder().study
    run_study(study, tmp_path, StudyOptions(num_seeds=1), report=str)
    assert "**Here.** Nothing is trained.\n" in (tmp_path / "recorded.md").read_text()
    request = json.loads((tmp_path / "study.json").read_text())
    del request["data"]
    (tmp_path / "study.json").write_text(json.dumps(request))
    finished = resume_study(tmp_path, study, report=str)
    assert finished.agreement == "The sum is 2. The photos of this run were not recorded."
    page = (tmp_path / "recorded.md").read_text()
    assert finished.agreement in page
    words = "Which photos this run had was not recorded; what follows is the study with its own, clothing."
    assert f"**Here.** {words} Nothing is trained.\n" in page


def test_a_page_of_other_photos_says_so_before_it_describes_the_study(tmp_path: Path) -> None:
    write_photos(tmp_path / "photos", per_class=2)
    options = StudyOptions(data=str(tmp_path / "photos"), num_seeds=1)
    run_study(_Recorder().study, tmp_path / "out", options, report=str)
    words = "This run had other photos; what follows is the study with its own, clothing. Nothing is trained."
    assert f"**Here.** {words}\n" in (tmp_path / "out" / "recorded.md").read_text()


@pytest.mark.parametrize("name", STUDIES)
def test_every_study_describes_itself(name: str) -> None:
    study = load_study(name)
    assert study.name == name
    for text in (study.claim, study.outcome, study.setup):
        assert text.endswith(".")
    arms = study.arms(StudyOptions())
    assert len({(arm.name, arm.seed) for arm in arms}) == len(arms)
    for arm in arms:
        assert json.loads(json.dumps(dict(arm.settings))) == dict(arm.settings)


def test_an_unknown_study_is_named() -> None:
    with pytest.raises(ConfigError, match=r"unknown study 'permutation'\. Did you mean 'permutations'"):
        load_study("permutation")


def _edit_environments(out: Path, *changes: Mapping[str, str]) -> None:
    """Change the environments of the finished arms, in the order of their files, as if they had run elsewhere."""
    for path, change in zip(sorted((out / "arms").glob("*.json")), changes, strict=True):
        arm = json.loads(path.read_text())
        arm["environment"] |= change
        path.write_text(json.dumps(arm))


_H200 = {
    "device": "cuda (NVIDIA H200)",
    "instruction_sets": "avx2",
    "torch": "1.2.3",
    "commit": "elsewhere",
    "written": "2025-01-01 00:00:00 UTC",
}


def test_the_page_names_the_machine_of_the_arms_not_the_one_that_writes_it(tmp_path: Path) -> None:
    """The study began with --device cuda on another machine: this one needs none to write its page again."""
    run_study(_Recorder().study, tmp_path, StudyOptions(num_seeds=1), report=str)
    request = json.loads((tmp_path / "study.json").read_text())
    request["options"]["device"] = "cuda"
    (tmp_path / "study.json").write_text(json.dumps(request))
    _edit_environments(tmp_path, _H200, _H200)
    resume_study(tmp_path, _Recorder().study, report=str)
    assert (
        "Measured on cuda (NVIDIA H200) with avx2, torch 1.2.3; commit elsewhere."
        in (tmp_path / "recorded.md").read_text()
    )
    result = json.loads((tmp_path / "result.json").read_text())
    assert _H200.items() <= result["environment"].items()
    assert result["written_by"]["written"] > result["environment"]["written"]


def test_arms_of_several_machines_are_all_named_and_warned_of(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        run_study(_Recorder(stop_in="second arm").study, tmp_path, StudyOptions(num_seeds=1), report=str)
    _edit_environments(tmp_path, _H200)
    lines: list[str] = []
    resume_study(tmp_path, _Recorder().study, report=lines.append)
    (warning,) = [line for line in lines if line.startswith("warning")]
    assert "the arms so far were measured on cuda (NVIDIA H200), the others run on cpu (" in warning
    (line,) = [line for line in (tmp_path / "recorded.md").read_text().splitlines() if line.startswith("Measured on")]
    assert "cuda (NVIDIA H200) with avx2, torch 1.2.3 (1 arm); cpu (" in line
    assert "(1 arm); commit" in line


def test_resume_begins_a_study_that_is_not_there_yet_and_takes_the_options_again(tmp_path: Path) -> None:
    out, options = tmp_path / "new", StudyOptions(num_seeds=1, num_steps=3)
    first = _Recorder(stop_in="second arm")
    with pytest.raises(KeyboardInterrupt):
        resume_study(out, first.study, options, report=str)
    assert first.measured == [("first | arm", 0)]
    second = _Recorder()
    resume_study(out, second.study, options, report=str)
    assert second.measured == [("second arm", 0)]
    for other, words in (
        (StudyOptions(num_seeds=2), "--seeds cannot be changed"),
        (StudyOptions(num_steps=4, device="cpu"), "--steps, --device cannot be changed"),
        (StudyOptions(tasks={"a": "clothing"}), "--task cannot be changed"),
    ):
        with pytest.raises(ConfigError, match=f"{words} when a study is resumed"):
            resume_study(out, second.study, other, report=str)
    (tmp_path / "used").mkdir()
    (tmp_path / "used" / "file").touch()
    with pytest.raises(CheckpointError, match="holds no study"):
        resume_study(tmp_path / "used", second.study, report=str)


def test_photos_of_a_study_are_checked_before_anything_is_written_and_those_of_finished_arms_no_more(
    tmp_path: Path,
) -> None:
    checked: list[list[str]] = []

    def check(arms: Sequence[Arm], options: StudyOptions) -> None:
        checked.append([arm.name for arm in arms])
        if options.num_seeds == 3:
            raise DataError("unusable")

    study = replace(_Recorder(stop_in="second arm").study, check=check)
    with pytest.raises(DataError, match="unusable"):
        run_study(study, tmp_path / "out", StudyOptions(num_seeds=3), report=str)
    assert not (tmp_path / "out").exists()
    with pytest.raises(KeyboardInterrupt):
        run_study(study, tmp_path / "out", StudyOptions(num_seeds=1), report=str)
    resume_study(tmp_path / "out", replace(_Recorder().study, check=check), report=str)
    assert checked[1:] == [["first | arm", "second arm"], ["second arm"]]


def test_as_many_steps_as_the_studys_own_need_no_remark(tmp_path: Path) -> None:
    finished = run_study(_Recorder().study, tmp_path, StudyOptions(num_seeds=1, num_steps=5), report=str)
    assert finished.agreement == "The sum is 2."


def test_steps_for_a_study_without_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="study weights has no number of steps; omit --steps"):
        run_study("weights", tmp_path / "out", StudyOptions(num_steps=3), report=str)
    assert not (tmp_path / "out").exists()
