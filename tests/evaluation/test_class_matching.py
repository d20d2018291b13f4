"""Classes are matched by name, never by position."""

import dataclasses

import pytest

from allmlp.data import label_names, synsets_of
from allmlp.errors import DataError
from allmlp.evaluation.class_matching import match_classes


def named(checkpoint, class_names):
    names = tuple(class_names)
    config = dataclasses.replace(checkpoint.config, num_classes=len(names))
    return dataclasses.replace(checkpoint.description, config=config, class_names=names)


def test_names_are_found_wherever_they_are(checkpoint):
    assert match_classes(("yak", "cat"), checkpoint.description, where="photos").tolist() == [3, 0]


def test_synsets_are_names_of_imagenets_classes(checkpoint):
    names = label_names("imagenet-1k")
    synsets = synsets_of(names)
    found = match_classes([synsets[7], names[3], synsets[0]], named(checkpoint, names), where="photos")
    assert found.tolist() == [7, 3, 0]


def test_unknown_classes_are_all_named(checkpoint):
    with pytest.raises(
        DataError, match=r"^photos: the checkpoint does not know 2 of 3 classes: emu, fox\. It knows: cat,"
    ):
        match_classes(("fox", "cat", "emu"), checkpoint.description, where="photos")


def test_numbers_of_weights_without_names_match_only_all_of_them(checkpoint):
    model = named(checkpoint, tuple(map(str, range(12))))
    assert match_classes([str(number) for number in range(12)], model, where="photos").tolist() == list(range(12))
    with pytest.raises(DataError, match="only the numbers 0 to 11"):
        match_classes(("3", "4"), model, where="photos")


def test_long_and_many_names_are_shortened(checkpoint):
    names = tuple(f"{number} {'x' * 5_000}\x1b" for number in range(2_000))
    with pytest.raises(DataError) as caught:
        match_classes(names, named(checkpoint, names[::-1][:1_999]), where="my\nphotos")
    message = str(caught.value)
    assert message.startswith("my\\nphotos: the checkpoint does not know 1 of 2000 classes: 0 xxx")
    assert "and 1,949 more. Rename" in message
    assert len(message) < 12_000
