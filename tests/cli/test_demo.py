import shlex
from pathlib import Path

from allmlp.cli.demo import demonstrate
from allmlp.config import override
from allmlp.recipes import RECIPES


def test_the_demo_trains_scores_answers_and_ends_with_three_commands_that_work(tmp_path, monkeypatch, capsys, allmlp):
    monkeypatch.chdir(tmp_path)
    # The demo's own recipe, cut down from minutes to seconds.
    recipe = override(RECIPES["demo"](), ["num_epochs=1", "model.num_blocks=1", "model.image_size=[16,16]"])
    demonstrate(recipe, Path("runs/demo-1"))
    shown = capsys.readouterr().out
    assert "372 test photos" in shown
    assert Path("runs/demo-1/report.html").is_file()
    assert len(list(Path("runs/demo-1/photos").iterdir())) == 6
    assert "runs/demo-1/report.html" in shown

    lines = [line for line in shown.partition("Next:")[2].splitlines() if line.strip()]
    predict, evaluate, train = (shlex.split(line, comments=True)[1:] for line in lines)
    assert allmlp(*predict).out.count("runs/demo-1/photos/") == 6
    scored = allmlp(*evaluate)
    assert scored.code == 0
    assert "test: 372 photos." in scored.out
    assert allmlp(*train, "--print-recipe").code == 0
