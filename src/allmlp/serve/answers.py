"""Answers: how many values they may have, and their JSON, written piece by piece."""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from allmlp.serve.problems import Problem

__all__ = ["MAX_VALUES", "AnswerSize", "check_size", "encode", "json_pieces"]

MAX_VALUES = 200_000
"""Values of one answer: its photos times the classes, features or contributions of patches of each."""

_MOST_ITEMS = 500  # of a list, in one piece
_ENCODER = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"))


class AnswerSize(NamedTuple):
    """The size of what is answered for each photo.

    Attributes:
        num_values: values per photo.
        words: what they are.
        advice: what a client can do if the values of all photos are too many.
    """

    num_values: int
    words: str
    advice: str


def check_size(num_photos: int, size: AnswerSize) -> None:
    """Check that the answer for some photos does not have too many values. Raises Problem."""
    total = num_photos * size.num_values
    if total > MAX_VALUES:
        photos = "1 photo" if num_photos == 1 else f"{num_photos:,} photos"
        raise Problem(
            413,
            "too_many_values",
            f"The answer would have {total:,} values ({photos} with {size.num_values:,} {size.words} each); the limit of this "
            f"server is {MAX_VALUES:,}. {size.advice}",
        )


def encode(results: Sequence[Mapping[str, Any]]) -> bytes:
    """Return the JSON of an answer."""
    return "".join(json_pieces({"results": list(results)})).encode()


def json_pieces(value: Any) -> Iterator[str]:
    """Yield the JSON of a value in short pieces: other threads get their turn between them, and not inside of one."""
    if isinstance(value, dict) and _is_nested(value):
        for number, (name, each) in enumerate(value.items()):
            yield f"{',' if number else '{'}{_ENCODER.encode(name)}:"
            yield from json_pieces(each)
        yield "}"
    elif isinstance(value, list) and value and (isinstance(value[0], list) or _is_nested(value[0])):
        for number, each in enumerate(value):
            yield "," if number else "["
            yield from json_pieces(each)
        yield "]"
    elif isinstance(value, list) and len(value) > _MOST_ITEMS:
        for start in range(0, len(value), _MOST_ITEMS):
            yield ("," if start else "[") + _ENCODER.encode(value[start : start + _MOST_ITEMS])[1:-1]
        yield "]"
    else:
        yield _ENCODER.encode(value)


def _is_nested(value: Any) -> bool:
    return isinstance(value, dict) and any(isinstance(each, dict | list) for each in value.values())
