"""Class lists of the published weights, with timm's own reader as the oracle."""

import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

import allmlp
from allmlp import DataError
from allmlp.data.public.imagenet_classes import NUM_IMAGENET_CLASSES, label_names, synsets, synsets_of

LISTS = {"imagenet-1k": 1_000, "imagenet-21k": 21_843, "imagenet-21k-miil": 11_221}


@pytest.mark.parametrize(("labels", "length"), LISTS.items())
def test_synsets_and_names_are_those_of_timm(labels: str, length: int) -> None:
    from timm.data import ImageNetInfo

    timm = ImageNetInfo(labels)
    assert synsets(labels) == tuple(timm.label_names())
    assert len(synsets(labels)) == length
    shared = Counter(timm.label_descriptions())
    for name, synset in zip(label_names(labels), synsets(labels), strict=True):
        text = timm.label_name_to_description(synset)
        assert name == (text if shared[text] == 1 else f"{text} ({synset})")


@pytest.mark.parametrize("labels", LISTS)
def test_names_are_unique(labels: str) -> None:
    assert len(set(label_names(labels))) == LISTS[labels]


def test_the_bird_and_the_machine_are_told_apart() -> None:
    names = label_names("imagenet-1k")
    assert names[0] == "tench, Tinca tinca"
    assert (names[134], names[517]) == ("crane (n02012849)", "crane (n03126707)")


@pytest.mark.parametrize("labels", LISTS)
def test_names_lead_back_to_their_synsets(labels: str) -> None:
    assert synsets_of(list(label_names(labels))) == synsets(labels)


def test_other_names_lead_to_no_synsets() -> None:
    assert synsets_of(("cat", "dog")) is None
    assert synsets_of(tuple(str(index) for index in range(1_000))) is None
    assert synsets_of(label_names("imagenet-1k")[::-1]) is None


def test_an_unknown_list_is_refused_with_the_nearest() -> None:
    with pytest.raises(DataError, match=r"'imagenet-22k'\. Did you mean 'imagenet-21k'"):
        label_names("imagenet-22k")


def test_the_counts_are_those_of_the_lists() -> None:
    assert dict(NUM_IMAGENET_CLASSES) == LISTS == {labels: len(synsets(labels)) for labels in NUM_IMAGENET_CLASSES}


def test_the_files_are_those_of_timm() -> None:
    import timm

    files = sorted((Path(allmlp.__file__).parent / "data" / "public" / "class_lists").glob("*.txt"))
    assert len(files) == 4
    for file in files:
        assert file.read_bytes() == (Path(timm.__file__).parent / "data" / "_info" / file.name).read_bytes()


def test_reading_names_imports_neither_timm_nor_torch() -> None:
    code = "import sys; from allmlp.data.public.imagenet_classes import label_names; "
    code += "label_names('imagenet-21k'); print(*sys.modules)"
    outcome = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120)
    assert not {"timm", "torch"} & set(outcome.stdout.split())
