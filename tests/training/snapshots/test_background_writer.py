"""Writes in the background of training, one at a time."""

import threading
from pathlib import Path

import pytest

from allmlp.errors import ConfigError
from allmlp.training.snapshots.background_writer import BackgroundWriter


def test_writes_follow_each_other_in_the_order_of_submission() -> None:
    writer = BackgroundWriter(pytest.fail)
    go_on, written = threading.Event(), []

    def first() -> None:
        assert go_on.wait(60)
        written.append("first")

    writer.submit(Path("first"), first)
    assert not written  # submit returned before the write had ended
    go_on.set()
    writer.submit(Path("second"), lambda: written.append("second"))
    writer.wait()
    assert written == ["first", "second"]


def test_without_a_thread_it_is_written_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    def start(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", start)
    writer, written = BackgroundWriter(pytest.fail), []
    for name in ("first", "second"):
        writer.submit(Path(name), lambda name=name: written.append((name, threading.current_thread())))  # type: ignore[misc]
    writer.wait()
    assert written == [(name, threading.main_thread()) for name in ("first", "second")]


def test_a_bug_is_reported_at_once_and_raised_once(capsys: pytest.CaptureFixture[str]) -> None:
    reported = threading.Event()
    lines: list[str] = []

    def warn(line: str) -> None:
        lines.append(line)
        reported.set()
        raise ConfigError("log.txt: could not be written")  # the log is on the same disk

    def fail() -> None:
        raise RuntimeError("a bug")

    writer = BackgroundWriter(warn)
    writer.submit(Path("run/last"), fail)
    assert reported.wait(60)
    with pytest.raises(RuntimeError, match="a bug"):
        writer.submit(Path("run/last"), pytest.fail)
    writer.wait()
    assert lines == ["run/last: saving failed because of a bug: RuntimeError('a bug')."]
    assert capsys.readouterr().err == f"{lines[0]}\n"
