"""`check` finds every kind of trouble that was planted in sound photos, and nothing in sound ones."""

import dataclasses
import os
import re
import unicodedata
import zipfile
from pathlib import Path

import pytest
from PIL import Image
from tests.data.quality.troubled import ALSO, SOUND, TROUBLE, clothing_photo, encoded, write

import allmlp
from allmlp.data import DEFAULT_MAX_MEGAPIXELS, QualityReport, set_max_megapixels
from allmlp.data.quality.facts_cache import FactsCache
from allmlp.data.quality.photo_facts import photo_facts
from allmlp.errors import DataError
from allmlp.io.file_kinds import FileKind

DUPLICATES = Path(__file__).parents[2] / "cases" / "layouts" / "duplicates.zip"


@pytest.fixture(autouse=True)
def cache_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ALLMLP_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache"


def kinds(report: QualityReport) -> dict[str, set[str]]:
    return {finding.kind: {file for group in finding.groups for file in group} for finding in report.findings}


def zipped(path: Path, folder: Path) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for file in sorted(folder.rglob("*")):
            if file.is_file():
                archive.write(file, file.relative_to(folder).as_posix())
    return path


@pytest.mark.parametrize("kind", TROUBLE)
def test_planted_trouble_is_found_in_a_folder_and_in_a_zip_and_nothing_else_is(tmp_path: Path, kind: str) -> None:
    planted = TROUBLE[kind]()
    folder = write(tmp_path / "photos", SOUND, planted)
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    for source in (folder, zipped(tmp_path / "photos.zip", folder)):
        report = allmlp.check(source)
        found = kinds(report)
        assert set(found) == {kind} | ALSO.get(kind, set())
        named = found[kind]
        if kind == "few-photos":
            assert named == {"sock"}
        elif kind == "imbalance":
            assert named == {"hat", "shoe"}
        else:
            assert set(planted) <= named
        assert report.hurts_training == any(
            word in kind for word in ("unreadable", "lacking", "phone", "leak", "conflict")
        )
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before


def test_nothing_is_found_in_sound_photos(tmp_path: Path) -> None:
    assert kinds(allmlp.check(write(tmp_path / "photos", SOUND))) == {}


def test_nothing_is_found_in_the_embedded_photos() -> None:
    report = allmlp.check("clothing")
    assert kinds(report) == {}
    assert report.num_photos == {"train": 1000, "test": 372}


def test_an_unreadable_file_and_a_missing_one_do_not_end_the_check(tmp_path: Path) -> None:
    folder = write(tmp_path / "photos", SOUND, {"train/hat/x.jpg": b"", "train/hat/y.jpg": b"GIF89a"})
    dataset = allmlp.open_dataset(folder)
    (folder / "train/hat/0.jpg").unlink()
    report = allmlp.check(dataset)
    assert {"train/hat/x.jpg", "train/hat/y.jpg", "train/hat/0.jpg"} <= set().union(*kinds(report).values())
    assert report.hurts_training


def test_copies_in_a_zip_are_counted(tmp_path: Path) -> None:
    report = allmlp.check(DUPLICATES)
    found = {finding.kind: finding for finding in report.findings}
    assert len(found["duplicate-leak"].groups) == 9
    assert found["duplicate-conflict"].groups == (("train/apple/0.jpg", "train/leaf/copy.jpg", "test/apple/0.jpg"),)
    assert "near-duplicate" not in " ".join(found)
    values = report.to_dict()
    assert values["hurts_training"] is True
    assert values["class_sizes"]["leaf"] == {"train": 4, "test": 3}


def test_a_table_is_checked(tmp_path: Path) -> None:
    write(tmp_path, SOUND, TROUBLE["near-duplicate-leak"]())
    rows = ["path,label,split"]
    rows += [
        f"{path.relative_to(tmp_path)},{path.parent.name},{path.parent.parent.name}"
        for path in sorted(tmp_path.rglob("*"))
        if path.suffix in (".jpg", ".png")
    ]
    (tmp_path / "photos.csv").write_text("\n".join(rows))
    assert kinds(allmlp.check(tmp_path / "photos.csv")) == {
        "near-duplicate-leak": {"train/hat/0.jpg", "test/hat/x.png"}
    }


