"""The qualities of fine-tuning in Python: the settings, refusals and costs of `finetune --quality`."""

import re
from pathlib import Path
from typing import get_args

import pytest
from tests.training.small_runs import write_few_photos
from tests.training.test_cross_validation import Messages

import allmlp
from allmlp.cli import quality as cli_quality
from allmlp.errors import CheckpointError, ConfigError
from allmlp.recipes import QUALITIES, Quality, load_recipe, quality_settings
from allmlp.training import with_settings

NOT_GIVEN: dict[str, object] = {"checkpoint": None, "trained_blocks": None}


@pytest.fixture
def photos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of photos, an empty cache, and no network."""
    monkeypatch.setenv("ALLMLP_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("ALLMLP_OFFLINE", "1")
    return write_few_photos(tmp_path / "photos", (5, 5))


def test_the_words_are_those_of_the_command() -> None:
    assert get_args(Quality) == get_args(cli_quality.Quality) == tuple(QUALITIES)


@pytest.mark.parametrize("quality", QUALITIES)
def test_the_settings_of_a_quality_are_valid(quality: Quality) -> None:
    settings = quality_settings(quality, instead_of=NOT_GIVEN, keys=())
    recipe = with_settings(load_recipe("finetune"), [f"{key}={value}" for key, value in settings.items()])
    assert recipe.transfer.checkpoint == ("starter" if quality == "fast" else "b16-i21k")
    assert recipe.transfer.trained_blocks == (0 if quality == "balanced" else None)


def test_the_batches_of_the_user_are_not_divided() -> None:
    assert "accumulation" not in quality_settings("best", instead_of=NOT_GIVEN, keys=["batch_size=7"])


def test_invalid_qualities_are_refused(photos: Path, tmp_path: Path) -> None:
    with pytest.raises(
        ConfigError, match=r"unknown quality 'balance'\. Did you mean 'balanced'\? Expected one of fast, "
    ):
        allmlp.finetune(photos, tmp_path / "run", quality="balance")  # type: ignore[arg-type]
    with pytest.raises(
        ConfigError, match="quality fast and trained_blocks 0: a quality decides what a run starts from"
    ):
        allmlp.finetune(photos, tmp_path / "run", quality="fast", trained_blocks=0)
    with pytest.raises(ConfigError, match=r"set twice: transfer\.checkpoint"):
        allmlp.finetune(photos, tmp_path / "run", quality="fast", settings={"transfer.checkpoint": "starter"})
    assert not (tmp_path / "run").exists()


def test_the_cost_is_reported_before_the_download(photos: Path, tmp_path: Path) -> None:
    shown = Messages()
    with pytest.raises(CheckpointError, match="forbids downloads"):
        allmlp.finetune(photos, tmp_path / "run", quality="balanced", progress=shown)
    costs = [line for line in "\n".join(shown.lines).splitlines() if line.startswith("quality balanced: ")]
    assert len(costs) == 1 and re.search(r": \d+ MB to download, about (\d+ minutes?|\d+\.\d hours) here$", costs[0])


def test_a_run_without_progress_times_no_costs(photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("allmlp.recipes.run_recipe.cost_of_better", None)  # a call would fail
    settings = {"batch_size": 4}
    result = allmlp.finetune(
        photos, tmp_path / "run", quality="fast", epochs=1, folds=0, settings=settings, progress=None
    )
    assert result.recipe.transfer.checkpoint == "starter"
