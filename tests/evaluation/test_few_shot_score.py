"""`allmlp.evaluate_few_shot`: few-shot accuracy as the command prints it."""

import json

import pytest

import allmlp
from allmlp.cli.main import main
from allmlp.errors import ConfigError, DataError

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
