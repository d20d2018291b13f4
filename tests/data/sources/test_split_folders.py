"""Splits and classes of a tree: read where they are certain, else refused with both readings, and never lost silently."""

from pathlib import Path

import pytest
from tests.data.photo_sources import Photos, refusal, write_folder, write_zip

from allmlp.data import ImageDataset, command_options, open_dataset
from allmlp.errors import ConfigError, DataError


def grid(tops: str, classes: str = "cat dog") -> Photos:
    return {f"{top}/{name}/{i}.jpg": b"" for top in tops.split() for name in classes.split() for i in range(2)}


@pytest.fixture(params=["folder", "zip"])
def write(request: pytest.FixtureRequest, tmp_path: Path):
    """Write photos as a folder or as a zip; return its path."""
    if request.param == "zip":
        return lambda photos: write_zip(tmp_path / "x.zip", photos)
    return lambda photos: write_folder(tmp_path / "x", photos)


def counts(dataset: ImageDataset) -> dict[str, int]:
    return {name: len(split) for name, split in dataset.splits.items()}


@pytest.mark.parametrize(
    "tops",
    [
        "Training Testing",
        "training_set test_set",
        "train_images test_images",
        "images_train images_tst",
        "Train-Set HOLDOUT",
        "dataset/dataset/train dataset/dataset/test",
        "train/train test/test",
        "train/images test/images",
        "seg_train/seg_train seg_test/seg_test",
        "flowers-train flowers-test",
        "training_data/train training_data/testing",
        "x/train2017 x/test2017",
    ],
)
def test_folders_named_like_splits_that_hold_the_same_classes_are_splits(tops: str, write) -> None:
    dataset = open_dataset(write(grid(tops)))
    assert dataset.class_names == ("cat", "dog")
    assert counts(dataset) == {"train": 4, "test": 4}
    assert dataset.splits["train"].sample_ids == ("cat/0.jpg", "cat/1.jpg", "dog/0.jpg", "dog/1.jpg")


def test_a_reading_that_names_do_not_give_alone_is_noted(write) -> None:
    dataset = open_dataset(write({**grid("seg_train seg_test"), "seg_pred/1.jpg": b""}))
    assert dataset.notes == (
        "seg_test/ is read as the test split",
        "seg_train/ is read as the train split",
        "ignored folders next to the splits: seg_pred",
    )


@pytest.mark.parametrize(
    ("photos", "classes", "splits"),
    [
        (grid("valid invalid"), "invalid, valid", "validation=valid"),
        (grid("test control"), "control, test", "test=test"),
        ({**grid("test"), "control/1.jpg": b""}, "control, test", "test=test"),
        (grid("train extra"), "extra, train", "train=train"),
        ({**grid("train"), "unlabelled/1.jpg": b""}, "train, unlabelled", "train=train"),
        (grid("dev prod"), "dev, prod", "validation=dev"),
        ({**grid("train", "steam diesel"), **grid("test", "blood urine")}, "test, train", "train=train,test=test"),
        ({**grid("test"), "train/1.jpg": b""}, "test, train", "train=train,test=test"),
        (grid("Trainingsdaten Testdaten"), "Testdaten, Trainingsdaten", "train=Trainingsdaten,test=Testdaten"),
        (grid("entrenamiento prueba"), "entrenamiento, prueba", "train=entrenamiento,test=prueba"),
        (grid("entrainement validation"), "entrainement, validation", "train=entrainement,validation=validation"),
        (grid("测试集 训练集"), "测试集, 训练集", "train=训练集,test=测试集"),
        (grid("cats_train dogs_test"), "cats_train, dogs_test", "train=cats_train,test=dogs_test"),
    ],
    ids=str,
)
def test_uncertain_folders_are_refused_with_both_readings(photos: Photos, classes: str, splits: str, write) -> None:
    path = write(photos)
    message = refusal(path)
    assert "can be read in two ways:\n" in message
    assert f"  as classes: {classes}. Choose this with --classes-from .\n" in message
    assert f"Choose this with --split-folders {splits}\n" in message
    as_classes = open_dataset(path, classes_from=".")
    assert as_classes.class_names == tuple(classes.split(", "))
    assert [*as_classes.splits] == ["train"]
    assert len(as_classes.splits["train"]) == len(photos)


@pytest.mark.parametrize(
    "photos",
    [
        grid("cat dog", "train test"),
        grid("cat dog", "training dev"),
        {**grid("cat", "val test"), **grid("dog", "test")},
    ],
)
def test_splits_within_each_class_are_not_merged_silently(photos: Photos, write) -> None:
    path = write(photos)
    assert "every folder (cat, dog) has sub-folders named after splits" in refusal(path)
    assert open_dataset(path, classes_from=".").class_names == ("cat", "dog")


