"""Folders of tar shards: samples, classes, splits, the index, and every fault named with its file."""

import gzip
import json
import os
import pickle
import tarfile
from collections.abc import Iterable
from pathlib import Path

import pytest
from tests.data.photo_sources import SPLIT, contents, refusal, write_folder, write_tar, write_zip

from allmlp.data import DATASETS, ImageDataset, open_dataset, write_shards
from allmlp.errors import DataError

INDEX = ".allmlp-index.arrow"
Members = list[tuple[str, bytes]]


def sample(key: object, label: object = 0, extension: str = "jpg") -> Members:
    return [(f"{key}.{extension}", f"photo {key}".encode()), (f"{key}.cls", str(label).encode())]


def samples(prefix: object = "", count: int = 4) -> Members:
    return [member for number in range(count) for member in sample(f"{prefix}{number:04}", number % 2)]


def shard(tmp_path: Path, members: Iterable[tuple[str, bytes] | tarfile.TarInfo], **options: int) -> Path:
    write_tar(tmp_path / "shards" / "train-000000.tar", members, **options)
    return tmp_path / "shards"


def ids_of(source: Path) -> list[str]:
    return [sample_id for split in open_dataset(source).splits.values() for sample_id in split.sample_ids]


@pytest.fixture(autouse=True)
def cache_folder(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("ALLMLP_HOME", str(folder))
    return folder


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """Shards made by `write_shards`."""
    write_shards(open_dataset(write_folder(tmp_path / "photos", SPLIT)), tmp_path / "own", shard_bytes=30_000)
    return tmp_path / "own"


def test_our_shards_are_the_photos_they_were_made_of(own: Path, tmp_path: Path) -> None:
    expected = contents(open_dataset(tmp_path / "photos"))
    for _ in range(2):  # scanned, and by the index
        assert contents(open_dataset(own)) == expected
    assert len(list(own.glob("*.tar"))) > 3
    single = open_dataset(own / "train-000001.tar")
    assert set(single.splits["train"].sample_ids) < {sample_id for sample_id, *_ in expected["train"]}


def test_messages_name_the_photo_that_was_packed(own: Path) -> None:
    split = open_dataset(own).splits["test"]
    index = split.sample_ids.index("dress/long/0.jpg")
    assert split.where(index).startswith(f"{own / 'test-000000.tar'}: 0000000")
    assert split.where(index).endswith(".jpg (dress/long/0.jpg)")


def test_every_kind_of_source_can_be_packed(tmp_path: Path) -> None:
    sources: list[str | Path] = ["clothing", write_zip(tmp_path / "photos.zip", SPLIT)]
    for number, source in enumerate(sources):
        assert source in DATASETS or isinstance(source, Path)
        dataset = open_dataset(source)
        write_shards(dataset, tmp_path / str(number))
        assert contents(open_dataset(tmp_path / str(number))) == contents(dataset)


def test_ids_with_digests_and_odd_names_are_kept(tmp_path: Path) -> None:
    names = [
        "train/blank /1.jpg",
        "train/10/1.jpg",
        "train/9/1.jpg",
        "train/ü.ö/1.2.jpg",
        "train/ü.ö/a/b/1.2.JPG",
        "train/[red]/test/x.jpg",
        "train/[red]/ # .jpg",
    ]
    photos = {name: name.encode() for name in names}
    dataset = open_dataset(write_folder(tmp_path / "photos", photos))
    write_shards(dataset, tmp_path / "shards")
    assert contents(open_dataset(tmp_path / "shards")) == contents(dataset)


def test_plain_shards_of_others(tmp_path: Path) -> None:
    write_tar(tmp_path / "plain" / "imagenet-train-0000.tar", [*sample("n/0", 1), *sample("n/1", 0)])
    write_tar(tmp_path / "plain" / "imagenet-validation-0000.tar", sample("v/0", 0))
    dataset = open_dataset(tmp_path / "plain")
    assert dataset.class_names == ("0", "1")
    assert any("the classes are named after their numbers" in line for line in dataset.notes)
    (tmp_path / "plain" / "classes.txt").write_text("tench\nshark\nray\n", encoding="utf-8")
    dataset = open_dataset(tmp_path / "plain")  # the index is of another set of files
    assert contents(dataset) == {
        "train": [("shark/n/0.jpg", "shark", b"photo n/0"), ("tench/n/1.jpg", "tench", b"photo n/1")],
        "validation": [("tench/v/0.jpg", "tench", b"photo v/0")],
    }
    assert dataset.class_names == ("ray", "shark", "tench")
    assert "classes without photos: ray" in dataset.notes


@pytest.mark.parametrize(
    ("members", "expected"),
    [
        ([("a.jpg", b"0"), ("a.json", b'{"label": "dog"}')], ["dog/a.jpg"]),
        ([("a.jpg", b"0"), ("a.json", b'{"class_name": "dog", "label": 5}')], ["dog/a.jpg"]),
        ([("a.jpg", b"0"), ("a.json", b"no JSON"), ("a.cls", b"dog\n")], ["dog/a.jpg"]),
        ([("a.json", b"[]"), ("a.cls", b"dog"), ("a.jpg", b"0")], ["dog/a.jpg"]),
        ([("A/IMG.JPG", b"0"), ("A/IMG.CLS", b"dog")], ["dog/IMG.JPG"]),
        ([("./a.image.png", b"0"), ("./a.cls", b"dog"), ("./a.mask.npy", b"0")], ["dog/a.image.png"]),
        ([("a.jpg", b"0"), ("a.seg.png", b"0"), ("a.cls", b"dog")], ["dog/a.jpg"]),
        ([("._a.jpg", b"0"), ("README", b"0"), ("a.jpg", b"0"), ("a.cls", b"dog"), ("b.txt", b"0")], ["dog/a.jpg"]),
        (
            [("x/ü/a.jpg", b"0"), ("x/ü/a.cls", b"dog"), ("x/b.jpg", b"1"), ("x/b.cls", b"dog")],
            ["dog/b.jpg", "dog/ü/a.jpg"],
        ),
        ([("BM.jpg", b"0"), ("BM.cls", b"dog")], ["dog/BM.jpg"]),  # a tar that starts as a BMP does
    ],
)
def test_samples_by_key(members: Members, expected: list[str], tmp_path: Path) -> None:
    folder = shard(tmp_path, members)
    assert ids_of(folder) == expected
    assert ids_of(folder / "train-000000.tar") == expected


def test_equal_keys_in_two_shards_are_two_photos(tmp_path: Path) -> None:
    for number in range(2):
        write_tar(tmp_path / "s" / f"{number:05}.tar", [("0.jpg", b"%d" % number), ("0.cls", b"dog")])
    ids = ids_of(tmp_path / "s")
    assert len(set(ids)) == 2
    assert all(sample_id.startswith("dog/0.jpg#") for sample_id in ids)
    write_tar(tmp_path / "t" / "00000.tar", [("0.jpg", b"1"), ("0.cls", b"dog")])  # the other way round
    write_tar(tmp_path / "t" / "00001.tar", [("0.jpg", b"0"), ("0.cls", b"dog")])
    assert ids_of(tmp_path / "t") == ids


def test_splits_by_name_and_by_folder(tmp_path: Path) -> None:
    for name in ("train/00000.tar", "val/00000.tar", "test/00000.tar"):
        write_tar(tmp_path / "shards" / name, samples(name[:2]))
    assert {name: len(split) for name, split in open_dataset(tmp_path / "shards").splits.items()} == {
        "train": 4,
        "validation": 4,
        "test": 4,
    }
    write_tar(tmp_path / "shards" / "more.tar", samples("m"))
    assert "more.tar: not named after a split, as other shards are" in refusal(tmp_path / "shards")


def test_a_test_split_without_labels_is_left_out(tmp_path: Path) -> None:
    write_tar(tmp_path / "s" / "train-0000.tar", samples())
    write_tar(tmp_path / "s" / "test-0000.tar", samples()[::2])
    for _ in range(2):
        dataset = open_dataset(tmp_path / "s")
        assert list(dataset.splits) == ["train"]
        assert dataset.left_out == {"test": "its photos have no labels"}


def link(kind: bytes) -> tarfile.TarInfo:
    info = tarfile.TarInfo("link.jpg")
    info.type, info.linkname = kind, "/etc/passwd"
    return info


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        (
            sample("0001"),
            "train-000000.tar: keys that occur twice (1): 0001; members of one sample have to follow each other",
        ),
        ([("0003.cls", b"1")], "train-000000.tar: members that occur twice (1): 0003.cls; keep one"),
        ([("0003.png", b"1")], "train-000000.tar: several photos with one key (1): 0003.jpg, 0003.png; keep one"),
        ([("z.jpg", b"1")], "train-000000.tar: photos without a class (1): z.jpg; add a .cls or .json"),
        ([("z.cls", b"1")], "train-000000.tar: labels without a photo (1): z; add the photos"),
        (sample("z", -1), "train-000000.tar: class numbers that are not in 0..1 (1): z.jpg (-1)"),
        (sample("z", 10**8), "class numbers that are not in 0..99999"),
        (sample("z", "9" * 5000), "has 5,000 characters"),
        ([("z.jpg", b"1"), ("z.json", b"{{")], "train-000000.tar: samples with a .json that is not JSON (1): z;"),
        ([("z.jpg", b"1"), ("z.json", b"[" * 10**5)], "samples with a .json that is not JSON"),
        ([("z.jpg", b"1"), ("z.cls", b"\xff\xfe\0")], "samples with a .cls that is not text"),
        ([("z.jpg", b"1"), ("z.cls", b"1" * 2**21)], "labels larger than 1,048,576 bytes (1): z.cls"),
        (
            [("/etc/z.jpg", b"1")],
            "train-000000.tar: members with a path outside of the shard (1): /etc/z.jpg; do not trust",
        ),
        ([("a/../../z.jpg", b"1")], "members with a path outside of the shard (1): a/../../z.jpg"),
        ([link(tarfile.SYMTYPE)], "members with a link instead of a file (1): link.jpg; pack the shard again"),
        ([link(tarfile.LNKTYPE)], "members with a link instead of a file (1): link.jpg"),
        ([link(tarfile.FIFOTYPE)], "members with a device or pipe instead of a file (1): link.jpg"),
        ([link(tarfile.GNUTYPE_SPARSE)], "members with sparse data (1): link.jpg"),
    ],
)
def test_samples_that_are_refused(
    extra: list[tuple[str, bytes] | tarfile.TarInfo], message: str, tmp_path: Path
) -> None:
    folder = shard(tmp_path, [*samples(), *extra], form=tarfile.GNU_FORMAT)
    assert message in refusal(folder)
    assert not (folder / INDEX).exists()


