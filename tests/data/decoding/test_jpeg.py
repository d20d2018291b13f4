"""JPEG files: what libjpeg reads as a whole picture is read, and what lacks picture data is refused."""

import re
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.data.decoding.encoded import PHOTO, encode, refusal

from allmlp.data import decode
from allmlp.data.decoding.jpeg import sanitise_jpeg
from allmlp.errors import DataError

CASES = Path(__file__).parents[2] / "cases" / "photos"
NOISE = Image.fromarray(np.random.default_rng(5).integers(0, 256, (50, 70, 3), dtype=np.uint8))
PICTURES = {"tiles": PHOTO, "noise": NOISE, "gray": NOISE.convert("L"), "even": Image.new("RGB", (200, 120), "gray")}
OPTIONS = {
    "baseline": {},
    "not subsampled": {"subsampling": 0},
    "own tables": {"optimize": True},
    "progressive": {"progressive": True},
    "restarts by row": {"restart_marker_rows": 1},
    "restarts by block": {"restart_marker_blocks": 2, "quality": 95},
}


def scan_starts(jpeg: bytes) -> list[int]:
    """Return where the data of each scan start."""
    starts, position = [], 0
    while (position := jpeg.find(b"\xff\xda", position)) >= 0:
        position += 2 + int.from_bytes(jpeg[position + 2 : position + 4], "big")
        starts.append(position)
    return starts


@pytest.mark.parametrize("name", ["junk_00_before_dqt.jpg", "junk_ff00_before_dqt.jpg", "zeros_instead_of_eoi.jpg"])
def test_what_pillow_reads_as_a_whole_picture_is_read(name: str) -> None:
    content = (CASES / name).read_bytes()
    expected = np.asarray(Image.open(CASES / name).convert("RGB"))
    np.testing.assert_array_equal(decode(content, name="x"), expected)


@pytest.mark.parametrize("junk", [b"\0\0\0", b"junk", b"\xff\0\xff\0", b"\xff\xff\xff", b"\0\xff\xff"])
@pytest.mark.parametrize("marker", [b"\xff\xdb", b"\xff\xc4", b"\xff\xda"], ids=["DQT", "DHT", "SOS"])
def test_bytes_between_segments_are_passed_over(junk: bytes, marker: bytes) -> None:
    jpeg = encode(PHOTO, "JPEG")
    place = jpeg.index(marker)
    np.testing.assert_array_equal(decode(jpeg[:place] + junk + jpeg[place:], name="x"), decode(jpeg, name="x"))


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
@pytest.mark.parametrize("fill", [b"\xff", b"\xff\xff\xff"], ids=["one", "three"])
def test_fill_bytes_before_a_marker_are_no_picture_data(options: dict[str, object], fill: bytes) -> None:
    jpeg = encode(NOISE, "JPEG", **options)
    # Before every marker within and after the scans; ITU T.81, B.1.1.2 allows that.
    start = scan_starts(jpeg)[0]
    filled = jpeg[:start] + re.sub(rb"\xff[^\x00\xff]", lambda marker: fill + marker.group(), jpeg[start:])
    if options.get("progressive"):  # segments between the scans contain such bytes too
        filled = jpeg[:-2] + fill + jpeg[-2:]
    np.testing.assert_array_equal(decode(filled, name="x"), decode(jpeg, name="x"))
    assert "cut short" in refusal(filled[: -len(jpeg) // 4] + fill + jpeg[-2:])


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
def test_zeros_in_place_of_the_end_marker_are_read_only_after_a_whole_picture(options: dict[str, object]) -> None:
    jpeg = encode(NOISE, "JPEG", **options)
    np.testing.assert_array_equal(decode(jpeg[:-2] + bytes(40), name="x"), decode(jpeg, name="x"))
    assert "cut short" in refusal(jpeg[: -len(jpeg) // 4] + bytes(len(jpeg)))


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
@pytest.mark.parametrize("picture", PICTURES.values(), ids=PICTURES)
def test_a_jpeg_cut_anywhere_with_an_end_marker_added_is_refused(
    picture: Image.Image, options: dict[str, object]
) -> None:
    jpeg = encode(picture, "JPEG", **options)
    whole = decode(jpeg, name="x")
    for num_cut in (1, 2, 5, 20, 60, len(jpeg) // 4, len(jpeg) // 2):
        if len(jpeg) - 2 - num_cut <= scan_starts(jpeg)[0]:
            continue
        try:
            photo = decode(jpeg[: -2 - num_cut] + b"\xff\xd9", name="x")
        except DataError as error:
            assert "cut short" in str(error) or "damaged" in str(error)
        else:  # what is missing is invisible: zeros of a progressive scan
            np.testing.assert_array_equal(photo, whole)
            assert "progressive" in options or picture is PICTURES["even"]


def test_a_progressive_jpeg_without_its_last_scans_is_refused() -> None:
    jpeg = encode(PHOTO, "JPEG", progressive=True)
    starts = scan_starts(jpeg)
    assert len(starts) == 10
    for start in starts[1:]:
        header = jpeg.rindex(b"\xff\xda", 0, start)
        assert "scans of the picture are missing" in refusal(jpeg[:header] + b"\xff\xd9")


def test_a_jpeg_without_one_part_between_restart_markers_is_refused() -> None:
    jpeg = encode(NOISE, "JPEG", restart_marker_rows=1)
    first = jpeg.index(b"\xff\xd0", scan_starts(jpeg)[0])
    second = jpeg.index(b"\xff\xd1", first)
    assert "restart markers are missing" in refusal(jpeg[:first] + jpeg[second:])
    assert "do not cover the picture" in refusal(jpeg[: first + 2] + jpeg[second:])  # its marker is there
    assert "do not cover the picture" in refusal(jpeg[: second - 9] + jpeg[second:])


def test_many_scans_of_many_pixels_are_refused_at_once() -> None:
    jpeg = encode(Image.new("RGB", (7_000, 5_700), "teal"), "JPEG", progressive=True, quality=20)
    last_scan = jpeg[jpeg.rindex(b"\xff\xda") : -2]
    assert "the JPEG has more than 10 scans of 7000 x 5700 pixels" in refusal(jpeg[:-2] + last_scan + b"\xff\xd9")


def test_a_checked_jpeg_is_decoded_to_the_same_pixels() -> None:
    jpeg = encode(NOISE, "JPEG")
    np.testing.assert_array_equal(decode(jpeg, name="x", is_checked=True), decode(jpeg, name="x"))


@pytest.mark.parametrize("subsampling", [0, 2])
@pytest.mark.parametrize("quality", [60, 95])
def test_a_larger_baseline_jpeg_is_decoded_once_and_refused_if_data_are_missing(quality: int, subsampling: int) -> None:
    generator = np.random.default_rng(0)
    photo = Image.fromarray(generator.integers(0, 256, (400, 300, 3), dtype=np.uint8))
    buffer = BytesIO()
    photo.save(buffer, "JPEG", quality=quality, subsampling=subsampling)
    content = buffer.getvalue()
    assert len(content) > 40_000 and sanitise_jpeg(content).probe is None
    with Image.open(BytesIO(content)) as image:
        assert np.array_equal(decode(content, name="x"), np.asarray(image.convert("RGB")))
    assert np.array_equal(decode(content[:-2] + b"\xff\xff\xff\xd9", name="x"), decode(content, name="x"))  # fill bytes
    for cut in (32, 64, 200, 1000, len(content) // 10, len(content) // 2, len(content) - 2000):
        with pytest.raises(DataError, match="cut short"):
            decode(content[: -2 - cut] + b"\xff\xd9", name="x")
