"""Commands, options and settings as other tools call them are answered with what they are called here."""

import re

import pytest

from allmlp import ConfigError
from allmlp.cli.main import COMMANDS
from allmlp.config import override
from allmlp.hardware.devices import choose_device
from allmlp.recipes import load_recipe


@pytest.mark.parametrize(
    ("command", "answer"),
    [
        ("val", "allmlp evaluate"),
        ("test", "allmlp evaluate"),
        ("save", "allmlp convert"),
        ("help", "allmlp --help"),
        ("fit", "allmlp finetune"),
        ("Infer", "allmlp predict"),
        ("lr_find", "--lr-grid"),
        ("linear-probe", "--shots"),
        ("onnx", "allmlp export"),
        ("wasm", "--to web"),
        ("api", "allmlp serve"),
        ("explain", "--explain"),
        ("info", "allmlp inspect"),
        ("plot", "allmlp report RUN"),
        ("duplicates", "allmlp check"),
        ("sort", "--sort-into"),
        ("similar", "--nearest"),
    ],
)
def test_commands_of_other_tools_are_answered(allmlp, command, answer):
    outcome = allmlp(command, "runs/mine")
    assert outcome.code == 2
    assert f"No such command '{command}'." in outcome.err and answer in outcome.err


def test_an_unknown_command_is_compared_with_ours(allmlp):
    outcome = allmlp("predikt")
    assert outcome.code == 2 and "Did you mean 'predict'? `allmlp" in outcome.err


@pytest.mark.parametrize(
    ("words", "answer"),
    [
        (("train", "photos", "--lr", "0.1"), "--set optimizer.learning_rate=VALUE"),
        (("train", "photos", "--lr=0.1"), "--set optimizer.learning_rate=VALUE"),
        (("finetune", "photos", "--freeze", "3"), "--trained-blocks N"),
        (("train", "photos", "--imgsz", "64"), "--image-size N"),
        (("train", "--data", "photos"), "without an option"),
        (("train", "photos", "--workers", "3"), "--set data.num_workers=VALUE"),
        (("predict", "--weights", "runs/mine", "a.jpg"), "checkpoint first"),
        (("train", "photos", "--name", "mine"), "--out PATH"),
        (("train", "photos", "--weight_decay", "0.1"), "--set optimizer.weight_decay=VALUE"),
        (("train", "photos", "--mixup", "0.3"), "--set augmentation.mixup=VALUE"),
        (("finetune", "photos", "--drop-path=0.1"), "--set model.stochastic_depth=VALUE"),
        (("train", "photos", "--model-ema"), "--set ema_decay=VALUE"),
        (("train", "photos", "--amp"), "--set precision=VALUE"),
        (("train", "photos", "-b", "16"), "--batch-size N"),
        (("predict", "runs/mine", "--topk", "3", "a.jpg"), "--top-k N"),
        (("predict", "runs/mine", "--source", "a.jpg"), "without an option"),
        (("predict", "runs/mine", "--no-cuda", "a.jpg"), "--device cpu"),
        (("train", "photos", "--from", "b16-i21k"), "`allmlp finetune` takes --from CHECKPOINT"),
    ],
)
def test_options_of_other_tools_are_answered(allmlp, words, answer):
    outcome = allmlp(*words)
    assert outcome.code == 2
    assert "No such option: -" in outcome.err and answer in outcome.err


@pytest.mark.parametrize(("words", "absent"), [(("inspect", "runs/mine", "--output", "x"), "--out PATH")])
def test_no_answer_names_an_option_that_the_command_lacks(allmlp, words, absent):
    outcome = allmlp(*words)
    assert outcome.code == 2 and "No such option: --" in outcome.err and absent not in outcome.err


@pytest.mark.parametrize(
    ("words", "answer"),
    [
        (
            ("train", "data=photos", "epochs=3"),
            "Options are written as --option value; settings of a recipe as --set KEY=VALUE",
        ),
        (("predict", "model=runs/mine", "source=a.jpg"), "Options are written as --option value."),
        (("finetune", "b16-i21k", "photos"), "`allmlp finetune` takes weights as --from CHECKPOINT"),
        (("train", "photos", "mixer_b16"), "`allmlp finetune` takes weights as --from CHECKPOINT"),
    ],
)
def test_arguments_of_other_tools_are_answered(allmlp, words, answer):
    outcome = allmlp(*words)
    assert outcome.code == 2 and answer in outcome.err


