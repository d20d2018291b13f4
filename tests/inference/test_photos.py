"""Photos in every form in which they may be given: a path, a file's bytes, a PIL image, an array of pixels."""

import io
import mmap
import os
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from tests.builders import tiny_checkpoint

from allmlp import Checkpoint, DataError, Embedder, Predictor
from allmlp.data import decode


@pytest.fixture
def predictor(checkpoint: Checkpoint) -> Predictor:
    return Predictor.from_checkpoint(checkpoint, device="cpu")


def png(photo: NDArray[np.uint8]) -> bytes:
    content = io.BytesIO()
    Image.fromarray(photo).save(content, "PNG")
    return content.getvalue()


def test_every_form_of_a_photo_gets_the_same_answer(
    predictor: Predictor, photos: list[NDArray[np.uint8]], tmp_path: Path
) -> None:
    path = tmp_path / "photo.png"
    path.write_bytes(png(photos[1]))
    forms = [path, str(path), path.read_bytes(), ("named", path.read_bytes()), Image.open(path), photos[1]]
    answers = predictor.predict(forms)
    assert [answer.source for answer in answers] == [str(path), str(path), "image 3", "named", "image 5", "image 6"]
    assert all(answer.labels == answers[0].labels for answer in answers)
    for form in forms:
        (alone,) = predictor.predict(form)
        assert alone.labels == answers[0].labels


# One of each way to get there; all modes and orientations: tests/data/decoding/test_pixels.py.
@pytest.mark.parametrize("mode", ["1", "LA", "P", "CMYK", "I;16"])
def test_a_pil_image_is_taken_as_the_file_it_came_from(
    mode: str, predictor: Predictor, photos: list[NDArray[np.uint8]], tmp_path: Path
) -> None:
    if mode == "I;16":
        image = Image.fromarray(photos[1][..., 0].astype(np.uint16) * 257)
    elif mode in ("LA", "RGBA"):
        image = Image.fromarray(np.dstack([photos[1], photos[1][..., 0]])).convert(mode)
    else:
        image = Image.fromarray(photos[1]).convert(mode)
    path = tmp_path / ("photo.tif" if mode in ("CMYK", "YCbCr") else "photo.png")
    image.save(path)
    by_path, by_image = predictor.predict([path, Image.open(path)])
    assert by_path.labels == by_image.labels


def test_a_pil_image_is_turned_upright_as_its_file_is(
    predictor: Predictor, photos: list[NDArray[np.uint8]], tmp_path: Path
) -> None:
    image = Image.fromarray(photos[1])
    exif = Image.Exif()
    exif[0x0112] = 6  # a quarter turn
    image.save(tmp_path / "photo.jpg", exif=exif, quality=95)
    upright = decode((tmp_path / "photo.jpg").read_bytes(), name="photo")
    by_image, by_array = predictor.predict([Image.open(tmp_path / "photo.jpg"), upright])
    assert by_image.labels == by_array.labels


def test_a_pil_image_of_a_cut_file_or_without_a_range_is_named(
    predictor: Predictor, photos: list[NDArray[np.uint8]], tmp_path: Path
) -> None:
    (tmp_path / "cut.png").write_bytes(png(photos[1])[:-200])
    with (
        Image.open(tmp_path / "cut.png") as cut,
        pytest.raises(DataError, match="image 1: this PIL image cannot be used"),
    ):
        predictor.predict(cut)
    with pytest.raises(DataError, match="32-bit samples without a declared range"):
        predictor.predict(Image.new("F", (8, 8)))


@pytest.mark.parametrize(
    "array",
    [
        np.zeros((8, 8), np.uint8),
        np.zeros((3, 8, 8), np.uint8),
        np.zeros((8, 8, 4), np.uint8),
        np.zeros((2, 8, 8, 3), np.uint8),
        np.zeros((0, 8, 3), np.uint8),
        np.zeros((8, 8, 3), np.float32),
    ],
    ids=lambda array: f"{array.shape}-{array.dtype}",
)
def test_an_array_that_is_not_height_width_3_of_uint8_is_refused_not_guessed(
    array: NDArray[np.uint8], predictor: Predictor
) -> None:
    with pytest.raises(DataError, match=r"image 1: the array has .* expected \(height, width, 3\), uint8"):
        predictor.predict(array)


def test_an_array_beyond_the_decoders_limits_is_refused_before_anything_is_computed(predictor: Predictor) -> None:
    for shape in ((8000, 8000, 3), (1, 70_000, 3)):
        huge = np.broadcast_to(np.zeros((1, 1, 3), np.uint8), shape)
        with pytest.raises(DataError, match=rf"image 1: .*{shape[1]} x {shape[0]} pixels; the limit is 50,000,000"):
            predictor.predict(huge)


def test_a_thing_that_is_no_photo_is_refused_by_its_type(predictor: Predictor) -> None:
    with pytest.raises(DataError, match="image 1: a Tensor is not a photo"):
        predictor.predict([torch.zeros(8, 8, 3)])


