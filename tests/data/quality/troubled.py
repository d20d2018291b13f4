"""A small sound data set, and each kind of trouble planted in a copy of it."""

import io
import struct
import unicodedata
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
from PIL import Image

from allmlp.data import open_dataset


def clothing_photo(number: int) -> Image.Image:
    """Return a photo of the embedded data set, enlarged to 96 pixels."""
    split = open_dataset("clothing").splits["train"]
    return Image.open(io.BytesIO(split.read(number))).convert("RGB").resize((96, 96), Image.Resampling.BICUBIC)


def encoded(image: Image.Image, kind: str = "JPEG", **options: object) -> bytes:
    content = io.BytesIO()
    image.save(content, kind, **options)
    return content.getvalue()


def sound_photos() -> dict[str, bytes]:
    """Return 6 photos of two classes in train and 3 in test, all different."""
    numbers = iter(range(0, 900, 37))
    return {
        f"{split}/{name}/{index}.jpg": encoded(clothing_photo(next(numbers)), quality=92)
        for split, count in (("train", 6), ("test", 3))
        for name in ("hat", "shoe")
        for index in range(count)
    }


def _exif(orientation: int) -> bytes:
    entry = struct.pack("<HHIHH", 0x0112, 3, 1, orientation, 0)
    return b"Exif\0\0II*\0" + struct.pack("<IH", 8, 1) + entry + struct.pack("<I", 0)


def _new(number: int = 950) -> Image.Image:
    return clothing_photo(number)


def _sixteen_bit() -> bytes:
    samples = np.random.default_rng(0).integers(0, 65536, (40, 40)).astype(np.uint16)
    return encoded(Image.fromarray(samples), "PNG")


def _frames() -> bytes:
    return encoded(_new(), "GIF", save_all=True, append_images=[_new(960)], duration=100)


def _crop(image: Image.Image, share: float) -> Image.Image:
    width, height = image.size
    return image.crop(
        (round(width * share), round(height * share), round(width * (1 - share)), round(height * (1 - share)))
    )


SOUND = sound_photos()
_FIRST = Image.open(io.BytesIO(SOUND["train/hat/0.jpg"]))
_HEIC = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(200)
_NFC = unicodedata.normalize("NFC", "café.jpg")

# kind of finding -> files to add; each is to be found, and nothing else that is not listed in ALSO
TROUBLE: Mapping[str, Callable[[], Mapping[str, bytes]]] = {
    "unreadable": lambda: {"train/hat/x.jpg": b"no photo at all" * 20},
    "lacking-pixels": lambda: {"train/hat/x.jpg": encoded(_new())[:-400]},
    "phone-format": lambda: {"train/hat/IMG_1.HEIC": _HEIC},
    "wrong-extension": lambda: {"train/hat/x.png": encoded(_new())},
    "rotated": lambda: {"train/hat/x.jpg": encoded(_new(), exif=_exif(6))},
    "grey": lambda: {"train/hat/x.jpg": encoded(_new().convert("L"))},
    "cmyk": lambda: {"train/hat/x.jpg": encoded(_new().convert("CMYK"))},
    "16-bit": lambda: {"train/hat/x.png": _sixteen_bit()},
    "transparent": lambda: {"train/hat/x.png": encoded(_new().convert("RGBA"), "PNG")},
    "animated": lambda: {"train/hat/x.gif": _frames()},
    "tiny": lambda: {"train/hat/x.png": encoded(_new().resize((20, 40)), "PNG")},
    "huge": lambda: {"train/hat/x.jpg": encoded(_new().resize((6000, 4100), Image.Resampling.NEAREST))},
    "duplicate": lambda: {"train/hat/x.jpg": SOUND["train/hat/0.jpg"]},
    "duplicate-leak": lambda: {"test/hat/x.jpg": SOUND["train/hat/0.jpg"]},
    "duplicate-conflict": lambda: {"train/shoe/x.jpg": SOUND["train/hat/0.jpg"]},
    "near-duplicate": lambda: {"train/hat/x.jpg": encoded(_FIRST, quality=40)},
    "near-duplicate-leak": lambda: {"test/hat/x.png": encoded(_FIRST.resize((140, 150)), "PNG")},
    "near-duplicate-conflict": lambda: {"train/shoe/x.jpg": encoded(_crop(_FIRST, 0.03), quality=80)},
    "few-photos": lambda: {f"{split}/sock/0.jpg": encoded(_new(n)) for split, n in (("train", 901), ("test", 957))},
    "imbalance": lambda: {f"train/hat/x{i}.png": encoded(_noise(i), "PNG") for i in range(70)},
    "similar-names": lambda: {"train/hat/A.jpg": encoded(_new()), "train/hat/a.jpg": encoded(_new(960))},
    "left-out": lambda: {"train/hat/x.photo": encoded(_new()), "train/hat/y.nef": encoded(_new(960))},
    "unread-format": lambda: {
        "train/hat/IMG_1.CR2": b"II*\0\x10\0\0\0CR\2\0" + bytes(500),  # Canon's signature
        "train/hat/IMG_2.NEF": b"MM\0*" + bytes(500),  # by its content, a TIFF
        "train/hat/x.jxl": b"\xff\x0a" + bytes(500),
    },
    "stray": lambda: {"train/hat/notes.txt": b"mine"},
}
ALSO = {"16-bit": {"grey"}}


def _noise(seed: int) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (40, 40, 3), dtype=np.uint8))


def write(root: Path, *parts: Mapping[str, bytes]) -> Path:
    for path, content in {name: content for part in parts for name, content in part.items()}.items():
        file = root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
    return root