@pytest.mark.parametrize(
    ("missing", "meant"),
    [("phtos", "photos"), ("photos/trian", "photos/train"), ("phtos/train", "photos/train"), ("PHOTOS", "photos")],
)
def test_photos_that_are_missing_are_compared_with_whole_paths(allmlp, missing, meant, tmp_path, monkeypatch):
    (tmp_path / "photos" / "train").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    outcome = allmlp("check", missing)
    assert outcome.code == 3 and f"Did you mean '{meant}'" in outcome.err


@pytest.mark.parametrize(
    ("given", "advice"), [("runs/mine/checkpoints/last", "--resume runs/mine"), ("runs/mien", "runs/mine")]
)
def test_a_folder_in_or_like_a_run_is_answered_with_the_run(allmlp, given, advice, tmp_path, monkeypatch):
    (tmp_path / "runs" / "mine").mkdir(parents=True)
    (tmp_path / "runs" / "mine" / "recipe.json").write_text("{}")
    monkeypatch.chdir(tmp_path)
    outcome = allmlp("train", "--resume", given)
    assert outcome.code == 2 and advice in outcome.err


@pytest.mark.parametrize("command", ["train", "finetune"])
def test_a_folder_in_a_run_is_answered_with_the_run_also_if_photos_are_named(command, allmlp, tmp_path, monkeypatch):
    (tmp_path / "runs" / "mine" / "checkpoints" / "last").mkdir(parents=True)
    (tmp_path / "runs" / "mine" / "recipe.json").write_text("{}")
    monkeypatch.chdir(tmp_path)
    outcome = allmlp(command, "clothing", "--resume", "runs/mine/checkpoints/last")
    assert outcome.code == 2
    assert "Give the run: --resume runs/mine." in outcome.err and "is not empty" not in outcome.err


def test_a_folder_next_to_the_run_in_the_current_folder_is_not_inside_it(allmlp, tmp_path, monkeypatch):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "recipe.json").write_text("{}")
    monkeypatch.chdir(tmp_path / "mine")
    outcome = allmlp("train", "--resume", "../other")
    assert outcome.code == 2 and "There is no run in ../other yet." in outcome.err


def test_an_unknown_option_is_compared_with_ours(allmlp):
    outcome = allmlp("train", "photos", "--epoch", "3")
    assert outcome.code == 2 and "--epochs" in outcome.err


@pytest.mark.parametrize(
    ("assignment", "keys"),
    [
        ("lr=0.1", "'optimizer.learning_rate'"),
        ("optimizer.lr=0.1", "'optimizer.learning_rate'"),
        ("learning_rate=0.1", "'optimizer.learning_rate'"),
        ("wd=0.1", "'optimizer.weight_decay'"),
        ("epochs=3", "'num_epochs'"),
        ("imgsz=64", "'model.image_size' or 'transfer.image_size'"),
        ("mixup=0.5", "'augmentation.mixup'"),
        ("opt=adam", "'optimizer.name'"),
        ("Drop-Path=0.1", "'model.stochastic_depth'"),
        ("train.accumulate=2", "'accumulation'"),
        ("scheduler=cosine", "'schedule.decay'"),
        ("optimiser.learning_rate=1", "'optimizer.learning_rate'"),
    ],
)
def test_settings_of_other_tools_are_answered_with_their_whole_key(assignment, keys):
    with pytest.raises(ConfigError) as caught:
        override(load_recipe("photos64"), [assignment])
    message = str(caught.value)
    assert f"unknown key. Did you mean {keys}?" in message and "Keys at this level" not in message


def test_a_key_like_no_other_is_answered_with_all_keys_of_its_level():
    with pytest.raises(ConfigError, match=r"unknown key\. Keys at this level: accumulation, .*seed"):
        override(load_recipe("photos64"), ["zzzz=1"])


@pytest.mark.parametrize(
    ("device", "answer"),
    [
        ("gpu", "Did you mean 'cuda'?"),
        ("GPU", "Did you mean 'cuda'?"),
        ("cuda:7", "CUDA_VISIBLE_DEVICES=7 and --device cuda"),
        ("0", "CUDA_VISIBLE_DEVICES=0 and --device cuda"),
        ("cdua", "Did you mean 'cuda' or 'cpu'?"),
        ("cuda: 1", "CUDA_VISIBLE_DEVICES=1 and --device cuda"),
        ("0,1", "For 2 GPUs, start one process for each with torchrun"),
        ("cuda:0,1", "For 2 GPUs"),
        ("rocm", "Did you mean 'cuda'?"),
        ("metal", "Did you mean 'mps'?"),
        ("tpu", "'tpu'. Expected one of"),
    ],
)
def test_devices_of_other_tools_are_answered(device, answer):
    with pytest.raises(ConfigError) as caught:
        choose_device(device)
    assert answer in str(caught.value)