@pytest.mark.parametrize(
    "names", ["train_cats test_cats train_dogs", "trainA trainB testA testB", "cats-val dogs-test"]
)
def test_splits_in_the_names_of_class_folders_are_a_question(names: str, write) -> None:
    path = write({f"{name}/1.jpg": b"" for name in names.split()})
    assert "have a split and something else, which can be read in two ways. Choose --classes-from ." in refusal(path)
    assert open_dataset(path, classes_from=".").class_names == tuple(sorted(names.split()))


@pytest.mark.parametrize("name", ["train", "test", "valid", "Testing", "dev"])
def test_classes_named_like_splits_stay_classes_next_to_others(name: str, write) -> None:
    dataset = open_dataset(write({f"{name}/1.jpg": b"", "bus/1.jpg": b""}))
    assert set(dataset.class_names) == {name, "bus"}
    assert dataset.notes == (f"read as classes, like the folders next to them: {name}/",)


def test_a_class_in_a_split_may_be_named_like_a_split(write) -> None:
    dataset = open_dataset(write({**grid("train test", "train bus"), "train/train/steam/1.jpg": b""}))
    assert dataset.class_names == ("bus", "train")
    assert counts(dataset) == {"train": 5, "test": 4}


@pytest.mark.parametrize(
    "photo", ["test/1.jpg", "test/test/1.jpg", "testing/unknown/1.jpg", "test_images/images/1.jpg"]
)
def test_an_unlabelled_test_folder_is_left_out_with_a_note(photo: str, write) -> None:
    dataset = open_dataset(write({**grid("train"), photo: b""}))
    folder = photo.partition("/")[0]
    reason = f"{folder}/ has no class folders, so its photos have no labels"
    assert dataset.notes == (f"left out: {reason}",)
    assert dataset.left_out == {"test": reason}
    assert dataset.class_names == ("cat", "dog")


@pytest.mark.parametrize("split", ["test", "val", "testing"])
def test_a_class_that_a_scoring_split_lacks_is_a_note_and_one_that_train_lacks_an_error(split: str, write) -> None:
    dataset = open_dataset(write({**grid("train", "cat dog owl"), **grid(split)}))
    assert any(note.endswith(" has no photos of 'owl'") for note in dataset.notes)
    with pytest.raises(DataError, match=r"train lacks 'emu', which (test|validation) has"):
        open_dataset(write({**grid("train"), **grid(split, "cat emu")}))


@pytest.mark.parametrize(
    "junk",
    [
        *("@eaDir", "#recycle", "#snapshot", "$RECYCLE.BIN", "System Volume Information", "lost+found", ".Trashes"),
        *("@appstore", "@database", "@SynologyDrive", "@sharebin", "@__thumb", ".@__thumb", ".Trash-1000"),
        *(".Spotlight-V100", "__MACOSX", ".ipynb_checkpoints", "@Recycle", "found.000", "RECYCLER", "__pycache__"),
        *("Recycle Bin", "Network Recycle Bin", "@SynoEAStream", "@SynoResource", "1.jpg@SynoEAStream"),
    ],
)
def test_folders_of_the_system_are_skipped_at_any_depth(junk: str, write) -> None:
    below = {f"{folder}{junk}/a/1.jpg": b"" for folder in ("", "train/", "train/cat/", "test/dog/")}
    dataset = open_dataset(write({**grid("train test"), **below}))
    assert dataset.class_names == ("cat", "dog")
    assert counts(dataset) == {"train": 4, "test": 4}
    assert dataset.notes == (f"4 other files ignored ({junk})",)


@pytest.mark.parametrize(
    ("tops", "first"),
    [
        ("fold1 fold2", "fold1"),
        ("2019 2020", "2019"),
        ("color gray segmented", "color"),
        ("x/batch_0 x/batch_1", "x/batch_0"),
        ("amazon/images dslr/images", "amazon/images"),
    ],
)
def test_folders_of_any_names_that_hold_the_same_folders_are_a_question(tops: str, first: str, write) -> None:
    path = write({**grid(tops), **grid(tops.split()[0], "owl")})
    message = refusal(path)
    assert "hold the same sub-folders (cat, dog), which can be read in two ways:" in message
    assert f"--split-folders train={first.removesuffix('/images')},test=" in message
    assert f"or one folder with --classes-from {first}\n" in message
    assert open_dataset(path, classes_from=first).class_names == ("cat", "dog", "owl")


def test_categories_with_their_own_splits_are_a_question_whatever_is_next_to_them(write) -> None:
    assert "has sub-folders named after splits (test, train)" in refusal(write(grid("a b", "train test ground_truth")))


