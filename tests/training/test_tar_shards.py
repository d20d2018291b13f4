"""A run on tar shards is the run on the photos they were made of, bit for bit, also resumed and with other workers."""

import dataclasses
from pathlib import Path

import pytest
from tests.servers.files import FileServer
from tests.training.same_run import assert_same_run
from tests.training.small_runs import TINY, write_photos

from allmlp import Recipe, evaluate, train
from allmlp.data import open_dataset, write_shards
from allmlp.training.progress import NoProgress


class StopAfter(NoProgress):
    """Stops a run after a step."""

    def __init__(self, last: int) -> None:
        self.last = last

    def step(self, step: int, **_: float) -> None:
        if step == self.last:
            raise KeyboardInterrupt


def with_data(**changes: object) -> Recipe:
    return dataclasses.replace(TINY, data=dataclasses.replace(TINY.data, **changes))  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    root = tmp_path_factory.mktemp("sources")
    folder = write_photos(root / "folder", per_class=20)
    write_shards(open_dataset(folder), root / "shards", shard_bytes=40_000)
    assert len(list((root / "shards").glob("train-*.tar"))) > 2
    return folder, root / "shards"


def test_losses_and_weights_are_those_of_the_folder(sources: tuple[Path, Path], tmp_path: Path) -> None:
    folder, shards = sources
    train(with_data(storage="memory", num_workers=1), folder, tmp_path / "of_folder")
    train(with_data(storage="stream", num_workers=3), shards, tmp_path / "of_shards")
    assert_same_run(tmp_path / "of_folder", tmp_path / "of_shards")
    for name in ("split.json", "photos.csv", "predictions.csv"):
        assert (tmp_path / "of_folder" / name).read_bytes() == (tmp_path / "of_shards" / name).read_bytes(), name

    with pytest.raises(KeyboardInterrupt):
        train(with_data(storage="stream", num_workers=3), shards, tmp_path / "resumed", progress=StopAfter(5))
    with pytest.raises(KeyboardInterrupt):  # in mid-epoch, on a new index
        (shards / ".allmlp-index.arrow").unlink()
        recipe = with_data(storage="stream", num_workers=1)
        train(recipe, shards, tmp_path / "resumed", resume=True, progress=StopAfter(7))
    train(with_data(storage="stream", num_workers=2), folder, tmp_path / "resumed", resume=True)
    assert_same_run(tmp_path / "of_folder", tmp_path / "resumed")
    scores = [evaluate(tmp_path / "of_folder", source) for source in sources]
    assert scores[0].loss == scores[1].loss
    assert scores[0].digests == scores[1].digests


def test_a_run_on_shards_at_an_address_is_the_run_on_the_folder(
    sources: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, shards = sources
    recipe = with_data(storage="stream", num_workers=2)
    monkeypatch.setenv("ALLMLP_HOME", str(tmp_path / "cache"))
    train(recipe, shards, tmp_path / "of_folder")
    files = {f"flowers/{path.name}": path.read_bytes() for path in shards.iterdir() if path.suffix != ".arrow"}
    with FileServer(files=files) as server:
        address = f"{server.url}/flowers/"
        with pytest.raises(KeyboardInterrupt):
            train(recipe, address, tmp_path / "resumed", progress=StopAfter(2))
        train(recipe, address, tmp_path / "resumed", resume=True)
        assert_same_run(tmp_path / "of_folder", tmp_path / "resumed")
        for name in ("split.json", "photos.csv", "predictions.csv"):
            assert (tmp_path / "of_folder" / name).read_bytes() == (tmp_path / "resumed" / name).read_bytes(), name
        assert len(server.asked("GET", ".tar")) == len(list(shards.glob("*.tar")))
        scores = [evaluate(tmp_path / "resumed", source) for source in (shards, address)]
    assert scores[0].loss == scores[1].loss
    assert scores[0].digests == scores[1].digests
