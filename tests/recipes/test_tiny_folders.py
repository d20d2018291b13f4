"""Fine-tuning on a handful of photos: as many folds as they fill, and a run to the end."""

import re
from pathlib import Path

import pytest
from tests.training.small_runs import write_few_photos
from tests.training.test_cross_validation import Messages

import allmlp
from allmlp.data import fold_of_photos, open_dataset
from allmlp.recipes import choose_for_finetuning, finetune_for


@pytest.mark.parametrize(
    ("numbers", "folds"),
    [((2, 2), 4), ((1, 4), 4), ((1, 2), 2), ((3, 2), 5), ((1, 1), 0), ((20, 30), 5)],
)
def test_photos_are_divided_into_as_many_folds_as_they_fill(
    numbers: tuple[int, ...], folds: int, tmp_path: Path
) -> None:
    dataset = open_dataset(write_few_photos(tmp_path / "photos", numbers))
    recipe, reason = finetune_for(dataset)
    assert recipe.data.folds == folds
    if folds:
        for seed in range(5):
            fold_of_photos(dataset, num_folds=folds, seed=seed)  # whatever the seed of the run
        with_fewer = f"{folds} folds of cross-validation, as many as so few photos fill"
        assert (with_fewer in reason) == (folds < 5)
    else:
        assert reason.endswith("some are held out once, because they do not fill two folds")


def test_copies_fill_one_fold_together(tmp_path: Path) -> None:
    photos = write_few_photos(tmp_path / "photos", (2, 2))
    for label in range(2):
        original = photos / f"class{label}" / "0.png"
        (original.parent / "copy.png").write_bytes(original.read_bytes())
    assert finetune_for(open_dataset(photos))[0].data.folds == 4


def test_other_weights_name_a_number_of_folds_that_works(tmp_path: Path) -> None:
    dataset = open_dataset(write_few_photos(tmp_path / "photos", (2, 2)))
    chosen = choose_for_finetuning(None, ["transfer.checkpoint=b16-i21k"], lambda: dataset)
    assert chosen.recipe.data.folds == 0 and "(--folds 4 cross-validates instead" in chosen.reason


def test_four_photos_are_trained_on_to_the_end(tmp_path: Path) -> None:
    photos, shown = write_few_photos(tmp_path / "photos", (2, 2)), Messages()
    result = allmlp.finetune(photos, tmp_path / "run", epochs=1, settings={"batch_size": 4}, progress=shown)
    scores = result.evaluations["cross-validation"]
    assert (scores.num_examples, scores.num_folds) == (4, 4)
    assert (tmp_path / "run" / "report.html").exists()
    assert any(re.match(r"for better: quality='balanced': \d+ MB to download, about ", line) for line in shown.lines)