def test_sub_folders_merged_into_their_classes_are_named(write) -> None:
    photos = {f"{name}/{kind}/1.jpg": b"" for name in ("COVID", "Normal") for kind in ("images", "masks")}
    dataset = open_dataset(write(photos))
    assert dataset.class_names == ("COVID", "Normal")
    assert dataset.notes == ("sub-folders merged into their classes: images/ in 2 classes, masks/ in 2 classes",)


def test_the_same_sub_folder_in_every_class_merges_nothing(write) -> None:
    assert open_dataset(write({"a/images/1.jpg": b"", "b/images/1.jpg": b""})).notes == ()


def test_split_folders_are_read_as_given_and_the_rest_is_named(write) -> None:
    path = write({**grid("year/2023 year/2024"), **grid("other")})
    dataset = open_dataset(path, split_folders={"train": "year/2023/", "val": "./year/2024"})
    assert counts(dataset) == {"train": 4, "validation": 4}
    assert dataset.notes == ("ignored folders next to the splits: other",)
    assert command_options(dataset.options) == ["--split-folders", "train=year/2023/,val=./year/2024"]


@pytest.mark.parametrize(("wrap", "copy"), [("", "flowers"), ("x/", "data"), ("", "copy")])
def test_a_folder_with_the_names_of_all_others_is_a_question(wrap: str, copy: str, write) -> None:
    path = write({**grid(f"{wrap}{copy}"), **{f"{wrap}{photo}": b"" for photo in ("cat/0.jpg", "dog/0.jpg")}})
    message = refusal(path)
    assert f"{wrap}{copy}/ has folders with the names of all folders next to it (cat, dog)" in message
    assert open_dataset(path, classes_from=f"{wrap}{copy}").class_names == ("cat", "dog")
    assert set(open_dataset(path, classes_from=wrap or ".").class_names) == {"cat", "dog", copy}


@pytest.mark.parametrize("flat", ["test", "val"])
def test_a_given_scoring_split_without_labels_is_left_out_as_if_it_were_found(flat: str, write) -> None:
    path = write({**grid("train"), f"{flat}/1.jpg": b"", "unlabelled/1.jpg": b""})
    assert f"--split-folders train=train,{'test' if flat == 'test' else 'validation'}={flat}\n" in refusal(path)
    dataset = open_dataset(path, split_folders={"train": "train", flat: flat})
    assert counts(dataset) == {"train": 4}
    assert dataset.notes == (
        f"left out: {flat}/ has no class folders, so its photos have no labels",
        "ignored folders next to the splits: unlabelled",
    )
    with pytest.raises(DataError, match=f"1 photo is directly in {flat}/"):
        open_dataset(path, split_folders={flat: flat})


@pytest.mark.parametrize(
    ("tops", "options"),
    [
        ("train val valid", "train=train,validation=val"),
        ("train1 train2", "train=train1"),
        ("x/train x/test x/testing", "train=x/train,test=x/test"),
    ],
)
def test_two_folders_of_one_split_are_refused_with_an_option_that_names_every_split(
    tops: str, options: str, write
) -> None:
    path = write(grid(tops))
    message = refusal(path)
    assert f"; choose the folder of each split, such as --split-folders {options} here, or merge them." in message
    assert f"{tops.split()[-1]}/ is read as" not in message
    folders = dict(pair.split("=") for pair in options.split(","))
    assert counts(open_dataset(path, split_folders=folders)) == dict.fromkeys(folders, 4)


def test_classes_may_be_read_from_an_inner_folder(write) -> None:
    dataset = open_dataset(write(grid("a/b c", "train test")), classes_from="a/b")
    assert dataset.class_names == ("test", "train")
    assert dataset.notes == ("read from its sub-folder a/b/",)
    assert command_options(dataset.options) == ["--classes-from", "a/b"]


def test_invalid_options_are_refused(write, tmp_path: Path) -> None:
    path = write(grid("a b"))
    with pytest.raises(
        DataError, match=r"--classes-from: there is no folder 'c' in the data; the top folders are a, b"
    ):
        open_dataset(path, classes_from="c")
    with pytest.raises(DataError, match=r"--split-folders: there is no folder 'a/x'"):
        open_dataset(path, split_folders={"train": "a/x"})
    with pytest.raises(ConfigError, match="'all' is an unknown split; expected train, validation or test"):
        open_dataset(path, split_folders={"all": "a"})
    with pytest.raises(ConfigError, match="'val' is given twice"):
        open_dataset(path, split_folders={"validation": "a", "val": "b"})
    with pytest.raises(ConfigError, match="the folder of test is in that of train"):
        open_dataset(path, split_folders={"train": "a", "test": "a/cat"})
    with pytest.raises(ConfigError, match="two ways to read folders; omit one"):
        open_dataset(path, classes_from=".", split_folders={"train": "a"})
    for source in ("clothing", Path(__file__).parents[2] / "cases" / "csv" / "split_words.csv"):
        with pytest.raises(DataError, match="are for folders and zips of photos; omit them here"):
            open_dataset(source, classes_from=".")