def test_many_refused_members_make_one_line(tmp_path: Path) -> None:
    message = refusal(shard(tmp_path, [(f"{number}.jpg", b"") for number in range(3000)]))
    assert "photos without a class (3,000): 0.jpg, 1.jpg, 2.jpg, 3.jpg, 4.jpg and 2,995 more;" in message
    assert len(message) < 300


def test_damaged_files_are_named(tmp_path: Path) -> None:
    folder = shard(tmp_path, samples())
    whole = (folder / "train-000000.tar").read_bytes()
    second = folder / "train-000001.tar"
    for content, message in (
        (
            whole[:515],
            "train-000001.tar: it is cut short: it ends at byte 515, within a member; pack or download it again",
        ),
        (b"", "train-000001.tar: it is not a tar file (empty file)"),
        (gzip.compress(whole), "train-000001.tar: this is a gzip-compressed file; unpack it to a tar file"),
        (b"x" * 5000, "train-000001.tar: it is not a tar file"),
    ):
        second.write_bytes(content)
        assert message in refusal(folder)
    second.unlink()
    if os.name == "posix":
        os.mkfifo(second)
        assert "train-000001.tar" in refusal(folder)


def test_compressed_shards_have_to_be_unpacked(tmp_path: Path) -> None:
    write_folder(tmp_path / "s", {"train-000000.tar.gz": b"\x1f\x8b"})
    message = refusal(tmp_path / "s")
    assert (
        "compressed shards: train-000000.tar.gz. Photos in them cannot be read at random; unpack them first" in message
    )


