import itertools
import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from tests.data.stand_ins import write_pets
from tests.forks import run_allmlp

from allmlp import load_checkpoint
from allmlp.recipes import RECIPES

# A recipe of the user's own, in a file of the folder where allmlp is started.
MODULE = """
from allmlp import MixerTemplate, Recipe
from allmlp.training import OptimizerConfig

def tiny():
    return Recipe(
        name="tiny",
        model=MixerTemplate(
            image_size=16, patch_size=8, num_blocks=1, hidden_dim=16, tokens_mlp_dim=8, channels_mlp_dim=16
        ),
        num_epochs=2,
        batch_size=6,
        optimizer=OptimizerConfig(learning_rate=1e-3),
    )
"""


@pytest.fixture
def place(tmp_path, write_photo, monkeypatch):
    """A folder to work in, with photos/<class>/*.png and my_recipes.py."""
    for number, name in enumerate(("cat", "dog", "owl")):
        for index in range(5):
            write_photo(tmp_path / "photos" / name / f"{index}.png", seed=10 * number + index)
    (tmp_path / "my_recipes.py").write_text(MODULE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.path", list(sys.path))
    monkeypatch.delitem(sys.modules, "my_recipes", raising=False)
    return tmp_path


def test_a_run_is_written_and_the_commands_it_ends_with_work(place, allmlp):
    outcome = allmlp("train", "photos", "--recipe", "my_recipes:tiny", "--out", "a run")
    assert outcome.code == 0, outcome.err
    run = Path("a run")
    for name in ("report.html", "results.csv", "predictions.csv", "checkpoints/best", "checkpoints/last"):
        assert (run / name).exists()
        assert name in outcome.out
    assert outcome.out.count("\nepoch ") == 2
    commands = [
        shlex.split(line, comments=True)[1:] for line in outcome.out.partition("Next:")[2].splitlines() if line.strip()
    ]
    assert [command[0] for command in commands] == ["predict", "evaluate", "inspect"]
    for command in commands:
        arguments = ["photos/cat/0.png" if argument == "PHOTO.jpg" else argument for argument in command]
        assert allmlp(*arguments).code == 0
    kept = json.loads((run / "metrics.json").read_text())["evaluations"]["validation"]
    again = json.loads(allmlp("evaluate", run, "photos", "--json").out)
    assert again["split"] == "validation"
    assert {key: again[key] for key in kept} == kept


def test_after_cross_validation_no_command_scores_the_photos_that_the_run_has_learned(place, allmlp):
    command = ("train", "photos", "--recipe", "my_recipes:tiny", "--out", "run")
    outcome = allmlp(*command, "--set", "data.folds=2", "--set", "best_by=last")
    assert outcome.code == 0, outcome.err
    (line,) = [line for line in outcome.out.splitlines() if "evaluate" in line]
    assert shlex.split(line, comments=True)[-3:] == ["evaluate", "run", "OTHER_PHOTOS"]
    assert f"allmlp evaluate {place / 'run'} OTHER_PHOTOS" in Path("run/report.html").read_text()
    (again,) = [line for line in allmlp("train", "--resume", "run").out.splitlines() if "evaluate" in line]
    assert again == line
    # What was reported at the start is not repeated after the folds.
    assert sum(line.startswith("data ") for line in outcome.out.splitlines()) == 1
    assert "resumed" not in outcome.out
    assert "cross-validation  top-1" in outcome.out


@pytest.fixture(scope="module")
def finished(tmp_path_factory, write_photo):
    """A folder with photos/ and a finished run."""
    folder = tmp_path_factory.mktemp("finished")
    for index in range(10):
        write_photo(folder / "photos" / ("cat", "dog")[index % 2] / f"{index}.png", seed=index)
    (folder / "my_recipes.py").write_text(MODULE)
    command = ("train", "photos", "--recipe", "my_recipes:tiny", "--out", "run")
    run_allmlp(*command, cwd=folder).check_returncode()
    return folder


DAMAGES = {
    "missing": Path.unlink,
    "changed": lambda path: path.write_bytes(path.read_bytes()[:-9] + b"9" + path.read_bytes()[-8:]),
    "a pipe": lambda path: (path.unlink(), os.mkfifo(path)),
}
RESULTS = (
    "checkpoints/best/model.safetensors",
    "checkpoints/best/config.json",
    "checkpoints/last/config.json",
    "metrics.json",
)


# Each file and each damage once; the other pairs take as long.
FAST = tuple(zip(RESULTS, ("changed", "a pipe", "missing", "changed"), strict=True))


@pytest.mark.parametrize(
    ("name", "damage"),
    [
        pytest.param(*pair, marks=() if pair in FAST else pytest.mark.slow)
        for pair in itertools.product(RESULTS, DAMAGES)
    ],
)
def test_damaged_results_of_a_finished_run_are_written_again(name, damage, finished, tmp_path, monkeypatch, allmlp):
    shutil.copytree(finished / "run", tmp_path / "run")
    monkeypatch.chdir(tmp_path)
    DAMAGES[damage](Path("run", name))
    outcome = allmlp("train", "--resume", "run")
    assert outcome.code == 0, outcome.err
    if (name, damage) != ("metrics.json", "missing"):  # such a run is not finished
        assert "run is finished, but damaged" in outcome.err
        assert name.removesuffix("/config.json") in outcome.err
    assert allmlp("train", "--resume", "run").out.startswith("run is finished; there is nothing left to train.")
    for result in RESULTS[:3]:
        assert Path("run", result).read_bytes() == (finished / "run" / result).read_bytes()
    assert _scores(Path("run")) == _scores(finished / "run")


def _scores(run):
    return json.loads((run / "metrics.json").read_text())["evaluations"]


def test_a_run_whose_photos_are_elsewhere_says_how_to_name_them(finished, tmp_path, monkeypatch, allmlp):
    shutil.copytree(finished / "run", tmp_path / "run")
    monkeypatch.chdir(tmp_path)
    Path("run/metrics.json").unlink()  # stopped before its end
    shutil.copytree(finished / "photos", "elsewhere")
    Path("run/data.json").write_text(json.dumps({"source": str(tmp_path / "photos")}))
    outcome = allmlp("train", "--resume", "run")
    assert outcome.code == 3 and f"{tmp_path / 'photos'}: the photos of this run are not there any more" in outcome.err
    assert "allmlp train PHOTOS --resume run" in outcome.err
    assert allmlp("train", "elsewhere", "--resume", "run").code == 0


def test_damaged_results_without_a_snapshot_are_refused(finished, tmp_path, monkeypatch, allmlp):
    shutil.copytree(finished / "run", tmp_path / "run")
    monkeypatch.chdir(tmp_path)
    shutil.rmtree("run/resume")
    assert allmlp("train", "--resume", "run").code == 0
    Path("run/checkpoints/best/model.safetensors").unlink()
    outcome = allmlp("train", "--resume", "run")
    assert outcome.code == 4
    assert "the weights are missing" in outcome.err
    assert "has no snapshot from which it can be written again" in outcome.err


def test_without_out_every_run_gets_a_folder_of_its_own(place, allmlp):
    for number in (1, 2):
        outcome = allmlp("train", "photos", "--recipe", "my_recipes:tiny", "--epochs", 1)
        assert outcome.code == 0
        assert f"runs/tiny-{number}/" in outcome.out
    assert sorted(path.name for path in Path("runs").iterdir()) == ["tiny-1", "tiny-2"]


def test_a_folder_that_holds_a_run_is_left_alone_and_exits_2(place, allmlp):
    Path("run").mkdir()
    Path("run/recipe.json").write_text("mine")
    outcome = allmlp("train", "photos", "--recipe", "my_recipes:tiny", "--out", "run")
    assert outcome.code == 2
    assert outcome.err.startswith("allmlp: run: ")
    assert [path.name for path in Path("run").iterdir()] == ["recipe.json"]


def printed(outcome):
    assert outcome.code == 0, outcome.err
    return json.loads(outcome.out)


@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_is_printed_as_json_without_touching_the_data(name, allmlp):
    assert printed(allmlp("train", "no such data", "--recipe", name, "--print-recipe"))["name"] == name


def test_short_options_are_the_settings_they_stand_for_and_not_twice(allmlp):
    short = ["--epochs", 3, "--batch-size", 7, "--image-size", "32x64", "--seed", 5, "--max-minutes", 1.5]
    settings = ["num_epochs=3", "batch_size=7", "model.image_size=[32,64]", "seed=5", "max_minutes=1.5"]
    long = [word for setting in settings for word in ("--set", setting)]
    command = ["train", "x", "--recipe", "demo", "--print-recipe"]
    assert printed(allmlp(*command, *short)) == printed(allmlp(*command, *long))
    assert printed(allmlp(*command, "--image-size", 32))["model"]["image_size"] == [32, 32]
    both = allmlp(*command, "--epochs", 3, "--set", "num_epochs=4")
    assert both.code == 2 and "set twice: num_epochs (to 3 by its option)" in both.err


def test_without_recipe_one_is_chosen_and_said_on_standard_error_when_json_is_asked_for(place, allmlp):
    outcome = allmlp("train", "photos", "--print-recipe")
    recipe = printed(outcome)
    assert recipe["name"] in RECIPES
    assert f"recipe {recipe['name']}" in outcome.err


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--recipe", "dmo"], ["dmo", "Did you mean 'demo'?"]),
        (["--recipe", "no_module:x"], ["no_module"]),
        (["--recipe", "demo", "--set", "optimzer.learning_rate=1"], ["optimzer", "optimizer.learning_rate"]),
        (["--recipe", "demo", "--set", "num_epochs"], ["num_epochs", "KEY=VALUE"]),
        (["--recipe", "demo", "--set", "num_epochs=many"], ["num_epochs", "many"]),
        (["--recipe", "demo", "--epochs", "0"], ["num_epochs", "0"]),
        (["--recipe", "demo", "--seed", "-1"], ["seed", "-1"]),
        (["--recipe", "demo", "--image-size", "60"], ["60", "56", "64"]),
        (["--recipe", "demo", "--image-size", "big"], ["--image-size", "big"]),
        (["--recipe", "demo", "--device", "tpu"], ["tpu", "cpu"]),
    ],
    ids=" ".join,
)
def test_a_wrong_setting_exits_2_and_is_named_before_the_data_is_read(options, words, allmlp):
    outcome = allmlp("train", "no such data", *options)
    assert outcome.code == 2
    assert all(word in outcome.err for word in words)


