"""Which of several processes speaks."""

import pytest
import torch.distributed as dist

from allmlp.errors import CheckpointError, DataError, ReportedError
from allmlp.training import is_first_process, is_speaker


@pytest.mark.parametrize(("rank", "is_first"), [(None, True), ("0", True), ("1", False), ("10", False)])
def test_the_first_process_of_torchruns_speaks(
    rank: str | None, is_first: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("RANK", raising=False)
    if rank is not None:
        monkeypatch.setenv("RANK", rank)
    assert is_first_process() is is_first


def test_a_process_alone_reports_its_errors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    assert is_speaker(DataError("no photos"))


@pytest.mark.parametrize("speaks", [True, False])
def test_an_error_that_was_agreed_on_says_who_reports_it(speaks: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "0")
    error = ReportedError(CheckpointError("damaged"), is_speaker=speaks)
    assert is_speaker(error) is speaks
    assert (str(error), error.exit_code, error.is_shared) == ("damaged", CheckpointError.exit_code, False)


def test_before_processes_meet_and_without_torchruns_store_each_reports_its_own(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "1")
    monkeypatch.delenv("TORCHELASTIC_USE_AGENT_STORE", raising=False)
    assert is_speaker(DataError("no photos"))


def test_an_error_about_a_name_that_is_not_utf8_is_reported_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fault: its text could not be encoded, which became an error of its own."""
    store = dist.TCPStore("127.0.0.1", 0, is_master=True)
    environment = {"WORLD_SIZE": "2", "RANK": "1", "TORCHELASTIC_USE_AGENT_STORE": "True", "MASTER_ADDR": "127.0.0.1"}
    for name, value in {**environment, "MASTER_PORT": str(store.port)}.items():
        monkeypatch.setenv(name, value)
    error = DataError("caf\udce9: no photos")
    assert [is_speaker(error), is_speaker(error)] == [True, False]