def test_missing_shards_are_named(own: Path, tmp_path: Path) -> None:
    for number in (0, 1, 3):
        write_tar(tmp_path / "s" / f"train-{number:06}.tar", samples(number))
    assert "shards are missing: train-000002.tar" in refusal(tmp_path / "s")
    write_tar(tmp_path / "s" / "train-000002.tar", samples(2))
    open_dataset(tmp_path / "s")
    (tmp_path / "s" / "train-000003.tar").unlink()
    message = refusal(tmp_path / "s")
    assert f"1 shard missing that {INDEX} lists: train-000003.tar; restore" in message
    assert f"delete {tmp_path / 's' / INDEX}" in message
    (tmp_path / "s" / INDEX).unlink()
    assert len(ids_of(tmp_path / "s")) == 12

    last = max(own.glob("train-*.tar"))
    last.unlink()  # without a gap in the numbers
    assert f"1 shard missing that shards.json lists: {last.name}; restore" in refusal(own)


def test_changed_shards_are_named(own: Path) -> None:
    shards = sorted(own.glob("train-*.tar"))
    whole = shards[0].read_bytes()
    shards[0].write_bytes(whole + bytes(512))
    assert (
        f"{shards[0].name}: it has {len(whole) + 512:,} bytes, but {len(whole):,} according to shards.json"
        in refusal(own)
    )
    at = whole.index(b"train")  # in a photo
    shards[0].write_bytes(whole[:at] + b"T" + whole[at + 1 :])
    assert f"{shards[0].name}: its SHA-256 is not the one in shards.json" in refusal(own)
    shards[0].write_bytes(whole)
    open_dataset(own)
    (own / "shards.json").write_text("{")
    assert "shards.json: this list of shards cannot be read" in refusal(own)
    (own / "shards.json").write_text(json.dumps({"other": "program"}))
    open_dataset(own)


