"""`allmlp serve`: what it refuses before it listens. tests/serve/ runs it."""

import json
import subprocess
import sys

import pytest

WITHOUT = """
import json, sys
from allmlp.cli.main import main
import importlib.util
real = importlib.util.find_spec
importlib.util.find_spec = lambda name, *rest: None if name in json.loads(sys.argv[1]) else real(name, *rest)
main(["serve", "anything"])
"""


def test_a_missing_extra_is_one_command():
    command = [sys.executable, "-c", WITHOUT, json.dumps(["uvicorn", "prometheus_client"])]
    outcome = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert outcome.returncode == 5
    assert outcome.stderr == (
        "allmlp: Serving needs uvicorn, prometheus-client, not installed here: pip install 'allmlp[serve]'\n"
    )


@pytest.fixture(autouse=True)
def _extra():
    pytest.importorskip("uvicorn")


def test_a_key_that_is_not_set_is_refused(allmlp, saved_checkpoint, monkeypatch):
    monkeypatch.delenv("NO_SUCH_KEY", raising=False)
    outcome = allmlp("serve", saved_checkpoint, "--api-key-env", "NO_SUCH_KEY")
    assert outcome.code == 2
    assert outcome.err == (
        "allmlp: --api-key-env NO_SUCH_KEY: this environment variable is not set, or empty. Set it to the key first.\n"
    )


def test_a_checkpoint_that_is_not_there_is_refused(allmlp, tmp_path):
    outcome = allmlp("serve", tmp_path / "nothing", "--port", "0")
    assert outcome.code == 4
    assert "there is no such checkpoint" in outcome.err


def test_an_open_address_without_a_key_is_noted(allmlp, tmp_path):
    outcome = allmlp("serve", tmp_path / "nothing", "--host", "0.0.0.0", "--port", "0")
    assert outcome.err.startswith("Without --api-key-env, anyone who reaches this address may use the model.\n")


def test_more_photos_per_request_than_the_queue_holds_are_refused(allmlp, saved_checkpoint):
    outcome = allmlp("serve", saved_checkpoint, "--max-photos", 500)
    assert outcome.code == 2
    assert "max_photos is 500, more than max_queue (256) can ever hold" in outcome.err


def test_a_short_queue_alone_also_limits_a_request(allmlp, saved_checkpoint, monkeypatch):
    limits = []
    monkeypatch.setattr("allmlp.serve.serve", lambda *_, options, **__: limits.append(options))
    for words in (["--max-queue", 10], ["--max-queue", 100], ["--max-photos", 100]):
        assert allmlp("serve", saved_checkpoint, *words).code == 0
    assert [(each.max_queue, each.max_photos) for each in limits] == [(10, 10), (100, 64), (256, 100)]
