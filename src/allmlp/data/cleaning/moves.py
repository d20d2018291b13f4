"""Moves of photos, with a log from which all of them can be undone."""

import contextlib
import errno
import json
import os
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Any

from allmlp.data.cleaning.plan import PhotoMove
from allmlp.data.decoding.limits import MAX_PHOTO_BYTES
from allmlp.data.digests import photo_digest
from allmlp.data.sources.file_reader import file_problem
from allmlp.errors import AllmlpError, DataError
from allmlp.io.atomic_write import advice_for, reason_of
from allmlp.io.display import bullets, escape
from allmlp.io.path_problem import check_regular

__all__ = ["carry_out", "new_log_path", "undo"]

_FORMAT = "allmlp clean log 1"
_MAX_LOG_BYTES = 1 << 28


def new_log_path(table: Path) -> Path:
    """Return the path of a new log next to a table of choices: "errors-log.jsonl", "errors-log-2.jsonl", ..."""
    names = (table.with_name(f"{table.stem}-log{ending}.jsonl") for ending in _endings("-{}"))
    return next(path for path in names if not os.path.lexists(path))


def carry_out(moves: Sequence[PhotoMove], log: Path) -> list[PhotoMove]:
    """Move photos, and return the moves with the targets that they got: "x.jpg" becomes "x (2).jpg" if that is taken.

    The new file `log` gets a line before each move, on disk before the photo moves.

    Raises:
        DataError: a photo is missing, a link or not the one that the run read, or cannot be moved. The moves before it stay,
            and the message lists them.
        KeyboardInterrupt: Ctrl-C. Its notes list the moves before it.
    """
    done: list[PhotoMove] = []
    try:
        with log.open("x", encoding="ascii") as file:
            _write_line(file, {"format": _FORMAT})
            for move in moves:
                _check(move.source, move.sha256)
                done.append(_move_to_free_name(move, file))
    except OSError as error:
        where = error.filename or log
        problem = f"{escape(where)}: could not be moved or written ({reason_of(error)}). {advice_for(error)}"
        raise DataError(_with_done(problem, done, len(moves), log)) from error
    except AllmlpError as error:
        raise DataError(_with_done(str(error), done, len(moves), log)) from error
    except KeyboardInterrupt as stop:
        stop.add_note(_with_done("Stopped by Ctrl-C.", done, len(moves), log))
        raise
    return done


def undo(log: Path) -> list[PhotoMove]:
    """Move photos back as a log says, the last one first; return what was moved, from where it was to where it is again.

    Moves that did not happen, or are undone already, are passed over, and what an interrupted move left is removed. Folders
    that were made for the photos are removed if empty.

    Raises:
        DataError: the log cannot be read, or a photo is in neither of its two places, and nothing was moved; or a photo has
            changed, or another file has its name. The photos before it stay back.
        KeyboardInterrupt: Ctrl-C. Its notes list the moves before it.
    """
    lines = _read_log(log)
    _check_present(lines, log)
    done: list[PhotoMove] = []
    num_moves = sum("from" in line for line in lines)
    try:
        for line in reversed(lines):
            if "folder" in line:
                with contextlib.suppress(OSError):  # not empty, or gone
                    Path(line["folder"]).rmdir()
            elif move := _move_back(Path(line["from"]), Path(line["to"]), line["sha256"]):
                done.append(move)
    except OSError as error:
        where = error.filename or log
        problem = f"{escape(where)}: could not be moved back ({reason_of(error)}). {advice_for(error)}"
        raise DataError(_with_done(problem, done, num_moves, log, is_undo=True)) from error
    except AllmlpError as error:
        raise DataError(_with_done(str(error), done, num_moves, log, is_undo=True)) from error
    except KeyboardInterrupt as stop:
        stop.add_note(_with_done("Stopped by Ctrl-C.", done, num_moves, log, is_undo=True))
        raise
    return done


def _check_present(lines: Sequence[dict[str, str]], log: Path) -> None:
    """Check that each photo of a log is where it was moved to or where it came from, before any is moved back."""
    targets: dict[str, list[str]] = {}  # a photo has several if another program took the name that it should get
    for line in lines:
        if "from" in line:
            targets.setdefault(line["from"], []).append(line["to"])
    if lost := [source for source in targets if not any(map(os.path.lexists, [source, *targets[source]]))]:
        listed = bullets(f"{escape(source)} -> {escape(targets[source][-1])}" for source in lost)
        raise DataError(
            f"{escape(log)}: {len(lost):,} of {len(targets):,} photos are in neither of their two places:\n{listed}\n"
            "Nothing was moved. If a folder was renamed or is not mounted, bring it back. If the photos were moved again, undo "
            "that first. If they were deleted, remove their lines from the log."
        )