def test_a_shard_that_is_here_twice_is_named(own: Path) -> None:
    shards = sorted(own.glob("train-*.tar"))
    (own / f"train-{len(shards):06}.tar").write_bytes(shards[0].read_bytes())
    (own / "shards.json").unlink()
    assert "of train in several samples" in refusal(own)
    assert "a shard may be here twice: remove the copy" in refusal(own)


def test_a_photo_that_changes_after_indexing_is_refused_when_read(tmp_path: Path) -> None:
    folder = shard(tmp_path, samples())
    path = folder / "train-000000.tar"
    open_dataset(folder)
    split = open_dataset(folder).splits["train"]
    whole = path.read_bytes()
    path.write_bytes(whole.replace(b"photo 0001", b"PHOTO 0001"))
    bad = split.sample_ids.index("1/0001.jpg")
    with pytest.raises(
        DataError, match=r"train-000000\.tar: 0001\.jpg: .* has changed since it was indexed; restore it"
    ):
        split.read(bad)
    assert split.read(1 - bad if bad < 2 else 0).startswith(b"photo")
    path.write_bytes(whole[:600])
    with pytest.raises(DataError, match="the shard is cut short; restore it"):
        split.read(bad)
    path.unlink()
    with pytest.raises(DataError, match="no such file"):
        split.read(bad)


def is_indexed(dataset: ImageDataset) -> bool:
    return any(line.startswith("the shards were indexed") for line in dataset.notes)


def test_the_index_is_used_as_long_as_the_files_fit(tmp_path: Path) -> None:
    folder = shard(tmp_path, samples())
    path = folder / "train-000000.tar"
    assert is_indexed(open_dataset(folder))
    assert not is_indexed(open_dataset(folder))
    os.utime(path, ns=(1, 1))
    assert is_indexed(open_dataset(folder))
    write_tar(path, samples(count=6))
    assert len(ids_of(folder)) == 6
    for damage in (b"", b"x" * 100, (folder / INDEX).read_bytes()[:-100]):
        (folder / INDEX).write_bytes(damage)
        assert is_indexed(open_dataset(folder))
    assert not is_indexed(open_dataset(folder))


