"""The folder of explained photos: its numbers, its limit, and names that must not become markup."""

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from tests.builders import tiny_checkpoint

from allmlp import ConfigError, Explainer, Explanation
from allmlp.report import ExplanationFolder

NAMES = ("<b>cat</b>", "dog & co", "yak")


@pytest.fixture(scope="module")
def explainer() -> Explainer:
    return Explainer.from_checkpoint(tiny_checkpoint(class_names=NAMES), device="cpu")


def photo(seed: int = 0) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (30, 20, 3), dtype=np.uint8)


def explained(explainer: Explainer, number: int, *, name: str = "photo") -> list[Explanation]:
    images = [(f"{name} {n}", png(photo(n))) for n in range(number)]
    return [each for each in explainer.stream(images, occlusion=True) if isinstance(each, Explanation)]


def png(pixels: NDArray[np.uint8]) -> bytes:
    import io

    file = io.BytesIO()
    Image.fromarray(pixels).save(file, format="PNG")
    return file.getvalue()


def test_a_photo_has_a_card_pictures_and_numbers(explainer: Explainer, tmp_path: Path) -> None:
    folder = ExplanationFolder(tmp_path / "why", "runs/mine")
    (found,) = explained(explainer, 1)
    folder.add(found)
    line = folder.close()
    assert line.startswith(f"Wrote {tmp_path}/why/index.html: open it in a browser; next to it, 5 pictures and ")
    assert line.endswith("explanations.jsonl with the numbers of 1 photo")
    (values,) = map(json.loads, (tmp_path / "why" / "explanations.jsonl").read_text().splitlines())
    pictures = values.pop("pictures")
    assert values == json.loads(json.dumps(found.to_json_object()))
    assert list(pictures) == ["class-1", "class-2", "class-3", "difference", "occlusion"]
    for name in pictures.values():
        with Image.open(tmp_path / "why" / name) as image:
            assert image.size == (found.photo.shape[1], found.photo.shape[0])
    assert sorted(path.name for path in (tmp_path / "why").iterdir()) == sorted(
        ["index.html", "explanations.jsonl", *pictures.values()]
    )
    page = (tmp_path / "why" / "index.html").read_text()
    # The photo, and each heat map as tiles and smooth; every picture is inside of the page and has a text.
    assert (
        len(re.findall(r'<img [^>]*src="data:image/webp;base64,[^"]+" alt="[^"]+"', page)) == page.count("<img") == 11
    )
    assert "<script" not in page and "http" not in page.replace("http-equiv", "")
    assert "Token mixing tells every patch about the whole photo" in page


def test_beyond_the_limit_photos_have_numbers_only(explainer: Explainer, tmp_path: Path) -> None:
    folder = ExplanationFolder(tmp_path / "why", "runs/mine", max_photos=2)
    for each in explained(explainer, 5):
        folder.add(each)
    assert "index.html of the first 2 photos: open it" in folder.close()
    page = (tmp_path / "why" / "index.html").read_text()
    assert page.count("<section") == 2
    assert "5 photos." in page and "The first 2 are shown; explanations.jsonl has the numbers of all." in page
    lines = (tmp_path / "why" / "explanations.jsonl").read_text().splitlines()
    assert ["pictures" in json.loads(line) for line in lines] == [True, True, False, False, False]


def test_a_photo_of_none_of_the_classes_is_headed_so(explainer: Explainer, tmp_path: Path) -> None:
    folder = ExplanationFolder(tmp_path / "why", "runs/mine")
    known, unknown = explained(explainer, 2)
    folder.add(known)
    folder.add(replace(unknown, is_unknown=True))
    folder.close()
    page = (tmp_path / "why" / "index.html").read_text()
    headings = re.findall("<h2>(.*?)<", page)
    assert [heading.strip() == "Unknown" for heading in headings] == [False, True]
    assert page.count("Probably of none of the classes.") == 1
    lines = (tmp_path / "why" / "explanations.jsonl").read_text().splitlines()
    assert [json.loads(line).get("unknown") for line in lines] == [None, True]


def test_names_are_text(explainer: Explainer, tmp_path: Path) -> None:
    folder = ExplanationFolder(tmp_path / "why", "<script>alert(1)</script>")
    for each in explained(explainer, 2, name='<img src=x onerror="alert(1)">\udcff\u202e'):
        folder.add(each)
    folder.close()
    page = (tmp_path / "why" / "index.html").read_text()
    assert "<b>cat" not in page and "<script" not in page and "<img src=x" not in page and "\u202e" not in page
    assert "&lt;b&gt;cat" in page and "dog &amp; co" in page and "\\u202e" in page


def test_a_folder_that_cannot_be_written_to_is_a_config_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(
        ConfigError, match=r"file/why: could not be written to \(a file is where its folder should be\)"
    ):
        ExplanationFolder(tmp_path / "file" / "why", "runs/mine")
