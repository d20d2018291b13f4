"""Kinds of files: what other programs write is the oracle."""

import gzip
import io
import json
import pickle
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
from PIL import Image

from allmlp.io.file_kinds import START_BYTES, FileKind, kind_of_file, sha256_of


def image(name: str) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (8, 8)).save(file, format=name)
    return file.getvalue()


def written(write: Callable[[io.BytesIO], object]) -> bytes:
    file = io.BytesIO()
    write(file)
    return file.getvalue()


def tar(file: io.BytesIO) -> None:
    with tarfile.open(fileobj=file, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("x"))


def zipped(file: io.BytesIO) -> None:
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("x", "x")


FILES = {
    **{FileKind[name]: image(name) for name in ("JPEG", "PNG", "GIF", "BMP", "TIFF", "PDF", "AVIF")},
    FileKind.WEBP: image("WebP"),
    FileKind.JPEG_2000: image("JPEG2000"),
    FileKind.POSTSCRIPT: image("EPS"),
    FileKind.ICON: image("ICNS"),
    FileKind.TAR: written(tar),
    FileKind.ZIP: written(zipped),
    FileKind.GZIP: gzip.compress(b"x"),
    FileKind.PARQUET: written(lambda file: pyarrow.parquet.write_table(pa.table({"x": [1]}), file)),
    FileKind.NPY: written(lambda file: np.save(file, np.zeros(3))),
    FileKind.PICKLE: pickle.dumps({"x": 1}),
    FileKind.JSON: json.dumps({"x": 1}).encode(),
}


@pytest.mark.parametrize("kind", FILES, ids=lambda kind: kind.name)
def test_a_file_is_known_by_its_start(kind: FileKind) -> None:
    assert kind_of_file(FILES[kind][:START_BYTES]) is kind


@pytest.mark.parametrize(
    ("start", "kind"),
    [
        (b"\xef\xbb\xbf\n <html>", FileKind.XML),
        (b"<svg xmlns=", FileKind.SVG),
        (b"version https://git-lfs.github.com/spec/v1", FileKind.GIT_LFS),
        (b"PK\x05\x06", FileKind.ZIP),
        (b"PK,2\n", None),  # a table whose first column is PK
        (b"RIFF\0\0\0\0WAVE", None),
        (b"\n\x89PNG\r\n\x1a\n", None),  # only text may be preceded by white space
        (b"", None),
    ],
)
def test_what_only_looks_alike_is_told_apart(start: bytes, kind: FileKind | None) -> None:
    assert kind_of_file(start) is kind


def test_the_sha256_of_a_file_is_that_of_its_bytes(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"abc")  # the example of FIPS 180-2, appendix B.1
    assert sha256_of(tmp_path / "file") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
