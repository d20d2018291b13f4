"""A mirror of the authors' files on this machine, for programs whose downloads have a home of their own."""

import contextlib
import io
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import pytest
from tests.servers.files import FileServer

from allmlp.checkpoints.sources.catalog import CATALOG

MODEL = CATALOG["s16-gsam"]
URL_PATH = "gsam/Mixer-S_16.npz"
PATH = Path("mixer_models", URL_PATH)
"""The path of MODEL below a home."""


def make_npz(seed: int = 0, num_values: int = 400_000) -> bytes:
    content = io.BytesIO()
    np.savez(content, head=np.random.default_rng(seed).standard_normal(num_values, dtype=np.float32))
    return content.getvalue()


CONTENT = make_npz()
HALF = len(CONTENT) // 2

# A program that downloads MODEL and prints its path.
FETCH = [
    sys.executable,
    "-c",
    "from allmlp.checkpoints.sources.catalog import CATALOG\n"
    "from allmlp.checkpoints.sources.published import fetch_published\n"
    "print(fetch_published(CATALOG['s16-gsam']))",
]


def new_home(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Let downloads go to a folder below `folder`, and nothing forbid or redirect them."""
    for name in ("ALLMLP_OFFLINE", "HF_HUB_OFFLINE", "HTTP_PROXY", "http_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("ALLMLP_HOME", str(folder / "home"))
    return folder / "home"


@contextlib.contextmanager
def mirror(files: Mapping[str, bytes], monkeypatch: pytest.MonkeyPatch) -> Iterator[FileServer]:
    """Serve files by the paths that they have on the authors' server, and name it as the mirror."""
    with FileServer(files=dict(files)) as server:
        monkeypatch.setenv("ALLMLP_MIXER_MODELS_URL", server.url)
        yield server


def leftovers(home: Path) -> list[str]:
    """Return the names of what unfinished downloads leave."""
    return sorted(path.name for path in home.rglob("*") if ".part" in path.name)
