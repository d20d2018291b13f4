"""Names of splits: the usual spellings, with the words that data sites put around them, and no others."""

import time

import pytest

from allmlp.data import split_named
from allmlp.data.split_names import describes_photos, is_plain_name, partly_split_named


@pytest.mark.parametrize(
    ("split", "names"),
    [
        ("train", "train TRAIN training trn training_set train_images images_train Train-Set TrainSet train2017 1_train"),
        ("validation", "val valid validation dev eval val_images ValidationSet dataset-valid dev_set Images.Val"),
        ("test", "test testing tst holdout hold-out test_set dataset_test tst_photos"),
        (None, "trains tests invalid contest trainer train_station cats_train latest development testament 2017 data images"),
    ],
)  # fmt: skip
def test_splits_are_known_by_their_usual_spellings(split: str | None, names: str) -> None:
    assert {name: split_named(name) for name in names.split()} == dict.fromkeys(names.split(), split)


def test_a_split_may_be_one_of_several_words_or_the_beginning_of_a_name() -> None:
    assert partly_split_named("seg_train") == ("train", "seg")
    assert partly_split_named("segTest") == ("test", "seg")
    assert partly_split_named("Testdaten") == ("test", None)
    assert partly_split_named("train_or_test") is None
    assert partly_split_named("invalid") is None


@pytest.mark.parametrize(
    ("train", "test"),
    [
        ("Training", "Prüfung"),
        ("Trainingsdaten", "Pru\u0308fung"),  # decomposed, as macOS stores it
        ("entrenamiento", "prueba"),
        ("entrainement", "essai"),
        ("entraînement", "test"),
        ("addestramento", "prova"),
        ("treino", "teste"),
        ("训练集", "测试集"),
        ("訓練", "テスト"),
        ("обучение", "тест"),
    ],
)
def test_words_of_other_languages_begin_names_of_splits(train: str, test: str) -> None:
    for name, split in ((train, "train"), (test, "test")):
        part = partly_split_named(name)
        assert part is not None
        assert part.split == split


def test_classes_that_begin_like_words_of_no_split_are_classes() -> None:
    names = ("tram", "tree", "entrance", "pruning", "provolone", "learning", "tractor", "trend")
    assert not any(map(partly_split_named, names))


def test_plain_names_say_nothing_about_a_class() -> None:
    names = ("images", "unknown", "Unlabeled_photos", "test", "all", "cat", "2024", "0", "")
    assert [name for name in names if is_plain_name(name)] == ["images", "unknown", "Unlabeled_photos", "test", "all"]


@pytest.mark.parametrize("name", ["data" * 25_000 + "x", "_1" * 50_000 + "x", "dataset_" * 10 + "y", "train" * 20_000])
def test_hostile_names_take_no_time(name: str) -> None:
    start = time.process_time()
    assert split_named(name) is None
    partly_split_named(name)
    is_plain_name(name)
    assert time.process_time() - start < 0.5


def test_names_of_folders_about_photos() -> None:
    names = (
        "Annotations annotation meta meta-data metadata2 labels bounding_boxes lists dog images metal listing doctors"
    )
    assert " ".join(filter(describes_photos, names.split())) == names.partition(" dog")[0]
