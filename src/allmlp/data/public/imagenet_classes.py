"""Class lists of ImageNet, in the order of the published models' logits, read from class_lists/.

A class is a WordNet synset such as "n01440764"; its name is the words of that synset, such as "tench, Tinca tinca". Some
synsets have the same words (in ImageNet-1k, the bird and the machine "crane"). Such names are followed by their synset,
"crane (n02012849)", so that the names of a list are unique.
"""

import functools
from collections import Counter
from collections.abc import Mapping, Sequence
from importlib import resources

from allmlp.errors import DataError, did_you_mean

__all__ = ["NUM_IMAGENET_CLASSES", "label_names", "synsets", "synsets_of"]

NUM_IMAGENET_CLASSES: Mapping[str, int] = {"imagenet-1k": 1_000, "imagenet-21k": 21_843, "imagenet-21k-miil": 11_221}
"""Number of classes of each list. "imagenet-21k" is Google's list, with two classes more than the usual 21,841."""

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
        DataError: the list is unknown.
    """
    words = _words()
    texts = [(synset, words[synset]) for synset in synsets(labels)]
    counts = Counter(text for _, text in texts)
    return tuple(f"{text} ({synset})" if counts[text] > 1 else text for synset, text in texts)


@functools.cache
def synsets(labels: str) -> tuple[str, ...]:
    """Return the WordNet synsets of a class list, in the order of `label_names`.

    Raises:
        DataError: the list is unknown.
    """
    if labels not in _FILES:
        raise DataError(
            f"Unknown class list {labels!r}.{did_you_mean(labels, _FILES)} Class lists: {', '.join(_FILES)}."
        )
    return tuple(_read(_FILES[labels]).split())


def synsets_of(class_names: Sequence[str]) -> tuple[str, ...] | None:
    """Return the synsets of `class_names` if they are one of the lists, in its order; else None."""
    for labels, length in NUM_IMAGENET_CLASSES.items():
        if len(class_names) == length and tuple(class_names) == label_names(labels):
            return synsets(labels)
    return None


@functools.cache
def _words() -> dict[str, str]:
    return dict(line.split("\t", 1) for line in _read(_WORDS_FILE).splitlines())


def _read(name: str) -> str:
    return (resources.files("allmlp.data") / "public" / "class_lists" / name).read_text(encoding="utf-8")
