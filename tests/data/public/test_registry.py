"""Names of public data sets, and what a user hears who has none of it."""

import re
from pathlib import Path

import pytest
from tests.data.stand_ins import WRITERS

from allmlp.data import DATASETS, open_dataset
from allmlp.errors import DataError

PUBLIC = tuple(name for name, named in DATASETS.items() if named.folder)


def test_every_public_data_set_has_a_stand_in() -> None:
    assert set(WRITERS) == set(PUBLIC)


@pytest.mark.parametrize("name", PUBLIC)
def test_what_is_not_here_is_said_with_the_folder_the_command_and_the_terms(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ALLMLP_DATA", str(tmp_path))
    with pytest.raises(DataError) as caught:
        open_dataset(name)
    text = str(caught.value)
    assert f"there is no folder {tmp_path / DATASETS[name].folder}." in text
    assert f"Terms: {DATASETS[name].terms}." in text
    if name == "imagenet":
        assert "register at image-net.org" in text and "--download" not in text
    else:
        assert f"allmlp data {name} --download" in text


def test_the_folder_of_data_sets_is_among_the_downloads_by_default(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("ALLMLP_DATA", raising=False)
    monkeypatch.setenv("ALLMLP_HOME", str(tmp_path))
    with pytest.raises(DataError, match=re.escape(str(tmp_path / "datasets" / "flowers-102"))):
        open_dataset("flowers102")


def test_a_folder_of_ones_own_with_that_name_is_pointed_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ALLMLP_DATA", str(tmp_path / "elsewhere"))
    (tmp_path / "pets").mkdir()
    with pytest.raises(DataError, match=r"To open the local folder of that name, use \./pets"):
        open_dataset("pets")


@pytest.mark.parametrize(
    ("source", "words"), [("pets:", "there is no folder after the colon"), ("clothing:x", "comes with allmlp")]
)
def test_an_impossible_folder_is_refused(source: str, words: str) -> None:
    with pytest.raises(DataError, match=words):
        open_dataset(source)
