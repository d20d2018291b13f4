"""Paths that no file can have, or that block when opened, as every argument that takes a path: one clear error each."""

import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.data.photo_sources import write_parquet

from allmlp.cli.main import main


def long_name(folder: Path) -> str:
    return str(folder / ("x" * 300))


def long_path(folder: Path) -> str:
    return str(folder / ("a/" * 3_000))


def link_loop(folder: Path) -> str:
    (folder / "loop").symlink_to("loop")
    return str(folder / "loop")


def below_a_link_loop(folder: Path) -> str:
    return link_loop(folder) + "/x"


def nul(folder: Path) -> str:
    return str(folder / "a\0b")


def pipe(folder: Path) -> str:
    os.mkfifo(folder / "pipe")
    return str(folder / "pipe")


def without_permission(folder: Path) -> str:
    (folder / "closed").mkdir(mode=0)
    return str(folder / "closed" / "x")


PATHS = (long_name, long_path, link_loop, below_a_link_loop, nul, pipe, without_permission)

# "@" is the path; DATA and PHOTO exist.
COMMANDS = [
    "train @",
    "train DATA --recipe photos64 --epochs 1 --out @",
    "train DATA --resume @",
    "finetune @",
    "finetune DATA --from @",
    "finetune DATA --epochs 1 --out @",
    "finetune DATA --resume @",
    "evaluate @ DATA",
    "evaluate starter @",
    "evaluate starter DATA --split train --labels @",
    "predict @ PHOTO",
    "predict starter @",
    "embed @ PHOTO -o NEW.npz",
    "embed starter @ -o NEW.npz",
    "embed starter PHOTO -o @",
    "inspect @",
    "inspect starter --plot @",
    "convert @ NEW --to timm",
    "convert starter @ --to allmlp",
    "data @",
    "shard @ NEW",
    "shard DATA @",
    "demo --out @",
]


# `make test` tries every command with one path, and every path with one command.
CASES = [
    pytest.param(
        command, make, marks=() if make is long_name or command == "train DATA --resume @" else pytest.mark.slow
    )
    for command in COMMANDS
    for make in PATHS
]


@pytest.mark.parametrize(("command", "make"), CASES)
def test_a_path_that_cannot_be_used_is_one_clear_error(
    command: str, make: Callable[[Path], str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if make is without_permission and os.geteuid() == 0:
        pytest.skip("root may read everything")
    data = write_parquet(tmp_path / "x.parquet", [("1.jpg", b"1", 0), ("2.jpg", b"2", 1)], names=["a", "b"])
    words = {"@": make(tmp_path), "DATA": str(data), "PHOTO": str(data), "NEW": str(tmp_path / "new")}
    words["NEW.npz"] = f"{words['NEW']}.npz"
    with pytest.raises(SystemExit) as caught:
        main([words.get(word, word) for word in command.split()])
    assert caught.value.code in (2, 3, 4)
    error = capsys.readouterr().err
    assert "Traceback" not in error
    assert len(error) < 10_000
    assert not os.path.exists(words["NEW"])  # noqa: PTH110


def test_a_report_into_a_folder_that_is_read_only_says_how_to_write_it_elsewhere(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(**_: object) -> None:  # as a disk that is mounted read-only: root may write anywhere else
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr("tempfile.TemporaryFile", refuse)
    with pytest.raises(SystemExit) as caught:
        main(["report", str(tmp_path)])
    assert caught.value.code == 2
    error = capsys.readouterr().err
    assert f"{tmp_path}: the page cannot be written into this folder (Read-only file system)" in error
    assert f"report {tmp_path} --out report.html" in error
