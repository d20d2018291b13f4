"""Which photos a source stands for, and the list that a plan keeps of them."""

import csv
import errno
import io
import os
import shutil
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tests.bulk.conftest import png
from tests.data.photo_sources import FLAT, write_folder, write_tar, write_zip

from allmlp.bulk import photo_list
from allmlp.bulk.list_file import check_list, read_part_of_list
from allmlp.bulk.photo_list import Group, PhotoList, find_listed, state_of
from allmlp.bulk.photo_source import PhotoSource
from allmlp.data import ShortageError, open_dataset, write_shards
from allmlp.errors import ConfigError, DataError
from allmlp.io.display import discard

MEMBERS = [("dress/0.png", png(0)), ("dress/0.cls", b"1"), ("dress/._0.png", b"x"), ("1.png", png(1))]


def listed(*sources):
    return list(find_listed([str(source) for source in sources], report=discard).names)


def contents_of(results) -> dict[str, bytes]:
    """Return what is read of every photo of a plan, by name."""
    source = PhotoSource(results.plan)
    rows = [row for part in range(results.plan.num_parts) for row in read_part_of_list(results.photo_list, part)]
    return {photo.name: photo.read_bytes() for photo in source.photos(rows)}


def test_folders_patterns_and_files_in_the_order_given(photos):
    inside = [f"photos/sub/{number:02d}.png" for number in range(11)]
    assert listed(photos) == ["photos/bad.jpg", *inside]
    assert listed("photos/sub/0[12].png", "photos/bad.jpg") == [*inside[1:3], "photos/bad.jpg"]
    assert listed("photos/**/*.png") == inside


