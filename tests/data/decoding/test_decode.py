"""decode: one rule for every kind of photo, and one error for every kind of damage."""

import gc
import io
import struct
import subprocess
import sys
import threading
import time
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageFile, ImageOps, PngImagePlugin, TiffImagePlugin
from tests.data.decoding.encoded import PHOTO, TILES, encode, png, png_chunk, refusal

from allmlp.data import decode
from allmlp.errors import DataError

ENCODINGS = {
    "jpeg": ("JPEG", {}),
    "progressive jpeg": ("JPEG", {"progressive": True}),
    "png": ("PNG", {}),
    "webp": ("WEBP", {}),
    "lossless webp": ("WEBP", {"lossless": True}),
    "gif": ("GIF", {}),
    "bmp": ("BMP", {}),
    "tiff": ("TIFF", {}),
    "lzw tiff": ("TIFF", {"compression": "tiff_lzw"}),
    "deflate tiff": ("TIFF", {"compression": "tiff_adobe_deflate"}),
    "jpeg tiff": ("TIFF", {"compression": "jpeg"}),
}


@pytest.mark.parametrize(("kind", "options"), ENCODINGS.values(), ids=ENCODINGS)
def test_every_format_decodes_to_the_pixels_that_pillow_reads(kind: str, options: dict[str, object]) -> None:
    content = encode(PHOTO, kind, **options)
    photo = decode(content, name="x")
    assert photo.dtype == np.uint8
    assert photo.flags.c_contiguous
    assert photo.flags.writeable
    np.testing.assert_array_equal(photo, np.asarray(Image.open(io.BytesIO(content)).convert("RGB")))


