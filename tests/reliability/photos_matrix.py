"""Mutated photos: each is decoded or refused in one line that names it, within bounds of time and memory."""

import io
import random
import resource
import time
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from PIL import Image
from tests.reliability.ledger import Outcome

from allmlp.data import decode
from allmlp.errors import DataError

NUM_MUTATIONS = 8_500  # of each of the twelve encodings
MAX_SECONDS, MAX_MEGABYTES = 2.0, 600
# What a decoder or an interpreter says to its programmers.
FOREIGN_WORDS = (
    "decoder error",
    "Error(",
    "bytes not processed",
    "cannot identify",
    "object",
    "NoneType",
    "unpack requires",
    "0x",
)


@dataclass(frozen=True)
class Case:
    """An encoding whose photos are mutated."""

    name: str
    kind: str
    options: Mapping[str, object]


CASES = (
    Case("JPEG", "JPEG", {}),
    Case("JPEG with restarts", "JPEG", {"restart_marker_blocks": 2}),
    Case("progressive JPEG", "JPEG", {"progressive": True}),
    Case("PNG", "PNG", {}),
    Case("PNG with a palette", "PNG", {}),
    Case("WebP", "WEBP", {}),
    Case("lossless WebP", "WEBP", {"lossless": True}),
    Case("GIF", "GIF", {}),
    Case("BMP", "BMP", {}),
    Case("TIFF", "TIFF", {}),
    Case("LZW TIFF", "TIFF", {"compression": "tiff_lzw"}),
    Case("JPEG TIFF", "TIFF", {"compression": "jpeg"}),
)


def run(case: Case, *, num_mutations: int = NUM_MUTATIONS) -> Outcome:
    """Decode mutated photos of one encoding; a mutation is a function of its number, so that a problem can be repeated."""
    problems = []
    num_refused, slowest = 0, 0.0
    before = _peak_megabytes()
    for number, content in enumerate(_mutated(_encoded(case), num_mutations)):
        start = time.process_time()
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            try:
                photo = decode(content, name="photo")
                problem = "" if photo.dtype == np.uint8 and photo.ndim == 3 else "not pixels"
            except DataError as error:
                num_refused += 1
                problem = _problem(str(error))
            except Exception as error:
                problem = repr(error)
        seconds = time.process_time() - start
        slowest = max(slowest, seconds)
        if problem or caught or seconds > MAX_SECONDS:
            problems.append(f"mutation {number}: {problem or [str(entry.message) for entry in caught] or seconds}")
    grown = _peak_megabytes() - before
    if grown > MAX_MEGABYTES:
        problems.append(f"memory grew by {grown:.0f} MB")
    figures = {"photos": num_mutations, "refused": num_refused, "slowest": round(slowest, 3), "megabytes": round(grown)}
    return Outcome(problems[:20], num_mutations, num_mutations - len(problems), figures)


def _problem(message: str) -> str:
    is_plain = message.startswith("photo: ") and "\n" not in message and len(message) < 400
    return "" if is_plain and not any(words in message for words in FOREIGN_WORDS) else message


def _encoded(case: Case) -> bytes:
    rows = np.random.default_rng(1).integers(0, 256, (5, 6, 3), dtype=np.uint8)
    image = Image.fromarray(rows).resize((48, 40), Image.Resampling.BICUBIC)
    buffer = io.BytesIO()
    (image.quantize(16) if "palette" in case.name else image).save(buffer, case.kind, **case.options)
    return buffer.getvalue()


def _mutated(content: bytes, num_mutations: int) -> Iterator[bytes]:
    """Yield copies with bytes changed (mostly in the header), cut, repeated, removed, or inserted."""
    for number in range(num_mutations):
        draw = random.Random(number)
        mutant = bytearray(content)
        for _ in range(draw.choice((1, 1, 1, 2, 4, 8))):
            area = len(mutant) if draw.random() < 0.5 else min(len(mutant), 200)
            start = draw.randrange(area)
            length = draw.choice((1, 2, 4, 30))
            match draw.randrange(8):
                case 0:
                    del mutant[start : start + length]
                case 1:
                    mutant[start:start] = mutant[start : start + length]
                case 2:
                    mutant[start:start] = draw.randbytes(length)
                case 3:
                    mutant[start : start + length] = bytes([draw.choice((0, 255))]) * length
                case 4 if start > 8:
                    del mutant[start:]
                case _:
                    mutant[start] = draw.choice((mutant[start] ^ 1 << draw.randrange(8), draw.randrange(256)))
            if not mutant:
                break
        yield bytes(mutant)


def _peak_megabytes() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
