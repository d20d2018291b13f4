"""Files at an address: over HTTP by allmlp's own client, from other storage by fsspec, which is imported only then."""

import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from allmlp.errors import CheckpointError, DataError, MissingExtraError
from allmlp.io.display import escape, shorten
from allmlp.io.http_client import NoAnswer, Patience, without_secrets
from allmlp.io.http_download import MissingFileError, receive

__all__ = ["AbsentFileError", "download", "is_http", "read_remote"]

RETRY_S = 0.5  # before the second try; doubled for the third
_TRIES = 3  # in succession without a byte more
_BLOCK_BYTES = 8 << 20


class AbsentFileError(DataError):
    """There is no such file at the address, or it may not be read."""


def is_http(address: str) -> bool:
    """Return whether an address starts with http:// or https://."""
    return address.lower().startswith(("http://", "https://"))


def download(address: str, part: Path, *, max_bytes: int, advice: str = "Try again.") -> None:
    """Download the file at an address to `part`. A broken connection is tried again, from where it broke.

    The caller verifies the content and ensures that no other process downloads to `part` at the same time. `advice` ends the
    message of a failure.

    Raises:
        AbsentFileError: there is no such file, or it may not be read.
        DataError: the connection or the storage failed, or the file is larger than `max_bytes`.
        MissingExtraError: a library for this kind of storage is not installed.
        OSError: `part` cannot be written.
    """
    part.parent.mkdir(parents=True, exist_ok=True)
    if not is_http(address):
        _copy(address, part, max_bytes, advice)
        return
    try:
        receive(address, part, max_bytes=max_bytes, patience=Patience(retry_s=RETRY_S), advice=advice)
    except MissingFileError as error:
        raise AbsentFileError(str(error)) from error
    except CheckpointError as error:
        raise DataError(str(error)) from error


def read_remote(address: str, *, max_bytes: int) -> bytes:
    """Return the content of a small file at an address. Raises as `download`."""
    with tempfile.TemporaryDirectory(prefix="allmlp-") as folder:
        part = Path(folder, "file")
        download(address, part, max_bytes=max_bytes)
        return part.read_bytes()


def _copy(address: str, part: Path, max_bytes: int, advice: str) -> None:
    filesystem, path = _filesystem(address)
    part.unlink(missing_ok=True)
    try:
        with part.open("xb") as file:
            tries = 0
            while True:
                start = file.tell()
                try:
                    for block in _blocks(filesystem, path, start, address):
                        if file.tell() + len(block) > max_bytes:
                            raise DataError(f"{escape(address)}: larger than {max_bytes:,} bytes. {advice}")
                        file.write(block)  # its errors are those of the local disk
                    return
                except NoAnswer as error:
                    tries = 1 if file.tell() > start else tries + 1
                    if tries >= _TRIES:
                        raise DataError(f"{escape(address)}: could not be downloaded: {error}. {advice}") from error
                    time.sleep(RETRY_S * 2 ** (tries - 1))
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def _blocks(filesystem: Any, path: str, start: int, address: str) -> Iterator[bytes]:
    """Yield the content of a file from `start` on. Raises AbsentFileError, or NoAnswer if another try may succeed."""
    try:
        with filesystem.open(path, "rb", block_size=_BLOCK_BYTES) as source:
            source.seek(start)
            while block := source.read(_BLOCK_BYTES):
                yield block
    except (FileNotFoundError, PermissionError) as error:
        raise AbsentFileError(f"{escape(address)}: missing, or may not be read ({_reason(error)}).") from error
    except Exception as error:  # every storage has exceptions of its own
        raise NoAnswer(_reason(error)) from error


def _filesystem(address: str) -> tuple[Any, str]:
    """Return fsspec's file system for an address, and the path in it."""
    protocol = address.partition("://")[0]
    try:
        from fsspec.core import url_to_fs
        from fsspec.registry import known_implementations
    except ModuleNotFoundError as error:
        raise MissingExtraError(f"{protocol}:// addresses need fsspec: pip install 'allmlp[remote]'") from error
    try:
        filesystem, path = url_to_fs(address)
    except ImportError as error:
        package = known_implementations.get(protocol, {}).get("class", "fsspec").partition(".")[0]
        if package == "fsspec":  # its own implementation, for which another library is missing
            package = getattr(error.__cause__ or error, "name", None) or str(error)
        raise MissingExtraError(f"{protocol}:// addresses need {package}: pip install {package}") from error
    except Exception as error:
        raise DataError(f"{escape(address)}: cannot be opened ({_reason(error)}).") from error
    return filesystem, path


def _reason(error: Exception) -> str:
    return shorten(escape(without_secrets(str(error) or type(error).__name__)), 200)
