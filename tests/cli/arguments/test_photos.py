"""Photo arguments: what fails of a pattern leaves the rest."""

from pathlib import Path

from allmlp.cli.arguments.photos import find_photos


def test_a_match_of_a_pattern_that_has_no_photos_leaves_the_others(tmp_path, monkeypatch, write_photo, capsys):
    monkeypatch.chdir(tmp_path)
    write_photo(Path("data/b.png"))
    Path("data/a").mkdir()
    assert find_photos(["data/*"]) == ([("data/b.png", "data/b.png")], 1)
    assert capsys.readouterr().err == "allmlp: data/a: no photos in this folder.\n"
