import json
import shlex
from pathlib import Path

import pytest

from allmlp.cli.commands.demo import demonstrate
from allmlp.config import override
from allmlp.errors import ConfigError
from allmlp.recipes import RECIPES


def test_the_demo_trains_twice_scores_answers_and_ends_with_three_commands_that_work(
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
    predict, evaluate, train = (words[words.index("allmlp") + 1 :] for words in commands)
    assert allmlp(*predict).out.count("runs/demo-1/photos/") == 6
    scored = allmlp(*evaluate)
    assert scored.code == 0
    assert "test: 372 photos." in scored.out
    assert allmlp(*train, "--print-recipe").code == 0
