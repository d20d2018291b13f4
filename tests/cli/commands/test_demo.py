import json
import shlex
import sys
from pathlib import Path

import pytest
from tests.serve.running import started

from allmlp.cli.commands.demo import demo, demonstrate
from allmlp.config import override
from allmlp.errors import ConfigError
from allmlp.recipes import RECIPES


@pytest.mark.parametrize(("minutes", "recipes"), [(1.0, ("demo", 100, 100)), (60.0, ("demo_short", 32, 50))])
def test_a_slow_machine_trains_shorter_recipes(minutes, recipes, monkeypatch, tmp_path, capsys):
    chosen = []
    monkeypatch.setattr("allmlp.training.estimate_minutes", lambda *_, **__: minutes)
    monkeypatch.setattr("allmlp.cli.commands.demo.demonstrate", lambda *given, **_: chosen.extend(given))
    demo(tmp_path / "demo", seed=5)
    scratch, transfer, _ = chosen
    assert (scratch.name, scratch.batch_size, transfer.batch_size) == recipes
    assert transfer.name == "finetune"
    assert scratch.seed == transfer.seed == 5
    assert scratch.max_minutes + transfer.max_minutes < 6
    assert capsys.readouterr().out.count("would take about 60 minutes on this machine") == (2 if minutes == 60 else 0)


def test_a_used_folder_is_refused_before_the_machine_is_timed(tmp_path, allmlp):
    (tmp_path / "mine").touch()
    outcome = allmlp("demo", "--out", tmp_path)
    assert outcome.code == 2 and "is not empty; nothing is ever overwritten" in outcome.err
    assert not outcome.out  # timing says how long a recipe would take


def test_the_demo_trains_twice_scores_answers_and_ends_with_four_commands_that_work(
    tmp_path, monkeypatch, capsys, allmlp
):
    monkeypatch.chdir(tmp_path)
    # The demo's own recipes, cut down from minutes to seconds.
    scratch = override(RECIPES["demo"](), ["num_epochs=1", "model.num_blocks=1", "model.image_size=[16,16]"])
    transfer = override(RECIPES["finetune"](), ["num_epochs=1", "transfer.image_size=[16,16]"])
    demonstrate(scratch, transfer, Path("runs/demo-1"))
    shown = capsys.readouterr().out
    for name in ("scratch", "finetuned"):
        run = Path("runs/demo-1") / name
        assert (run / "report.html").is_file()
        top1 = json.loads((run / "metrics.json").read_text())["evaluations"]["test"]["top1"]
        assert f"{top1:.1%}" in shown.partition("test accuracy")[2]
    assert len(list(Path("runs/demo-1/photos").iterdir())) == 6
    assert "runs/demo-1/finetuned/report.html" in shown
    with pytest.raises(ConfigError, match="runs/demo-1: is not empty"):
        demonstrate(scratch, transfer, Path("runs/demo-1"))

    lines = [line for line in shown.partition("Next:")[2].splitlines() if line.strip()]
    commands = [shlex.split(line, comments=True) for line in lines]
    predict, evaluate, serve, train = (words[words.index("allmlp") + 1 :] for words in commands)
    assert allmlp(*predict).out.count("runs/demo-1/photos/") == 6
    scored = allmlp(*evaluate)
    assert scored.code == 0
    assert "test: 372 photos." in scored.out
    assert allmlp(*train, "--print-recipe").code == 0
    pytest.importorskip("fastapi")
    with started([sys.executable, "-m", "allmlp", *serve, "--port", "0"]) as server:
        photo = next(Path("runs/demo-1/photos").iterdir()).read_bytes()
        assert server.predict(photo).json["results"][0]["labels"]
        assert b"<!doctype html>" in server.ask("GET", "/").body