def _move_back(source: Path, target: Path, sha256: str) -> PhotoMove | None:
    if not os.path.lexists(target):
        return None
    if os.path.lexists(source):
        if _is_photo(source, sha256):  # it never moved; `target` is what an interrupted move left, or a file of others
            if _is_beginning(target, source):
                target.unlink()
            return None
        if not _is_beginning(source, target):
            raise DataError(f"{escape(source)}: another file has this name now. Move it away, and repeat this.")
    _check(target, sha256, advice="Look at it. If it should stay, remove its line from the log, and repeat this.")
    if os.path.lexists(source):
        source.unlink()  # what an interrupted undo left
    source.parent.mkdir(parents=True, exist_ok=True)
    _move(target, source)
    return PhotoMove(target, source, sha256)


def _move_to_free_name(move: PhotoMove, log: IO[str]) -> PhotoMove:
    missing = [folder for folder in move.target.parents if not folder.exists()]
    for folder in reversed(missing):
        _write_line(log, {"folder": str(folder)})
        folder.mkdir()
    for ending in _endings(" ({})"):
        target = move.target.with_name(f"{move.target.stem}{ending}{move.target.suffix}")
        if os.path.lexists(target):
            continue
        _write_line(log, {"from": str(move.source), "to": str(target), "sha256": move.sha256})
        with contextlib.suppress(FileExistsError):  # made by another program just now
            _move(move.source, target)
            return move._replace(target=target)
    raise AssertionError("unreachable: there is always a free name")


def _move(source: Path, target: Path) -> None:
    """Move a file. FileExistsError if there is one already: the name is reserved with an empty file, then replaced."""
    with target.open("xb"):
        pass
    try:
        _replace(source, target)
    except BaseException:
        with contextlib.suppress(OSError):
            if source.exists():
                target.unlink()
        raise


def _replace(source: Path, target: Path) -> None:
    try:
        source.replace(target)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        shutil.copy2(source, target)  # to another disk
        with target.open("rb+") as file:
            os.fsync(file.fileno())
        source.unlink()


_LOOK = "Look at it, and remove its line."


def _check(path: Path, sha256: str, *, advice: str = _LOOK) -> None:
    """Check that a photo is the one that is meant."""
    if path.is_symlink():
        raise DataError(f"{escape(path)}: this is a link. Move the photo that it points to, by hand.")
    if problem := file_problem(path):
        raise DataError(f"{escape(path)}: this photo cannot be moved: {problem}.")
    if not _is_photo(path, sha256):
        raise DataError(
            f"{escape(path)}: this is not the photo that the run read: its name is the same, its bytes are not. {advice}"
        )


def _is_photo(path: Path, sha256: str) -> bool:
    return _is_small_file(path) and photo_digest(path.read_bytes()) == sha256


def _is_beginning(path: Path, whole: Path) -> bool:
    """Return whether a file holds the first bytes of another one, or none or all of them: a copy that may be incomplete."""
    return _is_small_file(path) and _is_small_file(whole) and whole.read_bytes().startswith(path.read_bytes())


def _is_small_file(path: Path) -> bool:
    return not path.is_symlink() and file_problem(path) is None and path.stat().st_size <= MAX_PHOTO_BYTES


def _with_done(problem: str, done: Sequence[PhotoMove], num_moves: int, log: Path, *, is_undo: bool = False) -> str:
    if not done:
        return f"{problem}\nNothing was moved."
    lines = bullets(f"{escape(move.source)} -> {escape(move.target)}" for move in done)
    count = f"{len(done):,} of {num_moves:,}"
    if is_undo:
        return f"{problem}\nStopped there. Moved back before it, {count}; repeat the command for the others:\n{lines}"
    undone = f"`allmlp clean --undo {escape(log)}` moves them back"
    return f"{problem}\nStopped there. Moved before it, {count} (log: {escape(log)}; {undone}):\n{lines}"


def _write_line(file: IO[str], values: dict[str, str]) -> None:
    file.write(json.dumps(values) + "\n")  # ASCII: bytes of a name that are not UTF-8 become escapes
    file.flush()
    os.fsync(file.fileno())


def _read_log(log: Path) -> list[dict[str, Any]]:
    try:
        check_regular(log)
        if log.stat().st_size > _MAX_LOG_BYTES:
            raise ValueError(f"larger than {_MAX_LOG_BYTES:,} bytes")
        first, *rest = log.read_text(encoding="ascii").split("\n")
        if json.loads(first) != {"format": _FORMAT}:
            raise ValueError("its first line is another")
        # A line without an end was being written when the process was killed: its photo had not moved.
        lines = [json.loads(line) for line in rest[:-1]]
        if not all(isinstance(line, dict) and line.keys() in ({"folder"}, {"from", "to", "sha256"}) for line in lines):
            raise ValueError("a line is not a move")
        if not all(isinstance(value, str) for line in lines for value in line.values()):
            raise ValueError("a line is not a move")
    except (OSError, ValueError, RecursionError) as error:
        reason = (error.strerror if isinstance(error, OSError) else None) or error
        raise DataError(
            f"{escape(log)}: cannot be read as a log of `allmlp clean --apply` ({reason}). Its name ends in -log.jsonl."
        ) from error
    return lines


def _endings(pattern: str) -> Iterator[str]:
    """Yield "", then `pattern` with 2, 3, ..."""
    yield ""
    for number in range(2, 1 << 30):
        yield pattern.format(number)
