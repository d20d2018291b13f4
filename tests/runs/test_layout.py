"""The names in a run folder and in a sweep."""

from pathlib import Path

import pytest

from allmlp.runs.layout import RunLayout, SweepLayout, snapshot_name, snapshot_step


@pytest.mark.parametrize("step", [0, 123, 999_999_999, 10**17])
def test_a_snapshots_name_gives_its_step_back(step: int) -> None:
    assert snapshot_step(snapshot_name(step)) == step


@pytest.mark.parametrize(
    "name", ["step-12", "step-0000000012", ".step-000000012.ab.part", "damaged-step-000000012", "x"]
)
def test_other_names_are_not_snapshots(name: str) -> None:
    assert snapshot_step(name) is None


def test_the_recipe_is_the_last_file_of_a_runs_description() -> None:
    run = RunLayout(Path("run"))
    assert run.description[-1] == run.recipe
    assert len(set(run.description)) == len(run.description) == 9


def test_a_checkpoints_run_is_found_from_the_run_its_checkpoints_and_each_of_their_files(tmp_path: Path) -> None:
    best = RunLayout(tmp_path).checkpoint("best")
    best.mkdir(parents=True)
    (best / "model.safetensors").write_bytes(b"")
    for checkpoint in (tmp_path, best.parent, best, best / "model.safetensors"):
        assert RunLayout(tmp_path) in RunLayout.around(checkpoint)
    (tmp_path / "other").mkdir()
    assert RunLayout(tmp_path) not in RunLayout.around(tmp_path / "other")


def test_a_sweep_lists_its_runs_only(tmp_path: Path) -> None:
    sweep = SweepLayout(tmp_path)
    for path in (sweep.run(0.01), sweep.run(1e-5), tmp_path / "other"):
        path.mkdir()
    sweep.scores.write_text("{}")
    (tmp_path / "lr-file").write_text("")
    assert sweep.runs() == [tmp_path / "lr-0.01", tmp_path / "lr-1e-05"]
