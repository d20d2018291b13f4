import json
import shlex
import shutil
import sys
from pathlib import Path

import pytest
from tests.forks import run_torchrun

from allmlp import load_checkpoint, save_checkpoint
from allmlp.cli.main import main

MODULE = """
import dataclasses
from allmlp import MixerTemplate, Recipe
from allmlp.training import OptimizerConfig, TransferConfig

def scratch():
    return Recipe(
        name="scratch",
        model=MixerTemplate(
            image_size=16, patch_size=8, num_blocks=2, hidden_dim=16, tokens_mlp_dim=8, channels_mlp_dim=16
        ),
        num_epochs=1,
        batch_size=6,
        optimizer=OptimizerConfig(learning_rate=1e-3),
    )

def transfer():
    return dataclasses.replace(scratch(), name="transfer", transfer=TransferConfig(checkpoint="trained"))
"""


@pytest.fixture(scope="module")
def original(tmp_path_factory, write_photo):
    """A folder with photos/<class>/*.png, my_recipes.py, the run of a Mixer in first/ and its checkpoint in trained/."""
    folder = tmp_path_factory.mktemp("original")
    for number, name in enumerate(("cat", "dog", "owl")):
        for index in range(5):
            write_photo(folder / "photos" / name / f"{index}.png", seed=10 * number + index)
    (folder / "my_recipes.py").write_text(MODULE)
    with pytest.MonkeyPatch.context() as patch:
        work_in(folder, patch)
        with pytest.raises(SystemExit) as stop:
            main(["train", "photos", "--recipe", "my_recipes:scratch", "--out", "first"])
        assert stop.value.code == 0
        save_checkpoint(load_checkpoint("first"), "trained")
    return folder


@pytest.fixture
def place(tmp_path, original, monkeypatch):
    """A copy of the original folder to work in."""
    shutil.copytree(original, tmp_path, dirs_exist_ok=True)
    work_in(tmp_path, monkeypatch)
    return tmp_path


def work_in(folder, patch):
    """Make the folder the current one, and its my_recipes.py the one that is imported."""
    patch.chdir(folder)
    patch.setattr("sys.path", list(sys.path))
    patch.delitem(sys.modules, "my_recipes", raising=False)


def test_a_trained_mixer_is_fine_tuned_and_the_commands_at_the_end_work(place, allmlp):
    options = ("--trained-blocks", "1", "--image-size", "24x16")
    outcome = allmlp("finetune", "photos", "--from", "trained", "--epochs", "1", *options, "--out", "mine")
    assert outcome.code == 0, outcome.err
    assert "15 training photos, so" not in outcome.out  # --epochs decides, not their number
    assert "init    from a Mixer trained by allmlp" in outcome.out
    assert "trains  the last 1 of 2 blocks and the layers after them" in outcome.out
    assert "3 classes, 3 of them kept" in outcome.out
    recipe = json.loads(Path("mine/recipe.json").read_text())
    assert recipe["transfer"] == {
        "checkpoint": str(place / "trained"),
        "image_size": [24, 16],
        "trained_blocks": 1,
        "cached_passes": 0,
        "layer_decay": recipe["transfer"]["layer_decay"],
        "mean": None,
        "std": None,
    }
    assert load_checkpoint("mine").config.image_size == (24, 16)
    for line in outcome.out.partition("Next:")[2].splitlines():
        words = shlex.split(line, comments=True)
        if words:
            command = words[words.index("allmlp") + 1 :]  # after "python -m" where allmlp was started so
            assert allmlp(*["photos/cat/0.png" if word == "PHOTO.jpg" else word for word in command]).code == 0


@pytest.mark.parametrize("command", ["finetune", "train"])
def test_settings_that_the_checkpoint_decides_are_refused_all_at_once(command, place, allmlp):
    settings = ("--set", "model.num_blocks=4", "--set", "data.mean=[0.1,0.1,0.1]", "--set", "model.dropout=0.1")
    options = ("--recipe", "my_recipes:transfer", *settings)
    outcome = allmlp(command, "photos", *options, "--out", "mine")
    assert outcome.code == 2
    assert (
        "--set model.num_blocks, data.mean: training starts from a checkpoint (trained), which decides" in outcome.err
    )
    assert not Path("mine").exists()
    assert allmlp(command, "photos", *options[:2], "--out", "mine").code == 0
    Path("mine/metrics.json").unlink()
    again = allmlp(command, "photos", "--resume", "mine", "--set", "model.num_blocks=4")
    assert again.code == 2 and "--set model.num_blocks: training starts from a checkpoint" in again.err


