"""Arrangement of Tiny-ImageNet's files as `allmlp train` reads them: train/CLASS/FILE and validation/CLASS/FILE.

    python experiments/starter/arrange.py TINY_IMAGENET PHOTOS

TINY_IMAGENET is the folder "tiny-imagenet-200" as Stanford's CS231N distributes it, with train/WNID/images/*.JPEG,
val/images/*.JPEG, val/val_annotations.txt and words.txt. A class is named by the first of its words in WordNet. Files are
hard-linked if the file system allows it, else copied.
"""

import argparse
import os
import shutil
from collections import Counter
from collections.abc import Iterator
from pathlib import Path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=Path)
    parser.add_argument("target", type=Path)
    arguments = parser.parse_args()
    names = class_names(arguments.source)
    count = 0
    for split, wnid, file in (*training_files(arguments.source), *validation_files(arguments.source)):
        folder = arguments.target / split / names[wnid]
        folder.mkdir(parents=True, exist_ok=True)
        link(file, folder / file.name)
        count += 1
    print(
        f"{arguments.target}: {count:,} photos of {len(names)} classes. Next: allmlp train {arguments.target} --recipe starter"
    )


def class_names(source: Path) -> dict[str, str]:
    """Return a folder name per WordNet ID: its first word, or all of its words if two classes share the first."""
    words = dict(line.split("\t", 1) for line in (source / "words.txt").read_text().splitlines())
    wnids = sorted(folder.name for folder in (source / "train").iterdir())
    first = {wnid: words[wnid].split(",")[0].strip() for wnid in wnids}
    counts = Counter(first.values())
    return {wnid: first[wnid] if counts[first[wnid]] == 1 else words[wnid].replace("/", " ").strip() for wnid in wnids}


def training_files(source: Path) -> Iterator[tuple[str, str, Path]]:
    for file in sorted((source / "train").glob("*/images/*.JPEG")):
        yield "train", file.parent.parent.name, file


def validation_files(source: Path) -> Iterator[tuple[str, str, Path]]:
    for line in (source / "val" / "val_annotations.txt").read_text().splitlines():
        name, wnid, *_ = line.split("\t")
        yield "validation", wnid, source / "val" / "images" / name


def link(file: Path, target: Path) -> None:
    try:
        os.link(file, target)
    except OSError:
        shutil.copyfile(file, target)


if __name__ == "__main__":
    main()