def test_data_that_is_not_there_exits_3(place, allmlp):
    outcome = allmlp("train", "fotos")
    assert outcome.code == 3
    assert "photos" in outcome.err


@pytest.mark.parametrize(
    ("number", "code"), [pytest.param(signal.SIGINT, 130, marks=pytest.mark.slow), (signal.SIGTERM, 143)]
)
def test_a_stopped_run_leaves_a_usable_last_checkpoint(number, code, place):
    command = [sys.executable, "-m", "allmlp", "train", "photos", "--recipe", "my_recipes:tiny"]
    with subprocess.Popen(
        [*command, "--out", "run", "--epochs", "1000000"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        for line in process.stdout:
            if line.startswith("epoch "):
                process.send_signal(number)
                break
        process.stdout.read()
        message = process.stderr.read()
    assert process.returncode == code, message
    assert "continue with: " in message
    assert "train --resume run" in message
    assert load_checkpoint("run/checkpoints/last").class_names == ("cat", "dog", "owl")
    assert not list(Path("run").rglob("*.part"))


def test_a_folder_called_as_a_data_set_is_known_by_its_path_and_the_data_set_by_its_name(place, allmlp):
    """Both ways: `clothing` next to a folder of that name, and that folder, which is "./clothing"."""
    Path("photos").rename("clothing")
    settings = ("--recipe", "my_recipes:tiny", "--epochs", 1, "--batch-size", 100)
    assert allmlp("train", "./clothing", *settings, "--out", "mine").code == 0
    assert json.loads(Path("mine/data.json").read_text())["source"] == str(place / "clothing")
    assert f"evaluate {place / 'mine'} {place / 'clothing'}" in Path("mine/report.html").read_text()
    assert allmlp("train", "clothing", *settings, "--out", "theirs").code == 0
    assert json.loads(Path("theirs/data.json").read_text())["source"] == "clothing"
    assert f"evaluate {place / 'theirs'} clothing" in Path("theirs/report.html").read_text()


def test_a_run_among_the_photos_of_a_named_data_set_is_refused(tmp_path, monkeypatch, allmlp):
    write_pets(tmp_path / "data", monkeypatch)
    out = tmp_path / "data" / "oxford-iiit-pet" / "images" / "run"
    outcome = allmlp("train", f"pets:{tmp_path / 'data'}", "--recipe", "demo", "--out", out)
    assert outcome.code == 2 and "is inside the folder of photos" in outcome.err
    assert not out.exists()