def test_a_pipe_named_like_a_photo_does_not_hang(predictor: Predictor, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.jpg")
    with pytest.raises(DataError, match="not a regular file"):
        predictor.predict(tmp_path / "pipe.jpg")


def test_a_path_that_looks_like_an_option_is_a_path(
    predictor: Predictor, photos: list[NDArray[np.uint8]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("-x.png").write_bytes(png(photos[0]))
    assert predictor.predict("-x.png")[0].source == "-x.png"


class Upload:
    """An upload of a web framework: it only reads."""

    def __init__(self, content: bytes) -> None:
        self._content = content

    def read(self, size: int = -1) -> bytes:
        return self._content if size < 0 else self._content[:size]


class SizelessUpload(Upload):
    def read(self) -> bytes:  # type: ignore[override]
        return super().read()


class AsynchronousUpload:
    def __init__(self, content: bytes) -> None:
        self.file = io.BytesIO(content)

    async def read(self, size: int = -1) -> bytes:
        return self.file.read(size)


def test_every_object_of_bytes_is_one_photo(
    predictor: Predictor, photos: list[NDArray[np.uint8]], tmp_path: Path
) -> None:
    content = png(photos[1])
    (tmp_path / "photo").write_bytes(content)
    spooled = tempfile.SpooledTemporaryFile()  # noqa: SIM115
    spooled.write(content)  # its position is at its end
    with (tmp_path / "photo").open("rb") as file, (tmp_path / "photo").open("rb") as mapped, spooled:
        objects = [
            bytearray(content),
            memoryview(content),
            mmap.mmap(mapped.fileno(), 0, access=mmap.ACCESS_READ),
            io.BytesIO(content),
            io.BufferedReader(io.BytesIO(content)),  # type: ignore[arg-type]
            spooled,
            file,
            Upload(content),
            SizelessUpload(content),
            AsynchronousUpload(content),
        ]
        (expected,) = predictor.predict(content)
        for photo in objects:
            (alone,) = predictor.predict(photo)  # type: ignore[arg-type]
            assert alone.labels == expected.labels, photo
        assert all(answer.labels == expected.labels for answer in predictor.predict(objects))  # type: ignore[arg-type]


class PathOf:
    def __init__(self, path: Any) -> None:
        self._path = path

    def __fspath__(self) -> Any:
        return self._path


class FailingPath:
    def __fspath__(self) -> str:
        raise RuntimeError("no path")


class Unbound:
    """A proxy of a web framework outside of a request."""

    def __getattr__(self, name: str) -> Any:
        raise RuntimeError("working outside of a request")


class Uniterable:
    def __iter__(self) -> Any:
        return None


def test_a_stream_takes_a_single_photo_and_refuses_other_objects_at_once(
    predictor: Predictor, photos: list[NDArray[np.uint8]], tmp_path: Path
) -> None:
    content = png(photos[1])
    path = tmp_path / "photo.png"
    path.write_bytes(content)
    embedder = Embedder.from_checkpoint(tiny_checkpoint(), device="cpu")
    for photo in (content, str(path), PathOf(os.fsencode(path)), io.BytesIO(content), Image.open(path), photos[1]):
        (alone,) = predictor.stream(photo)
        assert not isinstance(alone, DataError)
        assert alone.labels == predictor.predict(path)[0].labels
        assert len(list(embedder.stream(photo))) == 1
    for value in (None, 3, {"image": content}, {path}, torch.zeros(3, 8, 8), FailingPath()):
        for stream in (predictor.stream, embedder.stream):
            with pytest.raises(DataError, match="is not a photo"):
                stream(value)  # type: ignore[arg-type]


def test_any_other_object_is_one_short_error_at_once(predictor: Predictor) -> None:
    values: list[Any] = [
        None,
        3,
        2.5,
        object(),
        torch.zeros(3, 8, 8),
        torch.zeros(1000, 8),
        torch.zeros(1000),
        pa.table({"photo": ["a.jpg"]}),
        Unbound(),
        Uniterable(),
        FailingPath(),
        "",
        "x" * 10**6,
        ("x" * 10**6, b"junk"),
        PathOf(3),
        memoryview(b"junk"),
        np.float64(1),
        {"a": b""},
        {"x"},
        range(10**9),
        (None for _ in range(10**9)),
        [1, 2, 3],
        [None] * 100_000,
        io.StringIO("text"),
        open,
    ]
    for value in values:
        with pytest.raises(DataError) as caught:
            predictor.predict(value)
        assert len(str(caught.value)) < 500
        assert len(str(caught.value).splitlines()) == 1


def test_a_closed_file_is_named_with_its_reason(predictor: Predictor) -> None:
    closed = io.BytesIO(b"x")
    closed.close()
    with pytest.raises(DataError, match=r"^image 1: this BytesIO cannot be read \(I/O operation on closed file"):
        predictor.predict(closed)


def test_thousands_of_broken_photos_are_counted_beyond_fifty(predictor: Predictor) -> None:
    with pytest.raises(DataError) as caught:
        predictor.predict([b"junk"] * 300)
    lines = str(caught.value).splitlines()
    assert len(lines) == 51
    assert lines[-1] == "... and 250 more"