def test_the_folders_of_single_photos_have_to_be_there_and_of_very_many_what_holds_them(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for number in range(150):
        Path(f"p/{number:03}").mkdir(parents=True)
        Path(f"p/{number:03}/0.png").touch()
    assert find_listed(["p/00?/0.png"], report=discard).roots == [str(tmp_path / f"p/{n:03}") for n in range(10)]
    assert find_listed(["p/*/0.png"], report=discard).roots == [str(tmp_path / "p")]


@pytest.fixture
def other_disk(tmp_path: Path) -> Iterator[Path]:
    """A folder on another disk than `tmp_path`, which is removed at the end."""
    memory = Path("/dev/shm")
    if not os.access(memory, os.W_OK) or memory.stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("needs /dev/shm as a second disk")
    with tempfile.TemporaryDirectory(dir=memory, ignore_cleanup_errors=True) as folder:
        yield Path(folder)


def test_a_detached_disk_is_noticed_if_a_list_has_photos_on_two(tmp_path, other_disk, monkeypatch, begin):
    monkeypatch.chdir(tmp_path)
    for number, folder in enumerate((tmp_path / "a", tmp_path / "b", other_disk / "c" / "d", other_disk / "c" / "e")):
        folder.mkdir(parents=True)
        (folder / "0.png").write_bytes(png(number))
    lines = [f"{folder}/0.png" for folder in ("a", other_disk / "c/d", "b", other_disk / "c/e", "gone")]
    Path("list.csv").write_text("\n".join(["path", *lines]))
    results = begin(Path("out"), "list.csv")
    assert results.plan.roots == (str(tmp_path / "list.csv"), *sorted([str(tmp_path), str(other_disk / "c")]))
    source = PhotoSource(results.plan)
    source.check()
    shutil.rmtree(other_disk / "c")
    with pytest.raises(DataError, match=rf"{other_disk}/c: the photos of the plan are not there"):
        source.check()


def test_an_old_line_of_a_list_does_not_stop_the_photos_that_are_there(other_disk, begin):
    (other_disk / "c").mkdir()
    (other_disk / "c" / "0.png").write_bytes(png(0))
    (other_disk / "list.csv").write_text(f"path\n{other_disk}/c/0.png\n/gone/for/long/1.png\n")
    results = begin(other_disk / "out", str(other_disk / "list.csv"))
    assert results.plan.roots == tuple(sorted([str(other_disk / "list.csv"), str(other_disk / "c")], reverse=True))
    PhotoSource(results.plan).check()


def test_a_zip_without_classes_is_read_in_place(photos, begin):
    Path("photos/bad.jpg").unlink()
    shutil.make_archive("packed", "zip", "photos")
    found = contents_of(begin(Path("out"), "packed.zip", "photos/sub/03.png"))
    assert found == {f"packed.zip: sub/{n:02d}.png": png(n) for n in range(11)} | {"photos/sub/03.png": png(3)}


@pytest.mark.parametrize("labels", [False, True])
def test_parquet_with_and_without_labels(labels, tmp_path, monkeypatch, begin):
    monkeypatch.chdir(tmp_path)
    images = [{"bytes": png(n), "path": None if n == 2 else f"{n}.png"} for n in range(7)]
    columns = {"image": images} | ({"label": list(range(7))} if labels else {})
    Path("table").mkdir()
    pq.write_table(pa.table(columns), "table/any.parquet", row_group_size=3)
    for source in ("table/any.parquet", "table"):  # a folder of nothing else stands for its Parquet files
        found = contents_of(begin(Path(f"out-{source.replace('/', '-')}"), source))
        assert list(found.values()) == [png(n) for n in range(7)]
        assert list(found)[1:3] == ["table/any.parquet: row 1 (1.png)", "table/any.parquet: row 2"]


def test_a_csv_list_needs_only_paths(photos, begin):
    with Path("photos/list.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["path", "camera"], ["sub/05.png", "x"], ["sub/gone.png", ""]])
    results = begin(Path("out"), "photos/list.csv")
    rows = read_part_of_list(results.photo_list, 0)
    assert [row.name for row in rows] == ["photos/sub/05.png", "photos/sub/gone.png"]
    assert [row.size >= 0 for row in rows] == [True, False]


@pytest.mark.parametrize(
    ("text", "words"), [("file,label\na,b", "missing column: path"), ("path\n", "no rows"), ('path\n"', "CSV")]
)
def test_a_csv_without_paths_is_refused(text, words, tmp_path):
    (tmp_path / "list.csv").write_text(text)
    with pytest.raises(DataError, match=words):
        listed(tmp_path / "list.csv")


def test_names_that_are_not_text_are_kept(tmp_path, monkeypatch, begin):
    monkeypatch.chdir(tmp_path)
    names = [b"p/\xff.png", "p/\u202e日本é.png".encode(), b"p/new\nline.png"]
    Path("p").mkdir()
    for number, name in enumerate(names):
        Path(os.fsdecode(name)).write_bytes(png(number))
    found = contents_of(begin(Path("out"), "p"))
    assert {os.fsencode(name): content for name, content in found.items()} == {
        name: png(number) for number, name in enumerate(names)
    }


def test_the_list_has_one_row_group_per_part_and_is_checked(photos, begin):
    results = begin(Path("out"), photos)
    file = pq.ParquetFile(results.photo_list)
    assert [file.metadata.row_group(part).num_rows for part in range(file.num_row_groups)] == [5, 5, 2]
    check_list(results.photo_list, results.plan.list_sha256)
    with pytest.raises(ConfigError, match="not the list"):
        check_list(results.photo_list, "0" * 64)


def test_writing_a_list_takes_memory_for_one_part(tmp_path):
    """Beyond their names, which are there already, only a few parts are in memory at once."""
    import tracemalloc

    found = PhotoList([f"{n:07d}" for n in range(60_000)], [Group(60_000, str(tmp_path), (1, 2))], [])
    tracemalloc.start()
    with io.FileIO(tmp_path / "list", "w") as file:
        found.write(file, part_size=2048)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4e6
    assert len(read_part_of_list(tmp_path / "list", 29)) == 60_000 - 29 * 2048


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_tar_shards_of_a_folder_and_alone(form, tmp_path, monkeypatch, begin):
    """A shard without photos stands between two others; the parts go across shards."""
    monkeypatch.chdir(tmp_path)
    for number, members in enumerate((MEMBERS, [("notes.txt", b"")], MEMBERS)):
        write_tar(Path(f"shards/{number:05}.tar"), members, form=form)
    names = [f"shards/0000{shard}.tar/{name}" for shard in (0, 2) for name in ("dress/0.png", "1.png")]
    results = begin(Path("out"), "shards", part_size=3)
    assert contents_of(results) == dict(zip(names, [png(0), png(1)] * 2, strict=True))
    assert [row.container for row in read_part_of_list(results.photo_list, 0)] == [name[:16] for name in names[:3]]
    assert list(contents_of(begin(Path("alone"), "shards/00002.tar"))) == names[2:]
    assert listed("shards/*[02].tar") == names


@pytest.mark.parametrize(
    ("damage", "words"),
    [(lambda content: b"", "it is not a tar file"), (lambda content: content[:1400], "it is cut short")],
)
def test_a_damaged_shard_is_never_left_out(damage, words, tmp_path):
    shards = [write_tar(tmp_path / "shards" / f"{number:05}.tar", MEMBERS) for number in range(3)]
    shards[1].write_bytes(damage(shards[1].read_bytes()))
    with pytest.raises(DataError, match=rf"00001\.tar: {words}"):
        listed(tmp_path / "shards")


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Shards with their list."""
    monkeypatch.chdir(tmp_path)
    photos = {path: png(number) for number, path in enumerate(FLAT)}
    write_shards(open_dataset(write_folder(tmp_path / "photos", photos)), tmp_path / "own", shard_bytes=20_000)
    return sorted(Path("own").glob("*.tar"))


def test_a_missing_shard_or_one_of_another_size_is_named_when_the_list_is_made(own):
    content = own[1].read_bytes()
    own[1].unlink()
    with pytest.raises(DataError, match=r"own: shards are missing: train-000001\.tar"):
        listed("own")
    own[1].write_bytes(content + bytes(512))
    for source in ("own", own[1]):
        with pytest.raises(DataError, match=r"train-000001\.tar: it has .* according to shards\.json"):
            listed(source)


@pytest.mark.parametrize("source", ["own", "own/*.tar"])
def test_a_shard_that_is_not_the_one_of_the_list_leaves_no_part_of_its_photos(source, own, begin, compute):
    content = own[1].read_bytes()
    own[1].write_bytes(content[:1000] + bytes([content[1000] ^ 1]) + content[1001:])
    results = begin(Path("out"), source, part_size=1)
    first = sum(str(own[0]) in row for row in listed(source))
    with pytest.raises(DataError, match=r"own/train-000001\.tar: its SHA-256 is not the one in shards\.json"):
        compute(results)
    assert len(list(Path("out").glob("part-*"))) == first


def test_a_member_that_occurs_twice_is_named_with_its_shard(tmp_path):
    write_tar(tmp_path / "shards" / "00000.tar", [*MEMBERS, MEMBERS[0]])
    with pytest.raises(DataError, match=r"00000\.tar: members that occur twice \(1\): dress/0\.png"):
        listed(tmp_path / "shards")


def test_shards_without_photos_are_refused(tmp_path):
    write_tar(tmp_path / "shards" / "00000.tar", [("notes.txt", b"")])
    with pytest.raises(DataError, match="no photos in these tar files"):
        listed(tmp_path / "shards")


@pytest.mark.parametrize("kind", ["shards", "parquet", "photos"])
def test_results_inside_of_the_source_are_no_photos(kind, tmp_path, monkeypatch, begin, compute):
    monkeypatch.chdir(tmp_path)
    if kind == "shards":
        write_tar(Path("source/00000.tar"), MEMBERS)
    elif kind == "parquet":
        Path("source").mkdir()
        pq.write_table(pa.table({"image": [{"bytes": png(n), "path": None} for n in range(2)]}), "source/a.parquet")
    else:
        Path("source").mkdir()
        Path("source/0.png").write_bytes(png(0))
    before = listed("source")
    compute(begin(Path("source/results"), "source"))
    assert listed("source") == before
    with pytest.raises(DataError, match="source/results: no photos in this folder"):
        listed("source/results")


def replace_by_newer(path: Path, content: bytes) -> None:
    """Put another file in the place of this one, with another time of change."""
    before = path.stat().st_mtime_ns
    path.write_bytes(content)
    os.utime(path, ns=(before + 10**9, before + 10**9))


def parquet_of(path: Path, numbers) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    images = [{"bytes": png(number), "path": f"{number}.png"} for number in numbers]
    pq.write_table(pa.table({"image": images}), path)
    return path


WRITERS = {
    "file.zip": lambda path, numbers: write_zip(path, {f"{number}.png": png(number) for number in numbers}),
    "file.tar": lambda path, numbers: write_tar(path, [(f"{number}.png", png(number)) for number in numbers]),
    "shards/0.tar": lambda path, numbers: write_tar(path, [(f"{number}.png", png(number)) for number in numbers]),
    "file.parquet": parquet_of,
    "table/0.parquet": parquet_of,
}


@pytest.mark.parametrize("name", WRITERS)
def test_a_file_that_is_replaced_while_it_is_listed_is_not_taken_for_what_was_listed(
    name, tmp_path, monkeypatch, begin
):
    monkeypatch.chdir(tmp_path)
    path, write = Path(name), WRITERS[name]
    Path("other").mkdir()
    content = write(Path("other", path.name), (2, 1)).read_bytes()
    write(path, (0, 1))
    monkeypatch.setattr(photo_list, "open_numbered_photos", then(photo_list.open_numbered_photos, path, content))
    monkeypatch.setattr(photo_list, "stored_photos", then(photo_list.stored_photos, path, content))
    results = begin(Path("out"), path if path.parent == Path() else path.parent)
    assert "0.png" in read_part_of_list(results.photo_list, 0)[0].name
    with pytest.raises(DataError, match=rf"{name}: this file is missing or has changed since the plan was made"):
        contents_of(results)


def then(function, path: Path, content: bytes):
    """Return a function that does the same, and then replaces a file, once."""

    def changed(*arguments, **options):
        found = function(*arguments, **options)
        if path.read_bytes() != content:
            replace_by_newer(path, content)
        return found

    return changed


@pytest.mark.parametrize("renamed", ["2.png", "1.txt"])  # another photo, and one less
def test_a_file_with_other_names_and_the_size_and_time_of_the_plan_is_refused(renamed, tmp_path, monkeypatch, begin):
    monkeypatch.chdir(tmp_path)
    for name, write in (("a.zip", write_zip), ("a.tar", lambda path, photos: write_tar(path, photos.items()))):
        path = write(Path(name), {"0.png": png(0), "1.png": png(1)})
        status = path.stat()
        results = begin(Path(f"out-{name}"), path)
        write(path, {"0.png": png(0), renamed: png(1)})
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
        assert path.stat().st_size == status.st_size
        with pytest.raises(DataError, match=rf"{name}: this file is missing or has changed since the plan was made"):
            contents_of(results)


def test_what_one_member_of_a_zip_is_does_not_refuse_the_others(tmp_path, monkeypatch, begin, compute):
    monkeypatch.chdir(tmp_path)
    path = write_zip(Path("a.zip"), {"0.png": png(0), "1.png": png(1)})
    content = bytearray(path.read_bytes())
    content[content.index(b"PK\x01\x02") + 8] |= 1  # encrypted
    path.write_bytes(content)
    results = compute(begin(Path("out"), path))
    assert [state.num_errors for state in results.states()] == [1]
    errors = pq.read_table("out/part-00000.parquet")["error"].to_pylist()
    assert errors[1] is None
    assert "a.zip: 0.png: this photo cannot be read from the zip: encrypted; unpack the zip with" in errors[0]


@pytest.mark.parametrize("number", [errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.EACCES, errno.ENAMETOOLONG])
def test_a_file_is_missing_if_the_disk_says_so(number, monkeypatch):
    assert state_of("a\0b") == (-1, -1)
    failing(monkeypatch, number)
    assert state_of("a") == (-1, -1)


@pytest.mark.parametrize("number", [errno.EIO, errno.ESTALE, errno.ENOTCONN, errno.EHOSTDOWN, errno.EPERM])
def test_a_file_is_not_missing_if_nothing_is_known_about_it(number, photos, begin, monkeypatch):
    with monkeypatch.context() as patch:
        failing(patch, number)
        with pytest.raises(ShortageError, match=r"photos/sub/03\.png: "):
            state_of("photos/sub/03.png")
        with pytest.raises(ShortageError, match=r"photos/sub/03\.png: "):
            begin(Path("out"), photos)
    assert begin(Path("out"), photos).plan.num_photos == 12


def failing(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    """Let the file system fail to look at "a" and "03.png"."""
    stat = os.stat

    def fail(path, *arguments, **options):
        if str(path) == "a" or str(path).endswith("03.png"):
            raise OSError(number, os.strerror(number), path)
        return stat(path, *arguments, **options)

    monkeypatch.setattr(os, "stat", fail)