@pytest.mark.parametrize(("kind", "options"), ENCODINGS.values(), ids=ENCODINGS)
def test_a_photo_cut_anywhere_is_refused_or_whole(kind: str, options: dict[str, object]) -> None:
    # A tail without pixels (PNG's IEND, GIF's trailer) may be missing; a cut photo that is half gray may never pass.
    content = encode(PHOTO.resize((24, 16)), kind, **options)
    whole = decode(content, name="x")
    num_accepted = 0
    for length in range(len(content)):
        try:
            photo = decode(content[:length], name="x")
        except DataError:
            continue
        num_accepted += 1
        np.testing.assert_array_equal(photo, whole)
    assert num_accepted <= 22


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(sorted(ENCODINGS)), st.data())
def test_random_damage_gives_pixels_or_a_data_error(encoding: str, data: st.DataObject) -> None:
    kind, options = ENCODINGS[encoding]
    content = bytearray(encode(PHOTO.resize((24, 16)), kind, **options))
    for _ in range(data.draw(st.integers(1, 6))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    try:
        photo = decode(bytes(content), name="x")
    except DataError:
        return
    assert photo.dtype == np.uint8
    assert photo.ndim == 3


@settings(max_examples=100, deadline=None)
@given(
    st.binary(max_size=200), st.sampled_from([b"", b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF89a", b"BM", b"II*\0"])
)
def test_noise_is_a_data_error(noise: bytes, start: bytes) -> None:
    with pytest.raises(DataError):
        decode(start + noise, name="x")


def test_a_truncated_photo_stays_refused_at_half_and_without_its_last_bytes() -> None:
    jpeg = encode(PHOTO, "JPEG", quality=95)
    assert "cut short" in refusal(jpeg[: len(jpeg) // 2])
    assert "cut short" in refusal(jpeg[:-200])
    assert "end-of-image marker is missing" in refusal(jpeg[:-2])
    assert "cut short" in refusal(jpeg[:100])
    # Filled up with zeros after a broken download: Pillow would show gray.
    assert "cut short" in refusal(jpeg[: len(jpeg) // 2] + bytes(len(jpeg) // 2))


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "empty"),
        (b"<!DOCTYPE html><html></html>", "a web page"),
        (b'\n {"error": 404}', "JSON text"),
        (b"\xff\xd8", "an unknown kind of file"),
        (b"\xff\xd8\xff", "cut short"),
        (b"%PDF-1.7\n", "a PDF document"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n", "a PostScript file"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "an SVG drawing"),
        (b"8BPS\0\1", "a Photoshop file"),
        (b"icns\0\0\0\x10", "an icon file"),
        (b"SIMPLE  =  T", "a FITS file"),
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "a HEIC image"),
        (b"\0\0\0\x1cftypavif\0\0\0\0", "an AVIF image"),
        (b"\xff\x0a\xfa\x7f", "a JPEG XL image"),
        (b"\0\0\0\x0cjP  \r\n\x87\n", "a JPEG 2000 image"),
        (b"PK\x03\x04rest", "a zip archive"),
        (b"version https://git-lfs.github.com/spec/v1\noid", "Git LFS pointer"),
        (b"RIFF\x24\0\0\0WAVEfmt ", "an unknown kind of file"),
    ],
)
def test_what_is_no_photo_is_named_for_what_it_is(content: bytes, reason: str) -> None:
    assert reason in refusal(content)


def test_formats_outside_the_list_are_refused_though_pillow_reads_them() -> None:
    for kind in ("ICO", "PPM", "TGA", "PCX", "JPEG2000", "ICNS"):
        assert "not a photo that can be decoded" in refusal(encode(PHOTO, kind))


def test_content_decides_and_trailing_bytes_do_not_matter() -> None:
    for kind in ("JPEG", "PNG", "WEBP", "GIF", "BMP"):
        content = encode(PHOTO, kind)
        tail = b"PK\x03\x04<script>" + bytes(1_000_000)
        np.testing.assert_array_equal(decode(content + tail, name="x.txt"), decode(content, name="x"))


def test_the_first_frame_of_animations_and_pages_is_taken() -> None:
    others = [ImageOps.invert(PHOTO), PHOTO.rotate(180)]
    for kind, options in [("GIF", {}), ("WEBP", {"lossless": True}), ("PNG", {}), ("TIFF", {}), ("MPO", {})]:
        single = decode(encode(PHOTO, "JPEG" if kind == "MPO" else kind, **options), name="x")
        content = encode(PHOTO, kind, save_all=True, append_images=others, **options)
        np.testing.assert_array_equal(decode(content, name="x"), single, err_msg=kind)


def test_a_hundred_thousand_frames_cost_no_more_than_one() -> None:
    frame = encode(Image.new("L", (8, 8)), "GIF")
    body = frame[frame.index(b"\x2c") : -1]
    content = frame[:-1] + body * 100_000 + b";"
    start = time.process_time()
    assert decode(content, name="x").shape == (8, 8, 3)
    assert time.process_time() - start < 0.5


@pytest.mark.parametrize("size", [(1, 1), (1, 4_000), (65_535, 1), (3, 1)])
def test_odd_shapes_keep_height_width_channels(size: tuple[int, int]) -> None:
    assert decode(encode(Image.new("RGB", size), "PNG"), name="x").shape == (size[1], size[0], 3)


def test_transparency_lies_on_white() -> None:
    red = Image.new("RGBA", (2, 1), (255, 0, 0, 0))
    red.putpixel((1, 0), (255, 0, 0, 128))
    expected = [[[255, 255, 255], [255, 127, 127]]]  # 255 * (1 - 128 / 255) = 127
    for kind, options in [("PNG", {}), ("WEBP", {"lossless": True, "exact": True}), ("TIFF", {})]:
        assert decode(encode(red, kind, **options), name="x").tolist() == expected, kind
    gray_alpha = Image.new("LA", (2, 1), (10, 0))
    gray_alpha.putpixel((1, 0), (10, 255))
    assert decode(encode(gray_alpha, "PNG"), name="x").tolist() == [[[255] * 3, [10] * 3]]


def test_transparent_palette_entries_and_colours_lie_on_white() -> None:
    palette = Image.new("P", (2, 1))
    palette.putpalette([255, 0, 0, 0, 0, 255])
    palette.putpixel((1, 0), 1)
    expected = [[[255, 255, 255], [0, 0, 255]]]
    assert decode(encode(palette, "PNG", transparency=0), name="x").tolist() == expected
    assert decode(encode(palette, "GIF", transparency=0), name="x").tolist() == expected
    assert decode(encode(palette, "PNG", transparency=b"\x00\xff"), name="x").tolist() == expected
    rgb = Image.fromarray(np.array([[[9, 8, 7], [0, 0, 255]]], np.uint8))
    assert decode(encode(rgb, "PNG", transparency=(9, 8, 7)), name="x").tolist() == expected
    gray = Image.fromarray(np.array([[9, 10]], np.uint8))
    assert decode(encode(gray, "PNG", transparency=9), name="x").tolist() == [[[255] * 3, [10] * 3]]


def test_one_bit_gray_and_palette_images_become_rgb() -> None:
    gray = Image.fromarray(np.array([[0, 100, 255]], np.uint8))
    for kind in ("PNG", "TIFF", "BMP", "GIF"):
        assert decode(encode(gray, kind), name="x").tolist() == [[[0] * 3, [100] * 3, [255] * 3]]
    bits = gray.convert("1", dither=Image.Dither.NONE)
    for kind in ("PNG", "TIFF", "BMP"):
        assert decode(encode(bits, kind), name="x").tolist() == [[[0] * 3, [0] * 3, [255] * 3]]


def test_sixteen_bits_are_scaled_alike_in_gray_and_colour() -> None:
    values = np.array([0, 255, 640, 32_768, 65_535], np.uint16)
    expected = [[[v] * 3 for v in (0, 0, 2, 128, 255)]]
    big_endian = values.astype(">u2")
    gray = png(5, 1, bits=16, colour=0, rows=b"\0" + big_endian.tobytes())
    colour = png(5, 1, bits=16, colour=2, rows=b"\0" + np.repeat(big_endian, 3).tobytes())
    opaque = np.stack([big_endian, np.full(5, 65_535)], axis=1).astype(">u2")
    gray_alpha = png(5, 1, bits=16, colour=4, rows=b"\0" + opaque.tobytes())
    tiff = encode(Image.fromarray(values[None]), "TIFF")
    for content in (gray, colour, gray_alpha, tiff):
        assert decode(content, name="x").tolist() == expected


def test_the_transparent_level_of_a_sixteen_bit_png_is_white() -> None:
    rows = b"\0" + np.array([640, 641], ">u2").tobytes()
    content = png(2, 1, bits=16, colour=0, rows=rows, extra=png_chunk(b"tRNS", struct.pack(">H", 640)))
    assert decode(content, name="x").tolist() == [[[255] * 3, [2] * 3]]


def test_inverted_and_twelve_bit_gray_tiffs_keep_their_meaning() -> None:
    inverted = encode(Image.fromarray(np.array([[0, 65_535]], np.uint16)), "TIFF", tiffinfo={262: 0})
    assert decode(inverted, name="x").tolist() == [[[255] * 3, [0] * 3]]
    directory = TiffImagePlugin.ImageFileDirectory_v2()
    directory[256], directory[257], directory[258], directory[259], directory[262] = 2, 1, (12,), 1, 1
    directory[273], directory[277], directory[278], directory[279] = 0, 1, 1, 3  # the strip follows the directory
    file = io.BytesIO()
    file.write(b"II*\0\x08\0\0\0")
    directory.save(file)
    file.write((0xFFF << 12 | 0x800).to_bytes(3, "big"))  # 4095 and 2048
    assert decode(file.getvalue(), name="x").tolist() == [[[255] * 3, [128] * 3]]


@pytest.mark.parametrize("values", [[[0.5, 0.25]], [[-1.0, 700.0]], [[float("nan"), 0.0]]])
def test_samples_without_a_declared_range_are_refused(values: list[list[float]]) -> None:
    assert "range" in refusal(encode(Image.fromarray(np.array(values, np.float32)), "TIFF"))
    assert "range" in refusal(encode(Image.fromarray(np.array([[70_000, -3]], np.int32)), "TIFF"))


def test_cmyk_becomes_rgb_by_one_rule() -> None:
    # Ink solid or absent: any sane conversion agrees to within JPEG's loss.
    inks = {
        (255, 0, 0, 0): (0, 255, 255),
        (0, 255, 0, 0): (255, 0, 255),
        (0, 0, 0, 255): (0, 0, 0),
        (0,) * 4: (255,) * 3,
    }
    for ink, colour in inks.items():
        image = Image.new("CMYK", (16, 16), ink)
        for content in (encode(image, "JPEG", quality=100), encode(image, "TIFF")):
            photo = decode(content, name="x")
            assert np.abs(photo.astype(int) - colour).max() <= 2
    adobe = encode(Image.merge("CMYK", [*PHOTO.split(), Image.new("L", PHOTO.size)]), "JPEG", quality=100)
    reference = np.asarray(Image.open(io.BytesIO(adobe)).convert("RGB"))
    np.testing.assert_array_equal(decode(adobe, name="x"), reference)


def test_lab_and_ycbcr_tiffs_become_rgb() -> None:
    black = Image.new("LAB", (1, 1), (0, 128, 128))
    white = Image.new("LAB", (1, 1), (255, 128, 128))
    assert decode(encode(black, "TIFF"), name="x").max() <= 1  # of 8-bit rounding in Lab
    assert decode(encode(white, "TIFF"), name="x").min() >= 254
    ycbcr = encode(PHOTO.convert("YCbCr"), "TIFF")
    assert np.abs(decode(ycbcr, name="x").astype(int) - TILES).max() <= 3


def test_names_in_errors_cannot_forge_lines_or_direction() -> None:
    with pytest.raises(DataError) as caught:
        decode(b"", name="a\nb\u202egnp\udcff.jpg")
    assert str(caught.value).startswith("a\\nb\\u202egnp\\udcff.jpg: ")


def test_many_threads_decode_alike() -> None:
    contents = [encode(PHOTO, kind) for kind in ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF")]
    expected = [decode(content, name="x") for content in contents]
    failures: list[Exception] = []

    def work() -> None:
        try:
            for _ in range(20):
                for content, photo in zip(contents, expected, strict=True):
                    np.testing.assert_array_equal(decode(content, name="x"), photo)
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []


def test_hundreds_of_broken_photos_leave_no_memory_behind() -> None:
    jpeg = encode(PHOTO, "JPEG", quality=95)

    def decode_broken(count: int) -> None:
        for index in range(count):
            cut = jpeg[: 300 + index % (len(jpeg) - 400)]
            with pytest.raises(DataError):
                decode(cut + b"\xff\xd9", name="x") if index % 2 else decode(cut, name="x")
                raise DataError("decoded what libjpeg could repair")

    decode_broken(100)
    tracemalloc.start()
    try:
        decode_broken(100)
        gc.collect()
        before = tracemalloc.get_traced_memory()[0]
        decode_broken(600)
        gc.collect()
        grown = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert grown < 30_000


def test_importing_data_changes_no_setting_of_pillow_and_loads_neither_torch_nor_pyarrow() -> None:
    program = (
        "import sys; from PIL import Image, ImageFile, PngImagePlugin\n"
        "seen = lambda: (Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES, PngImagePlugin.MAX_TEXT_CHUNK)\n"
        "before = seen(); import allmlp.data; assert seen() == before\n"
        "print(sorted({'torch', 'pyarrow', 'matplotlib'} & set(sys.modules)))"
    )
    output = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert output.strip() == "[]"
    assert not ImageFile.LOAD_TRUNCATED_IMAGES
    assert PngImagePlugin.MAX_TEXT_CHUNK
