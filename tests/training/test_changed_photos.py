"""A resumed run refuses photos that changed under the same names, and warns of copies, in every container."""

import dataclasses
import io
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from tests.data.photo_sources import write_folder, write_parquet, write_table, write_zip
from tests.training.small_runs import CLASSES, TINY, write_photos

from allmlp import DataError, train
from allmlp.data import open_dataset, write_shards
from allmlp.training.progress import NoProgress

RECIPE = dataclasses.replace(TINY, num_epochs=1)
Photos = dict[str, bytes]


class StopAfterTwo(NoProgress):
    """Stops before a run ends, and keeps its messages."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def message(self, text: str) -> None:
        self.lines.append(text)

    def step(self, step: int, **_: float) -> None:
        if step == 2:
            raise KeyboardInterrupt


def as_zip(root: Path, photos: Photos) -> Path:
    root.mkdir(exist_ok=True)
    return write_zip(root / "photos.zip", photos)


def as_parquet(root: Path, photos: Photos) -> Path:
    for split in ("train", "test"):
        paths = [path for path in photos if path.startswith(split)]
        rows = [(path.partition("/")[2], photos[path], CLASSES.index(path.split("/")[1])) for path in paths]
        write_parquet(root / "parquet" / f"{split}.parquet", rows, names=list(CLASSES))
    return root / "parquet"


def as_table(root: Path, photos: Photos) -> Path:
    write_folder(root / "photos", photos)
    rows = [(f"photos/{path}", path.split("/")[1], path.split("/")[0]) for path in photos]
    return write_table(root / "table.csv", [("path", "label", "split"), *rows])


def as_shards(root: Path, photos: Photos) -> Path:
    shutil.rmtree(root / "shards", ignore_errors=True)
    shutil.rmtree(root / "packed", ignore_errors=True)
    write_shards(open_dataset(write_folder(root / "packed", photos)), root / "shards", shard_bytes=30_000)
    return root / "shards"


FORMS: dict[str, Callable[[Path, Photos], Path]] = {
    "folder": lambda root, photos: write_folder(root / "folder", photos),
    "zip": as_zip,
    "Parquet": as_parquet,
    "CSV": as_table,
    "tar shards": as_shards,
}


def forms(*fast: str) -> list[Any]:
    """Return all forms; those that are not named are slow tests, since digests are compared in one way for all."""
    return [pytest.param(form, id=name, marks=() if name in fast else pytest.mark.slow) for name, form in FORMS.items()]


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Photos:
    root = write_photos(tmp_path_factory.mktemp("photos"), per_class=12)
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in sorted(root.rglob("*.png"))}


def saved_again(png: bytes) -> bytes:
    content = io.BytesIO()
    Image.open(io.BytesIO(png)).save(content, "PNG", compress_level=1)
    return content.getvalue()


@pytest.mark.parametrize("form", forms("folder", "Parquet", "tar shards"))
def test_photos_that_changed_are_refused_by_name_in_every_container(
    form: Callable[[Path, Photos], Path], photos: Photos, tmp_path: Path
) -> None:
    first, other, scored = "train/blue/00.png", "train/red/07.png", "test/green/03.png"
    changes: tuple[Photos, ...] = (
        {first: photos[other], other: photos[first]},
        {first: photos[first] + b"x"},
        {other: saved_again(photos[other])},
        {scored: photos["test/green/04.png"]},
    )
    with pytest.raises(KeyboardInterrupt):
        train(RECIPE, form(tmp_path, photos), tmp_path / "run", progress=StopAfterTwo())
    for changed in changes:
        source = form(tmp_path, {**photos, **changed})
        with pytest.raises(DataError, match="this photo has changed since the run started") as caught:
            train(RECIPE, source, tmp_path / "run", resume=True)
        assert all(path.partition("/")[2] in str(caught.value) for path in changed)
    other_form = FORMS["zip" if form is not FORMS["zip"] else "folder"]
    train(RECIPE, other_form(tmp_path / "elsewhere", photos), tmp_path / "run", resume=True)  # the same bytes go on


@pytest.mark.parametrize("form", forms("zip", "CSV"))
def test_copies_are_warned_of_in_every_container(
    form: Callable[[Path, Photos], Path], photos: Photos, tmp_path: Path
) -> None:
    copies = {"test/blue/00.png": photos["train/blue/02.png"], "train/red/copy.png": photos["train/blue/01.png"]}
    progress = StopAfterTwo()
    with pytest.raises(KeyboardInterrupt):
        train(RECIPE, form(tmp_path, {**photos, **copies}), tmp_path / "run", progress=progress)
    assert [line for line in progress.lines if line.startswith("warning ") and "fewer than 20" not in line] == [
        "warning 1 photo of train is in test: blue/02.png. The test score will be too high",
        "warning one photo has two labels: blue/01.png = red/copy.png",
    ]