def test_a_second_check_decodes_only_what_changed(
    tmp_path: Path, cache_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write(tmp_path / "photos", SOUND)
    first = allmlp.check(folder)
    changed = folder / "train/hat/0.jpg"
    changed.write_bytes(SOUND["train/hat/1.jpg"])
    decoded = []
    from allmlp.data.quality import check as module

    original = module.photo_facts
    monkeypatch.setattr(
        module, "photo_facts", lambda content, *, name: decoded.append(name) or original(content, name=name)
    )
    second = allmlp.check(folder)
    assert decoded == [str(changed)]
    assert kinds(first) == {}
    assert kinds(second) == {"duplicate": {"train/hat/0.jpg", "train/hat/1.jpg"}}
    allmlp.check(folder, use_cache=False)
    assert len(decoded) == 1 + len(SOUND)


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: "",
        lambda text: text[: len(text) // 2],
        lambda text: "[" * 100_000,
        lambda text: text.replace('"size":[96,96]', '"size":[-1,1e9]'),
        lambda text: text.replace('"digest":"', '"digest":3,"x":"'),
        lambda text: re.sub('"digest":"[0-9a-f]*"', '"digest":"same"', text),
        lambda text: text.replace('"orientation":1', '"orientation":99'),
        lambda text: re.sub('"num_bytes":', '"num_bytes":-', text),
        lambda text: text.replace('"thumbnail":"', '"thumbnail":"AAAA'),
        lambda text: text.replace('"kind":"JPEG"', '"kind":"VIRUS"'),
        lambda text: text.replace('{"stamp"', '["stamp"').replace("}]", "]]"),
    ],
)
def test_a_damaged_cache_changes_nothing(tmp_path: Path, cache_folder: Path, damage) -> None:
    folder = write(tmp_path / "photos", SOUND, TROUBLE["duplicate"]())
    expected = allmlp.check(folder).to_dict()
    (file,) = (cache_folder / "photo-facts").iterdir()
    file.write_text(damage(file.read_text()))
    assert allmlp.check(folder).to_dict() == expected


def test_a_cache_that_cannot_be_written_is_no_problem(tmp_path: Path, cache_folder: Path) -> None:
    cache_folder.write_text("a file is here")
    assert kinds(allmlp.check(write(tmp_path / "photos", SOUND))) == {}


def test_the_cache_remembers_no_unreadable_photo(tmp_path: Path, cache_folder: Path) -> None:
    folder = write(tmp_path / "photos", SOUND, TROUBLE["unreadable"]())
    allmlp.check(folder)
    cache = FactsCache(str(folder.absolute()))
    assert len(cache._entries) == len(SOUND)


def test_photos_over_the_limit_are_found_although_a_check_with_a_higher_limit_remembered_them(tmp_path: Path) -> None:
    wide = encoded(clothing_photo(950).resize((1_100, 1_000)))
    folder = write(tmp_path / "photos", SOUND, {"train/hat/wide.jpg": wide})
    assert kinds(allmlp.check(folder)) == {}
    try:
        allmlp.data.set_max_megapixels(1)
        assert kinds(allmlp.check(folder)) == {"unreadable": {"train/hat/wide.jpg"}}
    finally:
        allmlp.data.set_max_megapixels(allmlp.data.DEFAULT_MAX_MEGAPIXELS)
    assert kinds(allmlp.check(folder)) == {}


