"""The contact sheet: its order, its limit, and names that must not become markup."""

import re
from pathlib import Path

import numpy as np

from allmlp.data import encode_thumbnail
from allmlp.inference import Prediction
from allmlp.report import ContactSheet

THUMBNAIL = encode_thumbnail(np.zeros((8, 8, 3), np.uint8), side=200)


def prediction(source: str, label: str, score: float, *, is_unknown: bool = False) -> Prediction:
    labels = ({"label": label, "score": score}, {"label": "other", "score": 1 - score})
    return Prediction(source, labels, THUMBNAIL, is_unknown)


def page_of(tmp_path: Path, predictions: list[Prediction], **options: float) -> str:
    sheet = ContactSheet("runs/mine", **options)  # type: ignore[arg-type]
    for each in predictions:
        sheet.add(each)
    sheet.write(tmp_path / "sheet.html")
    return (tmp_path / "sheet.html").read_text()


def files(page: str) -> list[str]:
    return re.findall(r'<p class="caption">(.*?)</p>', page)


def test_the_unsure_come_first_then_each_class_from_the_lowest_score(tmp_path: Path) -> None:
    scores = [("e", "yak", 0.9), ("d", "yak", 0.6), ("c", "Cat", 0.7), ("b", "yak", 0.3), ("a", "Cat", 0.4)]
    page = page_of(tmp_path, [prediction(f"p/{name}", label, score) for name, label, score in scores], min_score=0.5)
    assert files(page) == ["b", "a", "c", "d", "e"]
    assert re.findall(r"<h2.*?>(.*?) <span", page) == ["Unsure", "Cat", "yak"]
    assert "2 predictions are unsure: their score is below 50.0" in page


def test_of_more_photos_than_the_limit_the_least_certain_are_shown(tmp_path: Path) -> None:
    scores = np.random.default_rng(0).permutation(50) / 50
    predictions = [prediction(f"{score:.2f}", "cat", float(score)) for score in scores]
    page = page_of(tmp_path, predictions, max_photos=7)
    assert files(page) == [f"{score / 50:.2f}" for score in range(7)]
    assert "50 photos" in page and "The 7 with the lowest scores are shown." in page


def test_of_more_photos_than_the_limit_the_unknown_are_shown_and_all_counted(tmp_path: Path) -> None:
    scores = {"a": 0.99, "b": 0.2, "c": 0.3, "d": 0.97, "e": 0.98}
    predictions = [prediction(name, "cat", score, is_unknown=name in "ade") for name, score in scores.items()]
    page = page_of(tmp_path, predictions, min_score=0.5, max_photos=2)
    assert files(page) == ["d", "e"]
    assert "3 photos are unknown" in page and "2 predictions are unsure" in page
    assert "The 2 that are unknown or have the lowest scores are shown." in page


def test_names_are_text_and_in_full(tmp_path: Path) -> None:
    name = f"<img src=x onerror=alert(1)>{'long' * 50}.jpg"
    page = page_of(
        tmp_path, [prediction(f"/photos/a/{name}", "<b>cat", 0.9), prediction("/photos/\udcff.jpg", "dog", 0.8)]
    )
    assert "<img src=x" not in page and "<b>cat" not in page
    shown = files(page)
    assert any(file.endswith(f"{'long' * 50}.jpg") for file in shown)
    assert "\\udcff.jpg" in shown
    assert "<code>/photos</code>" in page


def test_every_group_is_linked_however_many_there_are(tmp_path: Path) -> None:
    for number in (3, 60):
        page = page_of(tmp_path, [prediction(f"{i}.jpg", f"class {i}", 0.9) for i in range(number)])
        identifiers = re.findall(r'<section class="card" id="(.*?)"', page)
        assert re.findall(r'<a href="#(.*?)">', page) == identifiers
        assert len(identifiers) == number
        assert ("<details>" in page) == (number == 60)
