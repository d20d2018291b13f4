"""Recall of near duplicates by kind of change, false positives among different photos, and time per photo.

python benchmarks/near_duplicates.py NAME=PHOTOS ... [--step 4]

Every photo is searched among all others (`found`). Then copies of every `step`-th photo are changed and searched among all
photos: `recall` is the share of copies in one group with their original, `wrong` the number of other photos in such groups.
"""

import argparse
import io
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
from PIL import Image, ImageEnhance

from allmlp.data import decode, open_dataset
from allmlp.data.decoding.rgb import averaged_pixels
from allmlp.data.quality.near_duplicates import near_groups
from allmlp.data.quality.photo_facts import THUMBNAIL_SIDE
from allmlp.provenance import record

RESULT = Path(__file__).parent / "results" / "near_duplicates.json"


def thumbnail(pixels: np.ndarray) -> np.ndarray:
    return averaged_pixels(pixels, THUMBNAIL_SIDE)


def saved(quality: int) -> Callable[[Image.Image], Image.Image]:
    def change(image: Image.Image) -> Image.Image:
        content = io.BytesIO()
        image.save(content, "JPEG", quality=quality)
        return Image.open(content).convert("RGB")

    return change


def resized(across: float, down: float) -> Callable[[Image.Image], Image.Image]:
    return lambda image: image.resize((round(image.width * across), round(image.height * down)))


def cropped(left: float, top: float, right: float, bottom: float) -> Callable[[Image.Image], Image.Image]:
    def change(image: Image.Image) -> Image.Image:
        width, height = image.size
        return image.crop(tuple(map(round, (width * left, height * top, width * (1 - right), height * (1 - bottom)))))

    return change


def brighter(factor: float) -> Callable[[Image.Image], Image.Image]:
    return lambda image: ImageEnhance.Brightness(image).enhance(factor)


CHANGES: Mapping[str, Callable[[Image.Image], Image.Image]] = {
    "JPEG of quality 90": saved(90),
    "JPEG of quality 30": saved(30),
    "half the size": resized(0.5, 0.5),
    "another aspect ratio": resized(1.5, 1.0),
    "2 % cropped off each side": cropped(0.02, 0.02, 0.02, 0.02),
    "5 % cropped off one side": cropped(0.05, 0, 0, 0),
    "5 % cropped off each side": cropped(0.05, 0.05, 0.05, 0.05),
    "5 % brighter": brighter(1.05),
    "20 % brighter": brighter(1.2),
    "20 % darker": brighter(0.8),
}


def recall_of(groups: list[list[int]], before: list[list[int]], chosen: range, count: int) -> dict[str, float]:
    """Return the recall among groups of `count` photos and then the copies of those in `chosen`; `before` has no copies."""
    group_of = {member: number for number, group in enumerate(before) for member in group}
    copied = dict(enumerate(chosen, count))
    found, wrong = 0, 0
    for group in groups:
        originals = {member for member in group if member < count}
        known = {copied[member] for member in group if member >= count}
        found += len(known & originals)
        wrong += len({group_of.get(member, -1 - member) for member in originals | known}) - 1
    return {"copies": len(chosen), "recall": round(found / len(chosen), 4), "wrong": wrong}


def figures_of(source: str, step: int) -> dict[str, object]:
    splits = open_dataset(source).splits.values()
    photos = [decode(split.read(index), name=split.where(index)) for split in splits for index in range(len(split))]
    thumbnails = list(map(thumbnail, photos))
    start = time.process_time()
    groups = near_groups(thumbnails)
    seconds = time.process_time() - start
    chosen = range(0, len(photos), step)
    changes = {}
    for name, change in CHANGES.items():
        copies = [thumbnail(np.asarray(change(Image.fromarray(photos[index])))) for index in chosen]
        changes[name] = recall_of(near_groups([*thumbnails, *copies]), groups, chosen, len(photos))
        print(f"{name:28} {changes[name]}", flush=True)
    return {
        "photos": len(photos),
        "found": {"groups": len(groups), "photos": sum(map(len, groups))},
        "cpu_microseconds_per_photo": round(1e6 * seconds / len(photos), 1),
        "changes": changes,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", nargs="+", metavar="NAME=PHOTOS", help="photos in any form that allmlp reads")
    parser.add_argument("--step", type=int, default=4)
    parser.add_argument("--result", type=Path, default=RESULT)
    arguments = parser.parse_args()
    sources = dict(pair.split("=", 1) for pair in arguments.data)
    figures = {name: figures_of(source, arguments.step) for name, source in sources.items()}
    command = (
        f"python benchmarks/near_duplicates.py {' '.join(f'{name}=PHOTOS' for name in sources)} --step {arguments.step}"
    )
    print("wrote", record(arguments.result, figures, command=command))


if __name__ == "__main__":
    main()