def test_train_takes_an_image_size_for_a_recipe_that_begins_with_a_checkpoint(place, allmlp):
    options = ("--recipe", "my_recipes:transfer", "--image-size", "24x16")
    assert allmlp("train", "photos", *options, "--out", "mine").code == 0
    assert load_checkpoint("mine").config.image_size == (24, 16)
    Path("mine/metrics.json").unlink()
    other = allmlp("train", "--resume", "mine", "--image-size", "32")
    assert other.code == 2 and "transfer.image_size: the run has [24, 16], now [32, 32]" in other.err


def test_the_printed_recipe_is_the_one_that_a_run_begins_with(place, allmlp):
    for arguments in (("--from", "trained"), ("--from", "trained", "--image-size", "24x16"), ()):
        printed = allmlp("finetune", "photos", *arguments, "--print-recipe")
        assert printed.code == 0, printed.err
        recipe = json.loads(printed.out)
        wanted = load_checkpoint("trained" if arguments else "starter")
        assert recipe["model"]["hidden_dim"] == wanted.config.hidden_dim
        assert recipe["data"]["interpolation"] == wanted.preprocessing.interpolation
        assert recipe["model"]["image_size"] == ([24, 16] if len(arguments) > 2 else list(wanted.config.image_size))


def test_the_preprocessing_that_is_given_goes_before_the_checkpoints(place, allmlp):
    options = ("--mean", "0,0,0", "--std", "1", "--interpolation", "bilinear", "--fit", "pad")
    printed = allmlp("finetune", "photos", "--from", "trained", *options, "--print-recipe")
    assert printed.code == 0, printed.err
    data = json.loads(printed.out)["data"]
    assert (data["mean"], data["std"]) == ([0, 0, 0], [1, 1, 1])
    assert (data["interpolation"], data["fit"], data["crop_fraction"]) == ("bilinear", "pad", 1)
    kept = json.loads(allmlp("finetune", "photos", "--from", "trained", "--mean", "0.1", "--print-recipe").out)["data"]
    assert (kept["mean"], kept["std"]) == ([0.1] * 3, list(load_checkpoint("trained").preprocessing.std))
    assert allmlp("finetune", "photos", "--mean", "0,0").code == 2


def test_epochs_follow_the_photos_also_where_the_recipe_is_named(place, allmlp):
    named, unnamed = (
        allmlp("finetune", "photos", *options, "--print-recipe").out for options in (("--recipe", "finetune"), ())
    )
    assert named == unnamed
    assert json.loads(named)["num_epochs"] > 20
    command = ("finetune", "photos", "--recipe", "finetune", "--from", "trained", "--set", "batch_size=5")
    assert allmlp(*command, "--epochs", "1", "--out", "mine").code == 0
    Path("mine/metrics.json").unlink()
    assert allmlp(*command, "--resume", "mine").code == 0


def test_a_checkpoint_may_be_called_by_a_number(place, allmlp):
    save_checkpoint(load_checkpoint("first"), "2024")
    outcome = allmlp("finetune", "photos", "--from", "2024", "--recipe", "my_recipes:transfer", "--out", "mine")
    assert outcome.code == 0, outcome.err


def test_one_command_begins_and_continues(place, allmlp):
    command = ("finetune", "photos", "--from", "trained", "--recipe", "my_recipes:transfer", "--resume", "mine")
    assert allmlp(*command).code == 0
    assert "is finished" in allmlp(*command).out
    assert "is finished" in allmlp("finetune", "--resume", "mine").out
    for other, words in (
        (("--epochs", "9"), "num_epochs: the run has 1, now 9"),
        (("--set", "nonsense=1"), "--set nonsense: unknown key"),
        (("--from", "starter"), 'transfer.checkpoint: the run has "'),
    ):
        outcome = allmlp("finetune", "photos", "--resume", "mine", *other)
        assert outcome.code == 2 and words in outcome.err, outcome
    other = allmlp("finetune", "clothing", "--resume", "mine")
    assert other.code == 3 and "a run must be resumed with the photos it was started with" in other.err
    Path("mine/metrics.json").unlink()
    outcome = allmlp(*command)
    assert outcome.code == 0 and "resumed at step" in outcome.out
    Path("mine/metrics.json").unlink()
    outcome = allmlp("finetune", "photos", "--from", "starter", "--resume", "mine")
    assert outcome.code == 2
    assert 'transfer.checkpoint: the run has "' in outcome.err


