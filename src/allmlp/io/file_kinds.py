"""What a file is by its content: its kind by the first bytes, with the only table of signatures, and its SHA-256."""

import codecs
import hashlib
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path

__all__ = ["PHOTO_EXTENSIONS", "PHOTO_FORMATS", "PHOTO_KINDS", "START_BYTES", "FileKind", "kind_of_file", "sha256_of"]

START_BYTES = 512
"""Number of bytes of a file that `kind_of_file` examines."""


class FileKind(StrEnum):
    """A kind of file, worded for messages: "this is {kind}"."""

    JPEG = "a JPEG image"
    PNG = "a PNG image"
    WEBP = "a WebP image"
    GIF = "a GIF image"
    BMP = "a BMP image"
    TIFF = "a TIFF image"
    AVIF = "an AVIF image"
    HEIC = "a HEIC image"
    VIDEO = "a video (MP4 or QuickTime)"
    RAW = "a RAW photo of a camera"
    APPLE_PNG = "a file in Apple's variant of PNG (CgBI)"
    JPEG_XL = "a JPEG XL image"
    JPEG_2000 = "a JPEG 2000 image"
    PDF = "a PDF document"
    POSTSCRIPT = "a PostScript file"
    PHOTOSHOP = "a Photoshop file"
    ICON = "an icon file"
    FITS = "a FITS file"
    ZIP = "a zip archive"
    TAR = "a tar archive"
    GZIP = "a gzip-compressed file"
    BZIP2 = "a bzip2-compressed file"
    XZ = "an xz-compressed file"
    ZSTANDARD = "a Zstandard-compressed file"
    SEVEN_ZIP = "a 7z archive"
    RAR = "a RAR archive"
    PARQUET = "a Parquet file"
    NPY = "a single NumPy array (.npy)"
    HDF5 = "an HDF5 file"
    GGUF = "a GGUF file of a language model"
    ONNX = "an ONNX graph"
    TFLITE = "a TensorFlow Lite model"
    OLD_TORCH = "a file in the format of torch before 1.6"
    PICKLE = "a pickle"
    GIT_LFS = "a Git LFS pointer"
    SVG = "an SVG drawing"
    XML = "a web page or XML"
    JSON = "JSON text"


PHOTO_KINDS = (FileKind.JPEG, FileKind.PNG, FileKind.WEBP, FileKind.GIF, FileKind.BMP, FileKind.TIFF)
"""The kinds of photos that are read without any extra; their names are those of Pillow's formats."""

PHOTO_FORMATS = "JPEG, PNG, WebP, GIF, BMP or TIFF"
"""`PHOTO_KINDS` in words."""

OLD_TORCH_MAGIC = b"\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19"
PHOTO_EXTENSIONS: Mapping[str, FileKind] = {
    **dict.fromkeys(("jpg", "jpeg", "jpe", "jfif", "jif", "jfi", "pjpeg", "pjp", "mpo"), FileKind.JPEG),
    **dict.fromkeys(("png", "apng"), FileKind.PNG),
    **dict.fromkeys(("tif", "tiff"), FileKind.TIFF),
    **dict.fromkeys(("bmp", "dib"), FileKind.BMP),
    "webp": FileKind.WEBP,
    "gif": FileKind.GIF,
    **dict.fromkeys(("heic", "heif", "hif"), FileKind.HEIC),
    **dict.fromkeys(("avif", "avifs"), FileKind.AVIF),
    "jxl": FileKind.JPEG_XL,
    **dict.fromkeys(("jp2", "j2k", "jpf", "jpx"), FileKind.JPEG_2000),
    **dict.fromkeys(("cr2", "cr3", "nef", "arw", "dng", "raf", "orf", "rw2", "pef", "srw", "nrw", "x3f"), FileKind.RAW),
}
"""The kind of a photo by the end of its name, in lower case; content decides when it is read."""