@pytest.mark.parametrize("command", ["predict", "evaluate"])
def test_a_checkpoint_after_the_photos_is_answered_with_the_right_order(
    command, allmlp, saved_checkpoint, write_photo, tmp_path
):
    photo = write_photo(tmp_path / "photos" / "cat" / "a photo.png", seed=0)
    outcome = allmlp(command, photo, saved_checkpoint)
    assert outcome.code == 2
    assert f"The checkpoint comes first: allmlp {command} {saved_checkpoint} '{photo}'" in outcome.err


@pytest.mark.parametrize("words", [("models",), ("inspect", "S/32"), ("data",), ("data", "clothing")])
def test_json_is_short_for_format_json(allmlp, words):
    short, long = allmlp(*words, "--json"), allmlp(*words, "--format", "json")
    assert short.code == long.code == 0
    assert short.out == long.out and short.out[0] in "[{"


@pytest.mark.parametrize("command", [command.__name__ for command in COMMANDS])
def test_help_has_an_example(allmlp, command):
    text = re.split("^(?:Arguments|Options):$", allmlp(command, "--help").out, flags=re.MULTILINE)[0]
    assert re.search(rf"^ +allmlp {command}( |$)", text, re.MULTILINE)


@pytest.mark.parametrize("command", [command.__name__ for command in COMMANDS])
def test_help_says_what_an_option_does_and_not_only_what_it_is_short_for(allmlp, command):
    assert "Short for" not in allmlp(command, "--help").out


@pytest.mark.parametrize(
    ("command", "first", "later"),
    [
        ("train", ["--out", "--epochs", "--max-minutes"], ["--set", "--classes-from"]),
        (
            "finetune",
            ["--out", "--quality", "--from", "--epochs", "--max-minutes"],
            ["--lr-grid", "--mean", "--std", "--fit"],
        ),
        ("evaluate", ["--split", "--report", "--per-photo"], ["--labels", "--shots", "--draws", "--seed", "--mean"]),
    ],
)
def test_help_begins_with_the_options_that_people_want(allmlp, command, first, later):
    options = re.findall(r"^  (?:-\w, )?(--[a-z][a-z0-9-]*)", allmlp(command, "--help").out, re.MULTILINE)
    assert options[: len(first)] == first
    assert set(later) <= set(options)


@pytest.mark.parametrize("command", ["train", "finetune", "evaluate", "check", "shard"])
def test_photos_have_one_name_in_every_command(allmlp, command):
    help_text = allmlp(command, "--help").out
    assert "PHOTOS" in help_text and not re.search(r"\bDATA\b", help_text)


@pytest.mark.parametrize(
    ("words", "answer"),
    [
        (("report", "runs/mien"), "Did you mean 'runs/mine'?"),
        (("clean", "runs/mien"), "Did you mean 'runs/mine'?"),
        (("train", "--resume", "runs/mien"), "Did you mean 'runs/mine'?"),
        (("predict", "starter", "runz"), "Did you mean 'runs'?"),
        (("evaluate", "starter", "clothing", "--labels", "label.json"), "Did you mean 'labels.json'?"),
        (("report", "https://example.com/run"), "Addresses are not read"),
        (("compare", "https://example.com/run", "runs/mine"), "Addresses are not read"),
        (("train", "--resume", "https://example.com/run"), "Addresses are not read"),
        (("evaluate", "starter", "clothing", "--labels", "https://example.com/x.json"), "Addresses are not read"),
        (("train", "clothing", "--out", "https://example.com/run"), "this is an address"),
        (("predict", "starter", "runs", "-o", "s3://bucket/out.csv"), "it is an address"),
    ],
    ids=" ".join,
)
def test_a_path_that_does_not_exist_is_answered_with_what_lies_beside_it(words, answer, allmlp, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs" / "mine").mkdir(parents=True)
    (tmp_path / "labels.json").write_text("{}")
    outcome = allmlp(*words)
    assert outcome.code in (2, 3) and answer in outcome.err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["labels.json", "runs"]


@pytest.mark.parametrize(
    ("words", "answer"),
    [
        (("train", "photos", "--epochs", "x"), "Invalid value for '--epochs': expected a whole number."),
        (("predict", "x", "y", "--batch-size", "0"), "Invalid value for '--batch-size': expected at least 1."),
        (("predict", "x", "y", "--min-score", "x"), "Invalid value for '--min-score': expected a number."),
        (("predict", "x", "y", "--format", "xml"), "Invalid value for '--format': 'xml' is not one of 'text',"),
    ],
    ids=" ".join,
)
def test_wrong_values_are_answered_in_our_words(words, answer, allmlp):
    outcome = allmlp(*words)
    assert outcome.code == 2 and answer in outcome.err
