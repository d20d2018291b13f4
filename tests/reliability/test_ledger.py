"""The ledger: what has passed is not run again, and what has changed is."""

import json
from pathlib import Path

import pytest
from tests.reliability import ledger as ledger_module
from tests.reliability.ledger import Ledger, Outcome


def test_a_case_that_passed_is_not_run_again_in_another_session(tmp_path: Path) -> None:
    path = tmp_path / "results" / "ledger.json"
    assert Ledger(path).run("a case", lambda: Outcome.of([], values=3)) is not None
    assert Ledger(path).run("a case", pytest.fail) is None
    assert json.loads(path.read_text())["results"]["a case"]["figures"] == {"values": 3}


def test_a_case_that_failed_is_run_again(tmp_path: Path) -> None:
    path = tmp_path / "ledger.json"
    Ledger(path).run("a case", lambda: Outcome.of(["it failed"]))
    assert Ledger(path).run("a case", lambda: Outcome.of([])) == Outcome.of([])
    assert Ledger(path).passed("a case")


def test_other_sources_or_another_machine_begin_anew(tmp_path: Path) -> None:
    path = tmp_path / "ledger.json"
    for change in ({"sources": "others"}, {"environment": {"device": "another"}}):
        Ledger(path).run("a case", lambda: Outcome.of([]))
        path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
        assert not Ledger(path).passed("a case")
        Ledger(path).run("another case", lambda: Outcome.of([]))
        assert list(json.loads(path.read_text())["results"]) == ["another case"]


def test_a_change_of_the_code_changes_the_digest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger_module, "ROOT", tmp_path)
    (tmp_path / "src" / "allmlp").mkdir(parents=True)
    source = tmp_path / "src" / "allmlp" / "loop.py"
    source.write_text("a = 1\n")
    before = ledger_module.sources_digest()
    source.write_text("a = 2\n")
    assert ledger_module.sources_digest() != before
