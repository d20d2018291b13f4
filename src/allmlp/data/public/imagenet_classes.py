"""The class lists of the published weights, in the order of their logits, as timm's wheel carries them.

A class is a WordNet synset such as "n02012849"; its name is timm's text for it, all its words, such as "tench, Tinca
tinca". Some synsets share their text (in ImageNet-1k two: the bird and the machine "crane"). Where a list holds several
of one text, each of them gets its synset behind it, "crane (n02012849)", so that the names of a list are unique.
"""

import functools
import importlib.util
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from allmlp.errors import DataError, did_you_mean

__all__ = ["label_names", "synsets", "synsets_of"]

# Name of a list -> timm's file. "imagenet-21k" is Google's list, which has two classes more than the usual 21,841.
_FILES = {
    "imagenet-1k": "imagenet_synsets.txt",
    "imagenet-21k": "imagenet21k_goog_synsets.txt",
    "imagenet-21k-miil": "imagenet21k_miil_synsets.txt",
}
_WORDS_FILE = "imagenet_synset_to_lemma.txt"


@functools.cache
def label_names(labels: str) -> tuple[str, ...]:
    """Return the unique names of a class list: "imagenet-1k", "imagenet-21k" or "imagenet-21k-miil".

    Raises:
        DataError: an unknown list, or timm's files are not there.
    """
    words = _words()
    texts = [(synset, words[synset]) for synset in synsets(labels)]
    counts = Counter(text for _, text in texts)
    return tuple(f"{text} ({synset})" if counts[text] > 1 else text for synset, text in texts)


@functools.cache
def synsets(labels: str) -> tuple[str, ...]:
    """Return the WordNet synsets of a class list, in the order of `label_names`.

    Raises:
        DataError: an unknown list, or timm's files are not there.
    """
    if labels not in _FILES:
        raise DataError(
            f"There is no class list {labels!r}.{did_you_mean(labels, _FILES)} The lists: {', '.join(_FILES)}."
        )
    return tuple(_read(_FILES[labels]).split())


def synsets_of(class_names: Sequence[str]) -> tuple[str, ...] | None:
    """Return the synsets of `class_names` when they are one of the lists, in its order; else None.

    Raises:
        DataError: timm's files are not there.
    """
    lengths = {"imagenet-1k": 1_000, "imagenet-21k": 21_843, "imagenet-21k-miil": 11_221}
    for labels, length in lengths.items():
        if len(class_names) == length and tuple(class_names) == label_names(labels):
            return synsets(labels)
    return None


@functools.cache
def _words() -> dict[str, str]:
    return dict(line.split("\t", 1) for line in _read(_WORDS_FILE).splitlines())


def _read(name: str) -> str:
    # Found without being imported: importing timm takes torch and seconds.
    spec = importlib.util.find_spec("timm")
    folder = Path(spec.origin).parent if spec is not None and spec.origin is not None else Path("timm")
    path = folder / "data" / "_info" / name
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise DataError(
            f"{path}: cannot be read ({error.strerror or error}). The names of ImageNet's classes come with timm: "
            "pip install --force-reinstall timm."
        ) from error