def test_a_grid_is_trained_reported_and_continued(place, allmlp):
    command = ("finetune", "photos", "--recipe", "my_recipes:transfer", "--lr-grid", "0.001,0.01,1e-5")
    outcome = allmlp(*command, "--out", "grid")
    assert outcome.code == 0, outcome.err
    found = json.loads(Path("grid/learning_rates.json").read_text())
    assert [trial["top1"] for trial in found["trials"]] == sorted(
        (trial["top1"] for trial in found["trials"]), reverse=True
    )
    assert {trial["run"] for trial in found["trials"]} == {"lr-0.001", "lr-0.01", "lr-1e-05"}
    for trial in found["trials"]:
        run = Path("grid") / trial["run"]
        kept = json.loads((run / "metrics.json").read_text())["evaluations"]["validation"]
        assert (trial["top1"], trial["loss"]) == (kept["top1"], kept["loss"])
        assert json.loads((run / "recipe.json").read_text())["optimizer"]["learning_rate"] == trial["learning_rate"]
    assert f"predict grid/{found['best']}" in outcome.out
    assert Path("grid/learning_rates.png").read_bytes().startswith(b"\x89PNG")
    assert allmlp(*command, "--out", "grid").code == 2  # a used folder
    alone = allmlp(*command[:-2], "--resume", "grid")
    assert alone.code == 2 and "grid: this is a learning-rate sweep: one run per learning rate" in alone.err
    for wrong in (("evaluate", "grid", "photos"), ("finetune", "photos", "--from", "grid")):
        outcome = allmlp(*wrong)
        assert outcome.code == 4 and f"Name one of its runs: the best is grid/{found['best']}." in outcome.err
    assert (
        "this is a learning-rate sweep: one run per learning rate. Continue it with"
        in allmlp("train", "photos", "--resume", "grid").err
    )
    Path("grid/lr-0.01/metrics.json").unlink()
    again = allmlp(*command, "--resume", "grid")
    assert again.code == 0 and again.out.count("learning rate 0.01, 2 of 3") == 1
    assert again.out.count("resumed at step") == 1
    assert json.loads(Path("grid/learning_rates.json").read_text()) == found


def test_the_papers_grid_is_of_the_papers_optimizer(place, allmlp):
    outcome = allmlp("finetune", "photos", "--from", "trained", "--lr-grid", "paper", "--epochs", "1", "--out", "grid")
    assert outcome.code == 0, outcome.err
    rates = []
    for run in Path("grid").glob("lr-*"):
        optimizer = json.loads((run / "recipe.json").read_text())["optimizer"]
        rates.append(optimizer["learning_rate"])
        assert [optimizer[key] for key in ("name", "momentum", "weight_decay", "clip_norm")] == ["sgd", 0.9, 0.0, 1.0]
    assert sorted(rates) == [0.003, 0.01, 0.03, 0.06]


def test_a_finished_grid_answers_for_its_own_recipe_and_photos_only(place, write_photo, allmlp):
    command = ("finetune", "photos", "--recipe", "my_recipes:transfer", "--lr-grid", "0.01")
    assert allmlp(*command, "--out", "grid").code == 0
    other = allmlp(*command, "--resume", "grid", "--epochs", "2")
    assert other.code == 2 and "num_epochs: the run has 1, now 2" in other.err
    write_photo(place / "photos" / "cat" / "new.png", seed=99)
    other = allmlp(*command, "--resume", "grid")
    assert other.code == 3 and "1 new: cat/new.png" in other.err


def test_a_rate_that_diverges_ends_no_grid_and_is_not_tried_again(place, allmlp):
    settings = ("--set", "optimizer.name=sgd", "--set", "optimizer.clip_norm=none", "--epochs", "20")
    command = ("finetune", "photos", "--recipe", "my_recipes:transfer", *settings)
    outcome = allmlp(*command, "--lr-grid", "1000,0.001", "--out", "grid")
    assert outcome.code == 0, outcome.err
    assert "learning rate 0.001, 2 of 2" in outcome.out
    assert [line.split() for line in outcome.out.splitlines() if "grid/lr-1000" in line][-1] == [
        "1000", "diverged", "grid/lr-1000",
    ]  # fmt: skip
    found = json.loads(Path("grid/learning_rates.json").read_text())
    assert found["best"] == "lr-0.001"
    assert [(each["learning_rate"], each["top1"] is None, each["loss"] is None) for each in found["trials"]] == [
        (0.001, False, False),
        (1000.0, True, True),
    ]
    again = allmlp(*command, "--lr-grid", "1000,0.001", "--resume", "grid")
    assert again.code == 0 and "learning rate 1000," not in again.out
    assert json.loads(Path("grid/learning_rates.json").read_text()) == found
    assert allmlp(*command, "--lr-grid", "0.001", "--resume", "grid").code == 0  # fewer rates: the others stay
    assert json.loads(Path("grid/learning_rates.json").read_text()) == found
    outcome = allmlp(*command, "--lr-grid", "1000", "--out", "hot")
    assert outcome.code == 2 and "diverged at every learning rate" in outcome.err
    assert json.loads(Path("hot/learning_rates.json").read_text())["best"] is None
    Path("grid/lr-0.001/metrics.json").write_text("{")
    damaged = allmlp(*command, "--lr-grid", "0.001", "--resume", "grid")
    assert damaged.code == 2 and "metrics.json: cannot be read" in damaged.err and "Delete it" in damaged.err


