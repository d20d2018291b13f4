"""What a run says while it reads photos, scores its best weights and writes its report: no long silence."""

import dataclasses
from pathlib import Path

import pytest
from tests.training.small_runs import TINY, write_photos

from allmlp import train
from allmlp.training import progress
from allmlp.training.progress import NoProgress, PhotosRead


class Messages(NoProgress):
    def __init__(self) -> None:
        self.lines: list[str] = []

    def message(self, text: str) -> None:
        self.lines.append(text)

    def finish(self) -> None:
        self.lines.append("training ended")


def test_reading_is_announced_at_the_first_photo_and_then_every_ten_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr(progress.time, "monotonic", lambda: now)
    messages = Messages()
    photos_read = PhotosRead(messages)
    for done in range(1, 101):
        photos_read(done, 100)
        now += 0.25
    assert messages.lines == ["photos  reading 100 photos", "photos  42 of 100 read", "photos  83 of 100 read"]


def test_a_run_says_what_it_does_before_its_first_and_after_its_last_epoch(tmp_path: Path) -> None:
    messages = Messages()
    photos = write_photos(tmp_path / "photos")
    run = tmp_path / "run"
    train(dataclasses.replace(TINY, num_epochs=1), photos, run, progress=messages)
    starts = ["photos  reading 84 photos", "photos  all readable", "training ended", "scores  the best checkpoint on "]
    starts += ["report  plots and the page", "validation  top-1", "test        top-1", "unknown  "]
    places = [next(place for place, line in enumerate(messages.lines) if line.startswith(start)) for start in starts]
    assert places == sorted(places)
    assert "validation 3, test 42 photos" in messages.lines[places[3]]
    log = (run / "log.txt").read_text(encoding="utf-8")
    assert "scores  the best checkpoint on validation 3, test 42 photos" in log