@pytest.mark.parametrize("has_heic", [True, False])
def test_a_heic_photo_is_remembered_only_while_it_can_be_read(
    tmp_path: Path, has_heic: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = encoded(clothing_photo(950))
    facts = dataclasses.replace(photo_facts(content), kind=FileKind.HEIC)
    cache = FactsCache(str(tmp_path))
    cache.put("a.heic", "stamp", facts)
    cache.save()
    monkeypatch.setattr("allmlp.data.decoding.more_formats.has_heic", lambda: has_heic)
    assert (FactsCache(str(tmp_path)).get("a.heic", "stamp") is not None) == has_heic


def test_one_class_alone_is_an_error_since_training_refuses_it(tmp_path: Path) -> None:
    photos = {path: content for path, content in SOUND.items() if "/hat/" in path}
    folder = write(tmp_path / "photos", photos, {"labels.csv": b"path,label\n"})
    report = allmlp.check(folder)
    assert kinds(report) == {"one-class": {"hat"}, "stray": {"labels.csv"}}
    assert report.hurts_training


@pytest.mark.skipif(os.name != "posix", reason="links of POSIX")
def test_links_that_are_not_followed_have_their_reason(tmp_path: Path) -> None:
    folder = write(tmp_path / "photos", SOUND)
    for name, target in (("train/cap", "hat"), ("train/hat/gone.jpg", "nowhere"), ("train/hat/up", "../..")):
        (folder / name).symlink_to(target)
    (finding,) = allmlp.check(folder).findings
    details = {group[0]: detail for group, detail in zip(finding.groups, finding.details, strict=True)}
    assert details["train/cap"] == "a link to hat/ next to it"
    assert details["train/hat/gone.jpg"] == "a broken link"
    assert "already read" in details["train/hat/up"]


@pytest.mark.parametrize(
    ("prefix", "stand_in", "separator"),
    [("./", "hat", "/"), ("", "h@@t", "/"), ("", "hat", "\\"), ("top//", "hat", "/")],
)
def test_members_of_a_zip_are_named_as_they_are_read(
    tmp_path: Path, prefix: str, stand_in: str, separator: str
) -> None:
    """Other spellings of paths, folders of their own, and UTF-8 without its flag are the same to `check` and to training."""
    members = {name.replace("hat", stand_in): content for name, content in SOUND.items()}
    members |= {f"train/{stand_in}/notes.txt": b"mine", f"train/{stand_in}/x.photo": encoded(clothing_photo(990))}
    path = tmp_path / "photos.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for folder in sorted({name.rpartition("/")[0] for name in members}):
            archive.writestr(f"{prefix}{folder}/".replace("/", separator), b"")
        for name, content in members.items():
            archive.writestr(f"{prefix}{name}".replace("/", separator), content)
    path.write_bytes(path.read_bytes().replace(b"h@@t", "hüt".encode()))
    label, top = stand_in.replace("@@", "ü"), prefix.strip("./") and "top/"
    expected = {"stray": {f"{top}train/{label}/notes.txt"}, "left-out": {f"{top}train/{label}/x.photo"}}
    assert kinds(allmlp.check(path)) == expected


def test_an_unread_photo_with_another_extension_has_one_finding(tmp_path: Path) -> None:
    heic = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(200)
    planted = {"train/hat/IMG_1.jpg": heic, "train/hat/IMG_2.HEIC": heic + b"\0"}
    (finding,) = allmlp.check(write(tmp_path / "photos", SOUND, planted)).findings
    assert (finding.kind, finding.severity) == ("phone-format", "error")
    assert {file for group in finding.groups for file in group} == set(planted)
    assert finding.advice == "pip install 'allmlp[heic]' to read them, or convert them to JPEG"


def test_similar_names_are_not_said_to_be_the_same_photo(tmp_path: Path) -> None:
    composed, decomposed = (f"train/hat/{unicodedata.normalize(form, 'é')}.jpg" for form in ("NFC", "NFD"))
    planted = {name: encoded(clothing_photo(n)) for name, n in ((composed, 950), (decomposed, 960))}
    (finding,) = allmlp.check(write(tmp_path / "photos", SOUND, planted)).findings
    assert dict(finding.suggestions()) == {
        name: f"rename them; spelled {decomposed[10:]!a} and {composed[10:]!a}; similar: {other}"
        for name, other in ((composed, decomposed), (decomposed, composed))
    }


def test_what_cannot_be_opened_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such file"):
        allmlp.check(tmp_path / "missing")


def test_empty_class_folders_are_found_when_the_data_set_opens(tmp_path: Path) -> None:
    folder = write(tmp_path / "photos", SOUND)
    dataset = allmlp.open_dataset(folder)
    (folder / "train/sock/deep").mkdir(parents=True)
    assert kinds(allmlp.check(dataset)) == {"empty-class": {"train/sock/"}}


def test_grey_photos_are_sound_if_all_are_grey(tmp_path: Path) -> None:
    photos = [encoded(clothing_photo(90 * number).convert("L")) for number in range(10)]
    grey = {f"{'ab'[number % 2]}/{number}.jpg": content for number, content in enumerate(photos)}
    assert kinds(allmlp.check(write(tmp_path / "photos", grey))) == {}


def test_what_is_remembered_of_a_photo_beyond_the_limit_of_today_does_not_count(tmp_path: Path) -> None:
    folder = write(tmp_path / "photos", {**SOUND, "train/hat/large.png": encoded(Image.new("L", (1500, 1000)))})
    try:
        assert "unreadable" not in kinds(allmlp.check(folder))
        set_max_megapixels(1)
        assert kinds(allmlp.check(folder))["unreadable"] == {"train/hat/large.png"}
    finally:
        set_max_megapixels(DEFAULT_MAX_MEGAPIXELS)


def test_a_report_has_a_short_repr(tmp_path: Path) -> None:
    sound = allmlp.check(write(tmp_path / "sound", SOUND))
    num_photos = sum(sound.num_photos.values())
    assert repr(sound) == f"QualityReport({tmp_path / 'sound'}: {num_photos} photos; nothing found)"
    troubled = allmlp.check(DUPLICATES)
    assert re.fullmatch(r"QualityReport\(\S+duplicates\.zip: \d+ photos; \d+ errors?, .*\)", repr(troubled))
    assert len(repr(troubled)) < 200