def test_a_grid_begins_in_no_run_and_in_no_folder_of_something_else(place, allmlp):
    command = ("finetune", "photos", "--recipe", "my_recipes:transfer", "--lr-grid", "0.01", "--resume")
    outcome = allmlp(*command, "first")
    assert outcome.code == 2 and "first: this is a single run, not a sweep. Omit --lr-grid" in outcome.err
    outcome = allmlp(*command, "photos")
    assert outcome.code == 2 and "photos: is not empty; nothing is ever overwritten" in outcome.err
    assert not list(place.glob("*/lr-*"))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (
            ("--lr-grid", "0.1", "--max-minutes", "1"),
            "max_minutes is 1: runs whose length depends on the machine's speed",
        ),
        (("--lr-grid", "0.1", "--folds", "2"), "learning rates are compared on photos that are held out once"),
        (
            ("--folds", "2", "--best-by", "loss"),
            "best_by is loss and data.folds 2: the runs of a cross-validation keep",
        ),
        (("--recipe", "demo"), "recipe demo does not specify an initial checkpoint. Give one with --from"),
        (("--from", "none"), "recipe finetune does not specify an initial checkpoint. Give one with --from"),
        (("--from", "nowhere"), "nowhere: there is no such checkpoint"),
        (("--from", "trained", "--trained-blocks", "7"), "has 2 blocks"),
        (("--from", "trained", "--image-size", "20"), "--image-size"),
        (("--lr-grid", "fast"), "--lr-grid 'fast': expected paper, or learning rates such as 0.003,0.01,0.03."),
        (("--lr-grid", "0.1,0.1"), "expected one or more rates that differ"),
        (("--lr-grid", "0.1,0.10000000001"), "rates that differ in their first six digits"),
        (("--lr-grid", "0.1", "--out", "my_recipes.py"), "my_recipes.py: this is a file"),
        (("--lr-grid", "0.1,-1"), "optimizer.learning_rate is -1.0"),
        (("--lr-grid", "0.1", "--set", "optimizer.learning_rate=0.2"), "--lr-grid sets the learning rates; omit --set"),
        (
            ("--lr-grid", "paper", "--recipe", "my_recipes:transfer"),
            "for SGD, but the optimizer is adamw. Give rates",
        ),
        (
            ("--lr-grid", "paper", "--set", "optimizer.name=adamw"),
            "for SGD, but the optimizer is adamw. Give rates",
        ),
        (
            ("--from", "trained", "--set", "transfer.checkpoint=starter"),
            "set twice: transfer.checkpoint (to trained by its option). Omit the option or --set transfer.checkpoint=.",
        ),
        (
            ("--epochs", "1", "--seed", "2", "--set", "num_epochs=3", "--set", "seed=1"),
            "set twice: num_epochs (to 1 by its",
        ),
        (
            ("--trained-blocks", "0", "--set", "transfer.layer_decay=0.5"),
            "--set transfer.layer_decay: only the classifier",
        ),
        (
            ("--image-size", "32", "--set", "transfer.image_size=48"),
            "set twice: transfer.image_size (to [32, 32] by its",
        ),
        (("--lr-grid", "paper", "--out", "x", "--resume", "y"), "--resume names the sweep folder; omit --out."),
    ],
)
def test_what_cannot_be_is_refused_and_writes_nothing(arguments, words, place, allmlp):
    before = sorted(place.iterdir())
    outcome = allmlp("finetune", "photos", *arguments)
    assert outcome.code in (2, 4)
    assert words in outcome.err or words == "--image-size"
    assert sorted(place.iterdir()) == before


def test_photos_are_asked_for(place, allmlp):
    for arguments in ((), ("--lr-grid", "paper")):
        outcome = allmlp("finetune", *arguments)
        assert outcome.code == 2 and "the photos to train on are missing" in outcome.err


def test_processes_train_a_grid_one_run_after_the_other(place):
    command = ["finetune", "photos", "--recipe", "my_recipes:transfer", "--lr-grid", "0.001,0.01", "--out", "grid"]
    done = run_torchrun(2, "-m", "allmlp", *command)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("validation top-1") == 1  # one table
    assert done.stdout.count("learning rate 0.01, 2 of 2") == 1
    assert len(json.loads(Path("grid/learning_rates.json").read_text())["trials"]) == 2
