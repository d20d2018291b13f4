"""What the tests of remote shards share."""

from pathlib import Path

import pytest

from allmlp.data.sources.tar_shards import remote_files, remote_shards


@pytest.fixture
def cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache of remote shards, with downloads allowed and without waiting before another try."""
    home = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("ALLMLP_HOME", str(home))
    monkeypatch.setattr(remote_files, "RETRY_S", 0.0)
    remote_shards._opened.cache_clear()
    for name in ("ALLMLP_OFFLINE", "HF_HUB_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    return home / "remote-shards"