def test_shards_without_a_list_that_have_changed_are_named_when_they_are_indexed_again(tmp_path: Path) -> None:
    folder = tmp_path / "s"
    for number in range(3):
        write_tar(folder / f"train-{number:06}.tar", samples(number))
    note = "2 shards with another size or time than when indexed, read again: train-000000.tar, train-000002.tar"
    assert is_indexed(dataset := open_dataset(folder)) and note not in dataset.notes
    write_tar(folder / "train-000000.tar", samples(0, count=6))
    os.utime(folder / "train-000002.tar", ns=(1, 1))
    write_tar(folder / "train-000003.tar", samples(3))  # a new one is no change
    assert is_indexed(dataset := open_dataset(folder)) and note in dataset.notes
    assert note not in open_dataset(folder).notes


def test_a_single_shard_is_compared_with_the_list_next_to_it(own: Path) -> None:
    path = min(own.glob("train-*.tar"))
    whole = path.read_bytes()
    open_dataset(path)
    path.write_bytes(whole.replace(b"train", b"TRAIN"))
    assert f"{path.name}: its SHA-256 is not the one in shards.json" in refusal(path)
    path.write_bytes(whole + bytes(512))
    assert f"{path.name}: it has {len(whole) + 512:,} bytes" in refusal(path)
    (own / "shards.json").unlink()
    open_dataset(path)


def test_a_read_only_folder_has_its_index_in_the_cache_folder(
    tmp_path: Path, cache_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = shard(tmp_path, samples())
    (folder / INDEX).mkdir()  # in the way, also of root, whom modes do not stop
    assert is_indexed(open_dataset(folder))
    assert len(list((cache_folder / "shard-indexes").glob("*.arrow"))) == 1
    assert not is_indexed(open_dataset(folder))
    (tmp_path / "file").touch()
    monkeypatch.setenv("ALLMLP_HOME", str(tmp_path / "file"))
    dataset = open_dataset(folder)
    assert any("the index could not be written" in line for line in dataset.notes)
    split = pickle.loads(pickle.dumps(dataset.splits["train"]))
    assert split.read(0) == dataset.splits["train"].read(0)


def test_a_pickled_reader_holds_no_copy_of_the_index(tmp_path: Path) -> None:
    split = open_dataset(shard(tmp_path, samples(count=500))).splits["train"]
    pickled = pickle.dumps(split.reader)
    assert len(pickled) < 500 * 8 + 1000
    assert pickle.loads(pickled).read(7) == split.read(7)
    (tmp_path / "shards" / INDEX).unlink()
    with pytest.raises(Exception, match="this index of shards has changed while it was in use"):
        pickle.loads(pickled)


def test_photos_next_to_tar_files_are_a_folder_of_photos(tmp_path: Path) -> None:
    write_folder(tmp_path / "p", {"cat/0.jpg": b"0", "dog/0.jpg": b"1"})
    write_tar(tmp_path / "p" / "train-000000.tar", samples())
    assert ids_of(tmp_path / "p") == ["cat/0.jpg", "dog/0.jpg"]
    write_tar(tmp_path / "s" / "train-000000.tar", samples())
    write_folder(tmp_path / "s", {"preview.jpg": b"0"})
    assert "left out next to the shards: preview.jpg" in open_dataset(tmp_path / "s").notes


def test_a_shard_in_the_order_of_the_disk_is_said_to_be_that_and_nothing_else(tmp_path: Path) -> None:
    members = [("1.cls", b"0"), ("0.jpg", b"x"), ("0.cls", b"0"), ("1.jpg", b"x")]
    write_tar(tmp_path / "train-000000.tar", members)
    message = refusal(tmp_path)
    assert "keys that occur twice (1): 1; members of one sample have to follow each other" in message
    assert "tar --sort=name" in message
    assert "labels without a photo" not in message
