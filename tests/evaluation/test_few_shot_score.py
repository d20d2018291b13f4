"""`allmlp.evaluate_few_shot`: few-shot accuracy as the command prints it."""

import hashlib
import json
import shutil
from pathlib import Path

import pytest
from tests.data.photo_sources import write_parquet

import allmlp
from allmlp.cli.main import main
from allmlp.errors import ConfigError, DataError
from allmlp.runs.layout import RunLayout
from allmlp.runs.photo_digests import write_photo_digests

OPTIONS = allmlp.FewShotOptions(shots=(1, 3), num_draws=2, seed=4)


def test_it_is_what_the_command_prints(run, photos, capsys):
    with pytest.raises(SystemExit) as stop:
        main(["evaluate", str(run), str(photos), "--shots", "1,3", "--draws", "2", "--seed", "4", "--json"])
    assert stop.value.code == 0
    expected = json.loads(capsys.readouterr().out)
    found = allmlp.evaluate_few_shot(run, photos, OPTIONS)
    assert json.loads(json.dumps([result.to_dict() for result in found.results])) == expected["few_shot"]
    assert (found.split, found.num_photos, found.remark) == ("test", expected["num_examples"], expected["remark"])
    assert "The model was trained on 16 photos with the same names" in found.remark


def test_a_model_in_any_form_gives_the_same_numbers(run, photos):
    expected = allmlp.evaluate_few_shot(run, photos, OPTIONS, device="cpu").results
    for model in (allmlp.load_checkpoint(run), allmlp.open_model(run, device="cpu", output="features")):
        found = allmlp.evaluate_few_shot(
            model, allmlp.open_dataset(photos), OPTIONS, device="cpu", batch_size=3, run=run
        )
        assert found.results == expected


def test_what_cannot_be_drawn_or_scored_is_an_error(run, photos):
    with pytest.raises(DataError, match="25 examples per class are needed"):
        allmlp.evaluate_few_shot(run, photos)
    with pytest.raises(DataError, match="needs a test or validation split"):
        allmlp.evaluate_few_shot("starter", photos / "train", OPTIONS)
    with pytest.raises(ConfigError, match="--split train"):
        allmlp.evaluate_few_shot(run, photos, OPTIONS, split="train")
    with pytest.raises(ConfigError, match="output='features'"):
        allmlp.evaluate_few_shot(allmlp.open_model(run, device="cpu"), photos, OPTIONS)


def record_photos(run: Path, paths: list[Path]) -> None:
    """Write the photos on which a run was trained, under other names than theirs."""
    names = [f"other/{number}.png" for number in range(len(paths))]
    digests = [hashlib.sha256(path.read_bytes()).hexdigest() for path in paths]
    write_photo_digests(RunLayout(run).photos, {"train": names}, {"train": digests})


def as_zip(photos: Path) -> Path:
    return Path(shutil.make_archive(str(photos), "zip", photos))


def as_parquet(photos: Path) -> Path:
    names = ["cat", "owl", "yak"]
    for split in ("train", "test"):
        files = sorted((photos / split).glob("*/*.png"))
        rows = [(path.name, path.read_bytes(), names.index(path.parent.name)) for path in files]
        write_parquet(photos.parent / "parquet" / f"{split}.parquet", rows, names=names)
    return photos.parent / "parquet"


@pytest.mark.parametrize("form", [Path, as_zip, as_parquet])
def test_photos_are_the_same_by_their_content_and_not_by_their_names(run, photos, form):
    options = allmlp.FewShotOptions(shots=(4,), num_draws=1, seed=0)  # all cats that the run did not hold out
    strangers = [photos.parent / "a.png", photos.parent / "b.png"]
    for number, path in enumerate(strangers):
        path.write_bytes(bytes([number]))
    record_photos(run, strangers)
    found = allmlp.evaluate_few_shot(run, form(photos), options)
    assert found.overlaps == () and "same names" not in found.remark

    test, train = sorted((photos / "test").rglob("*.png")), sorted((photos / "train").rglob("*.png"))
    record_photos(run, [test[0], *train[2:5]])
    shutil.copy(train[5], test[1])  # a photo to score is an example, too
    lines = []
    found = allmlp.evaluate_few_shot(run, form(photos), options, report=lines.append)
    leak, seen, fitted = found.overlaps
    assert leak.startswith("1 photo, known by its content (cat/4-1.png), to score is also among the examples.")
    assert seen.startswith("The model was trained on 1 photo, known by its content (cat/4-0.png), to score.")
    assert fitted.startswith("The model was trained on 3 photos, known by their content (cat/6-2.png, ")
    assert all(line in lines for line in found.overlaps)
