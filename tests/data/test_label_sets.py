"""Label sets from JSON: ImageNet's ReaL list, and objects of photos."""

import json
import unicodedata
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Literal

import pytest
from timm.data.real_labels import RealLabelsImagenet

from allmlp.data import label_names, read_label_sets, synsets_of
from allmlp.errors import DataError

NUMBERS = {"cat": 0, "dog": 1, "owl": 2, "bird of prey": 2}
PHOTOS = ("cat/a.png", "cat/b.png", "dog/a.png", "owl/deep/c.png")


def sets(
    path: Path,
    content: object,
    photos: Sequence[str] = PHOTOS,
    numbers: Mapping[str, int] = NUMBERS,
    num_classes: int = 3,
) -> tuple[tuple[int, ...], ...]:
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return read_label_sets(path, photos, numbers, num_classes=num_classes)


def test_the_shipped_real_labels_are_read_as_timm_reads_them() -> None:
    path = resources.files("timm.data") / "_info" / "imagenet_real_labels.json"
    names = [f"ILSVRC2012_val_{number:08}.JPEG" for number in range(1, 50_001)]
    theirs = RealLabelsImagenet(names).real_labels
    sample_ids = [f"n{index % 1000:08}/{name}" for index, name in enumerate(names)][::-1]
    wanted = [set(theirs[sample_id.rpartition("/")[2]]) for sample_id in sample_ids]
    ours = read_label_sets(str(path), sample_ids, imagenet_numbers(), num_classes=1000)
    assert [set(each) for each in ours] == wanted
    assert sum(not each for each in ours) == 50_000 - 46_837  # the paper counts 46,837 photos with labels
    ordered = sorted(label_names("imagenet-1k"))  # as training orders classes
    ours = read_label_sets(
        str(path), sample_ids[:2000], {name: number for number, name in enumerate(ordered)}, num_classes=1000
    )
    assert [{label_names("imagenet-1k").index(ordered[each]) for each in entry} for entry in ours] == wanted[:2000]


def imagenet_numbers() -> dict[str, int]:
    return {synset: number for number, synset in enumerate(synsets_of(label_names("imagenet-1k")) or ())}


def test_photos_are_known_by_identity_or_by_a_name_that_is_theirs_alone(tmp_path: Path) -> None:
    content = {
        "cat/a.png": ["cat", "bird of prey"],
        "b.png": [1, 0, 1],
        "dog/a.png": [],
        "c.png": ["owl"],
        "other.png": [9],
    }
    assert sets(tmp_path / "x.json", content) == ((0, 2), (0, 1), (), (2,))


def test_every_bad_entry_is_named_at_once(tmp_path: Path) -> None:
    content = {"a.png": ["cat"], "b.png": ["cow", 3, True, 1.0, None, -1], "c.png": "owl"}
    with pytest.raises(DataError) as caught:
        sets(tmp_path / "x.json", content)
    for words in (
        "4 entries",
        "cat/a.png, dog/a.png: 2 photos are named a.png; use sample IDs, such as dress/x.jpg",
        "cat/b.png: not classes of the checkpoint: 'cow', 3, True, 1.0, None, ...",
        "owl/deep/c.png: expected a list of classes, got 'owl'",
        "The classes are 0 to 2, or cat, dog, owl, bird of prey.",
    ):
        assert words in str(caught.value)


def test_a_photo_without_an_entry_or_with_two_is_named(tmp_path: Path) -> None:
    content = '{"cat/a.png": [0], "cat/b.png": [0], "cat/b.png": [1], "dog/a.png": [1]}'
    with pytest.raises(DataError, match=r"(?s)2 entries.*cat/b\.png: more than one.*owl/deep/c\.png: no entry"):
        sets(tmp_path / "x.json", content)


def test_many_photos_with_one_fault_are_one_line(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"9 entries.*\n  p/0.png, p/1.png, p/2.png and 6 more: no entry\n"):
        sets(tmp_path / "x.json", {}, tuple(f"p/{number}.png" for number in range(9)))