# Bytes and their offsets. All parts of a signature have to match; the first signature that matches wins.
_SIGNATURES: tuple[tuple[FileKind, tuple[tuple[int, bytes], ...]], ...] = (
    (FileKind.TAR, ((257, b"ustar"),)),  # first: it starts with the name of a member, which may be "BM1.jpg"
    (FileKind.JPEG, ((0, b"\xff\xd8\xff"),)),  # also MPO: a JPEG followed by further images
    (FileKind.APPLE_PNG, ((0, b"\x89PNG\r\n\x1a\n"), (12, b"CgBI"))),
    (FileKind.PNG, ((0, b"\x89PNG\r\n\x1a\n"),)),
    (FileKind.WEBP, ((0, b"RIFF"), (8, b"WEBP"))),
    *((FileKind.GIF, ((0, magic),)) for magic in (b"GIF87a", b"GIF89a")),
    (FileKind.BMP, ((0, b"BM"),)),
    *((FileKind.RAW, ((0, b"II*\0"), (8, magic))) for magic in (b"CR\2", b"HEAPCCDR")),  # Canon
    *(
        (FileKind.RAW, ((0, magic),))
        for magic in (b"IIRO", b"IIRS", b"MMOR", b"IIU\0", b"FUJIFILMCCD-RAW", b"FOVb", b"\0MRM")
    ),
    (FileKind.RAW, ((4, b"ftypcrx "),)),
    *((FileKind.TIFF, ((0, magic),)) for magic in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")),
    *((FileKind.AVIF, ((4, b"ftyp" + brand),)) for brand in (b"avif", b"avis")),
    *((FileKind.AVIF, ((4, b"ftypmif1"), (offset, b"avif"))) for offset in (16, 20, 24)),  # among the compatible brands
    *((FileKind.HEIC, ((4, b"ftyp" + brand),)) for brand in (b"hei", b"hev", b"mif1", b"msf1")),
    (FileKind.VIDEO, ((4, b"ftyp"),)),
    *((FileKind.JPEG_XL, ((0, magic),)) for magic in (b"\0\0\0\x0cJXL ", b"\xff\x0a")),
    *((FileKind.JPEG_2000, ((0, magic),)) for magic in (b"\0\0\0\x0cjP  ", b"\xff\x4f\xff\x51")),
    (FileKind.PDF, ((0, b"%PDF"),)),
    *((FileKind.POSTSCRIPT, ((0, magic),)) for magic in (b"%!PS", b"\xc5\xd0\xd3\xc6")),
    (FileKind.PHOTOSHOP, ((0, b"8BPS"),)),
    (FileKind.ICON, ((0, b"icns"),)),
    (FileKind.FITS, ((0, b"SIMPLE"),)),
    # A member, the end record of an empty archive, a part of a split archive. A bare "PK" may be the first column of a table.
    *((FileKind.ZIP, ((0, magic),)) for magic in (b"PK\x03\x04", b"PK\x05\x06", b"PK\x07\x08")),
    (FileKind.GZIP, ((0, b"\x1f\x8b"),)),
    *((FileKind.BZIP2, ((0, b"BZh"), (4, magic))) for magic in (b"1AY&SY", b"\x17rE8P\x90")),  # the second: empty
    (FileKind.XZ, ((0, b"\xfd7zXZ\0"),)),
    (FileKind.ZSTANDARD, ((0, b"\x28\xb5\x2f\xfd"),)),
    (FileKind.SEVEN_ZIP, ((0, b"7z\xbc\xaf\x27\x1c"),)),
    (FileKind.RAR, ((0, b"Rar!\x1a\x07"),)),
    (FileKind.PARQUET, ((0, b"PAR1"),)),
    (FileKind.NPY, ((0, b"\x93NUMPY"),)),
    (FileKind.HDF5, ((0, b"\x89HDF"),)),
    (FileKind.GGUF, ((0, b"GGUF"),)),
    *((FileKind.ONNX, ((0, bytes([8, version, 0x12])),)) for version in range(3, 16)),
    (FileKind.TFLITE, ((4, b"TFL3"),)),
    # A pickle of one number; from protocol 4, it is in a frame.
    *((FileKind.OLD_TORCH, ((0, bytes([0x80, protocol])), (2, OLD_TORCH_MAGIC))) for protocol in (2, 3)),
    *((FileKind.OLD_TORCH, ((0, bytes([0x80, protocol, 0x95])), (11, OLD_TORCH_MAGIC))) for protocol in (4, 5)),
    *((FileKind.PICKLE, ((0, bytes([0x80, protocol])),)) for protocol in (2, 3, 4, 5)),
)

# The start of a text, after an optional byte order mark and white space.
_TEXTS = (
    (FileKind.GIT_LFS, b"version https://git-lfs"),
    (FileKind.SVG, b"<svg"),
    (FileKind.XML, b"<"),
    (FileKind.JSON, b"{"),
)


def kind_of_file(start: bytes) -> FileKind | None:
    """Return the kind of a file from its first `START_BYTES` bytes; None if it is not in the table."""
    for kind, parts in _SIGNATURES:
        if all(start.startswith(magic, offset) for offset, magic in parts):
            return kind
    text = start[:START_BYTES].removeprefix(codecs.BOM_UTF8).lstrip()
    return next((kind for kind, magic in _TEXTS if text.startswith(magic)), None)


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file in hexadecimal digits. Raises OSError if it cannot be read."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
