"""Names of splits in their usual spellings, in folders, files and tables."""

import re
import unicodedata
from typing import NamedTuple

from allmlp.data.dataset import SplitName

__all__ = ["SPELLINGS", "PartialName", "describes_photos", "is_plain_name", "partly_split_named", "split_named"]

SPELLINGS: dict[SplitName, tuple[str, ...]] = {
    "train": ("train", "training", "trn", "trainval"),
    "validation": ("validation", "valid", "val", "dev", "eval", "evaluation"),
    "test": ("test", "testing", "tst", "holdout"),
}
_SPLIT_OF = {word: split for split, words in SPELLINGS.items() for word in words}

# Words that say only that there are photos: "training_set", "images_train", "Test Data (2)".
_PLAIN = r"(?:(?:data|sets?|subsets?|splits?|images?|imgs?|photos?|pictures?|pics?|samples?|folders?|files?)[\W\d_]*)*"
_WORD = "(" + "|".join(sorted(_SPLIT_OF, key=len, reverse=True)) + r"|hold[\W_]out)"
_NAMED = re.compile(rf"[\W\d_]*{_PLAIN}{_WORD}[\W\d_]*{_PLAIN}")
_PLAIN_NAME = re.compile(rf"[\W\d_]*(?:(?:unknown|unlabell?ed|all)[\W\d_]*)?{_PLAIN}")
_DESCRIPTION = re.compile(
    r"[\W\d_]*(?:annot(?:ation)?s?|labels?|meta(?:[\W_]?data)?|bbox(?:es)?|bounding[\W_]?box(?:es)?|lists?|docs?)[\W\d_]*"
)
# Beginnings of words, also of other languages ("Trainingsdaten", "entrenamiento", "训练集"). They raise a question, no more.
_BEGINNINGS: dict[SplitName, str] = {
    "train": "train|entra[iî]n|apprentissage|entren|addestr|trein|lern|обуч|трен|训练|訓練|学習|훈련|학습",
    "validation": "valid|überprüf|валид|провер|验证|驗證|検証|검증",
    "test": "test|prueba|prova|essai|prüf|тест|测试|測試|テスト|테스트",
}
_BEGINNING = re.compile("|".join(f"(?P<{split}>{words})" for split, words in _BEGINNINGS.items()))
_MAX_LENGTH = 100


class PartialName(NamedTuple):
    """A name of which a part names a split: "seg_train" has the rest "seg"; "Testdaten", which only starts so, has None."""

    split: SplitName
    rest: str | None


def split_named(name: str) -> SplitName | None:
    """Return the split that a folder, file or table cell of this name stands for, ignoring case; None if it is not a split.

    The usual spellings count, alone or with words such as "set" and "images": train, Training, test_set, images_val, dev.
    """
    match = _NAMED.fullmatch(name.strip().lower()) if len(name) <= _MAX_LENGTH else None
    return _SPLIT_OF[re.sub(r"[\W_]", "", match[1])] if match else None


def partly_split_named(name: str) -> PartialName | None:
    """Return the split that is one of several words of a name, or the beginning of one; None if there is none or several."""
    name = unicodedata.normalize("NFC", name[:_MAX_LENGTH])
    words = re.findall(r"[^\W\d_]+", re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name))
    words = [word.lower() for word in words]
    splits = [word for word in words if word in _SPLIT_OF]
    if len(splits) == 1:
        return PartialName(_SPLIT_OF[splits[0]], " ".join(word for word in words if word not in splits))
    begun = [split for word in words if (match := _BEGINNING.match(word)) for split in _BEGINNINGS if match[split]]
    return PartialName(begun[0], None) if len(begun) == 1 and not splits else None


def is_plain_name(name: str) -> bool:
    """Return whether a folder's name says nothing about the class of its photos: images, unknown, test."""
    is_word = any(character.isalpha() for character in name)  # 2024 may be a class
    return split_named(name) is not None or (is_word and _PLAIN_NAME.fullmatch(name.strip().lower()) is not None)


def describes_photos(name: str) -> bool:
    """Return whether a folder of this name, without photos, is about the photos next to it: annotations, labels, meta."""
    return len(name) <= _MAX_LENGTH and _DESCRIPTION.fullmatch(name.strip().lower()) is not None