def test_notes_are_shown_with_an_error_that_follows(write) -> None:
    message = refusal(write({**grid("train"), "test/1.jpg": b"", "train/loose.jpg": b"", "train/readme.txt": b""}))
    assert "1 photo is directly in train/" in message
    assert "\nnote: left out: test/ has no class folders, so its photos have no labels" in message
    assert "\nnote: 1 other file ignored (readme.txt)" in message


def test_names_with_line_breaks_are_escaped_in_every_message(tmp_path: Path) -> None:
    for photos in (grid("valid invalid"), grid("train val valid"), {"1.jpg": b""}, {}, grid("train", "c\x1bat dog")):
        root = tmp_path / f"my\nphotos {len(photos)}{hash(str(photos))}"
        root.mkdir()
        message = refusal(write_folder(root, photos))
        assert "my\\nphotos" in message
        assert "my\nphotos" not in message
        assert "\x1b" not in message


def test_photos_next_to_folders_without_photos_are_entered(write) -> None:
    path = write({**grid("images/train images/val"), "annotations/train.json": b"", "meta/deep/a.txt": b""})
    dataset = open_dataset(path)
    assert dataset.class_names == ("cat", "dog")
    assert counts(dataset) == {"train": 4, "validation": 4}


def test_classes_in_a_folder_of_images_next_to_its_lists_are_classes(write) -> None:
    dataset = open_dataset(write({**grid("images"), "meta/classes.txt": b""}))
    assert dataset.class_names == ("cat", "dog")
    assert counts(dataset) == {"train": 4}


@pytest.mark.parametrize("folder", ["images", "photos"])
def test_an_empty_folder_of_a_split_next_to_images_is_not_passed_over(folder: str, tmp_path: Path) -> None:
    path = write_folder(tmp_path / "x", grid(folder))
    (path / "train").mkdir()
    assert open_dataset(path).class_names == (folder,)


def test_a_class_named_photos_is_not_entered_for_its_sub_folders(write) -> None:
    photos = {"photos/1.jpg": b"", "photos/cat/1.jpg": b"", "meta/list.txt": b""}
    assert open_dataset(write(photos)).class_names == ("photos",)


@pytest.mark.parametrize("extra", ["docs/figure.jpg", "samples/cat/1.jpg", "zoo/train.jpg", "extra/deep/1.jpg"])
@pytest.mark.parametrize("names", [("train", "test"), ("Training", "val_set"), ("train/train", "valid/images")])
def test_splits_in_one_of_several_folders_are_not_merged_into_a_class(
    extra: str, names: tuple[str, str], write
) -> None:
    photos = {f"data/{name}/{label}/{name[0]}.jpg": b"" for name in names for label in ("cat", "dog")}
    path = write({**photos, extra: b""})
    message = refusal(path)
    other = extra.partition("/")[0]
    train, scored = (name.partition("/")[0] for name in names)
    split = "test" if scored == "test" else "validation"
    given = {"train": f"data/{train}", split: f"data/{scored}"}
    option = ",".join(f"{name}={folder}" for name, folder in given.items())
    assert f"data/ holds splits with the same class folders, and there are folders next to it ({other})" in message
    assert f"Choose --split-folders {option} to use only these splits, or --classes-from . if " in message
    dataset = open_dataset(path, split_folders=given)
    assert counts(dataset) == {"train": 2, split: 2}
    assert open_dataset(path, classes_from=".").class_names == ("data", other)


@pytest.mark.parametrize(
    ("top", "other"), [("101_ObjectCategories", "Annotations"), ("x/data/flowers", "x/data/meta-data")]
)
def test_class_folders_next_to_a_folder_about_them_are_classes(top: str, other: str, write) -> None:
    dataset = open_dataset(write({**grid(top), f"{other}/cat/1.mat": b"", f"{other}/dog/1.mat": b""}))
    assert dataset.class_names == ("cat", "dog")
    assert counts(dataset) == {"train": 4}
    assert f"read from its sub-folder {top}/" in dataset.notes


@pytest.mark.parametrize(
    "extra",
    [
        {"dog/1.txt": b""},  # a class whose photos are missing
        {"Annotations/1.txt": b"", "dog/1.txt": b""},
        {"Annotations/1.jpg": b""},
        {"Annotations/1.txt": b"", "cat/1.jpg": b""},
    ],
)
def test_sub_folders_of_a_class_are_not_classes(extra: Photos, write) -> None:
    assert "cat" in open_dataset(write({**grid("cat", "indoor outdoor"), **extra})).class_names