def test_a_file_of_empty_sets_alone_is_named(tmp_path: Path) -> None:
    content = {"cat/a.png": [], "b.png": [], "dog/a.png": [], "c.png": []}
    with pytest.raises(DataError, match=r"x\.json: all 4 label sets of these photos are empty"):
        sets(tmp_path / "x.json", content)


def test_a_list_is_imagenets_and_names_photos_that_it_does_not_hold(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"this checkpoint has 3 classes\. For other classes, use an object"):
        sets(tmp_path / "x.json", [[0], [1]])
    photos = (
        "a/ILSVRC2012_val_00000002.JPEG",
        "a/ILSVRC2012_val_00000003.JPEG",
        "a/x.JPEG",
        "a/ILSVRC2012_val_00000001.jpg",
    )
    with pytest.raises(DataError) as caught:
        sets(tmp_path / "x.json", [[1000], [1]], photos, imagenet_numbers(), 1000)
    for words in ("3 entries", "00003.JPEG: the list has only 2 entries", "x.JPEG: not named like", "checkpoint: 1000"):
        assert words in str(caught.value)


def test_a_list_is_refused_where_the_thousand_classes_are_not_imagenets(tmp_path: Path) -> None:
    photos = ("a/ILSVRC2012_val_00000001.JPEG",)
    with pytest.raises(DataError, match=r"lacks 1,000 of them by name and synset: tench, .* and 990 more"):
        sets(tmp_path / "x.json", [[0]], photos, {str(number): number for number in range(1000)}, 1000)
    numbers = imagenet_numbers()
    del numbers["n01440764"]
    with pytest.raises(DataError, match=r"lacks 1 of them by name and synset: tench, Tinca tinca\."):
        sets(tmp_path / "x.json", [[0]], photos, numbers, 1000)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("", "could not be read as JSON"),
        ("[" * 100_000, "could not be read"),
        ("3", "of type int"),
        ('"x"', "of type str"),
    ],
    ids=lambda value: value[:20],
)
def test_a_file_that_holds_something_else_is_named(content: str, words: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=rf"x\.json: .*{words}"):
        sets(tmp_path / "x.json", content)


def test_a_file_that_is_not_there_or_not_utf8_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="there is no such file"):
        read_label_sets(tmp_path / "none.json", PHOTOS, NUMBERS, num_classes=3)
    (tmp_path / "x.json").write_bytes(b'{"\xff": []}')
    with pytest.raises(DataError, match="could not be read as JSON"):
        read_label_sets(tmp_path / "x.json", PHOTOS, NUMBERS, num_classes=3)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])  # the last three write a BOM
def test_a_byte_order_mark_is_no_part_of_the_labels(encoding: str, tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text(json.dumps({photo: ["cat"] for photo in PHOTOS}), encoding=encoding)
    found = read_label_sets(tmp_path / "x.json", PHOTOS, NUMBERS, num_classes=len(NUMBERS))
    assert found == ((0,),) * 4


@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_photos_and_classes_of_labels_are_known_in_any_unicode_form(
    form: Literal["NFC", "NFD"], tmp_path: Path
) -> None:
    photos, numbers = ("café/ü.jpg", "Straße/Å.jpg"), {"café": 0, "Straße": 1}
    content = {"café/ü.jpg": ["café"], "Å.jpg": ["café", "Straße"]}
    text = unicodedata.normalize(form, json.dumps(content, ensure_ascii=False))
    assert sets(tmp_path / "x.json", text, photos, numbers) == ((0,), (0, 1))


def test_entries_that_differ_only_by_unicode_form_are_repeated(tmp_path: Path) -> None:
    text = json.dumps({"caf\u00e9.png": ["cat"], "cafe\u0301.png": ["dog"]})
    with pytest.raises(DataError, match=r"café\.png: more than one entry"):
        sets(tmp_path / "x.json", text, ["cat/caf\u00e9.png"])
