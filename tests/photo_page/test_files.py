"""What pages share: every file is listed, and none sets markup or names a host."""

import re
from pathlib import Path

import pytest

import allmlp.photo_page
from allmlp.photo_page import PAGE_FILES, page_file

FOLDER = Path(allmlp.photo_page.__file__).parent


def test_every_file_of_the_folder_is_listed_with_its_type() -> None:
    assert set(PAGE_FILES) == {file.name for file in FOLDER.iterdir() if file.is_file() and file.suffix != ".py"}
    assert all(page_file(name) == (FOLDER / name).read_bytes() for name in PAGE_FILES)


@pytest.mark.parametrize("name", PAGE_FILES)
def test_names_are_set_as_text_and_nothing_comes_from_elsewhere(name: str) -> None:
    text = page_file(name).decode().replace("http://www.w3.org/2000/svg", "")
    assert not re.search(r"innerHTML|outerHTML|insertAdjacent|document\.write|\beval\(|https?:|@import|<script", text)
