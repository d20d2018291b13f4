"""Fixtures for downloads: a separate home folder, and a mirror of the authors' files."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.servers.files import FileServer


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    from tests.servers.mirror import new_home  # not at the top: few tests download anything

    return new_home(tmp_path, monkeypatch)


@pytest.fixture
def server(home: Path, monkeypatch: pytest.MonkeyPatch) -> "Iterator[FileServer]":
    from tests.servers.mirror import CONTENT, URL_PATH, mirror

    with mirror({URL_PATH: CONTENT}, monkeypatch) as server:
        yield server
