"""Samples of one tar shard: members that share a key, of which one is the photo and one states the class."""

import re
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from allmlp.data.decoding.limits import MAX_PHOTO_BYTES
from allmlp.data.decoding.more_formats import HEIC_KINDS
from allmlp.data.sources.folder_layout import is_in_hidden, is_photo_name
from allmlp.data.sources.tar_shards.labels import LABEL_FIELDS, MAX_LABEL_BYTES, SampleLabel, label_of
from allmlp.data.sources.tar_shards.members import TarMember, TarPass
from allmlp.io.display import shorten, summarise
from allmlp.io.file_kinds import PHOTO_EXTENSIONS

__all__ = ["ShardSamples", "read_samples"]

_KEY = re.compile(r"((?:.*/)?[^./][^./]*)\.([^/]+)", re.DOTALL)  # webdataset's: up to the first dot of the file name
_SHOWN = 5
_SHOWN_NAME = 100
_NO_PHOTO = ("labels without a photo", "add the photos, or remove these samples")
_SCATTERED = (
    "keys that occur twice",
    "members of one sample have to follow each other; pack the shard again, sorted by name (tar --sort=name)",
)


@dataclass
class ShardSamples:
    """The photos of a shard, in its order, as columns; `problems` prevent its use, and maps each to its number and examples.

    `names` are those of the photos' members, `digests` their SHA-256 one after the other, 32 bytes each, `labels` as in
    `SampleLabel`. `num_ignored` counts members that belong to no photo, and further fields of photos.
    """

    names: list[str] = field(default_factory=list)
    offsets: "array[int]" = field(default_factory=lambda: array("q"))
    sizes: "array[int]" = field(default_factory=lambda: array("q"))
    digests: bytearray = field(default_factory=bytearray)
    labels: list[int | str | None] = field(default_factory=list)
    sample_ids: list[str | None] = field(default_factory=list)
    num_ignored: int = 0
    problems: dict[tuple[str, str], tuple[int, list[str]]] = field(default_factory=dict)

    def add_problem(self, what: str, advice: str, name: str) -> None:
        """Count a problem of a member or key; only the first names are kept, so that millions take no memory."""
        count, names = self.problems.setdefault((what, advice), (0, []))
        if len(names) < _SHOWN:
            names.append(shorten(name, _SHOWN_NAME))
        self.problems[what, advice] = count + 1, names

    def problem_lines(self) -> Iterator[str]:
        """Yield one line per kind of problem."""
        for (what, advice), (count, names) in self.problems.items():
            more = f" and {count - len(names):,} more" if count > len(names) else ""
            yield f"{what} ({count:,}): {summarise(names)}{more}; {advice}"


@dataclass
class _Sample:
    """The members of one key seen so far: photos and labels by field, and fields whose photo name has two extensions."""

    key: str
    photos: dict[str, tuple[TarMember, bytes]] = field(default_factory=dict)
    further: dict[str, tuple[TarMember, bytes]] = field(default_factory=dict)
    labels: dict[str, bytes] = field(default_factory=dict)
    num_others: int = 0


def read_samples(tar: TarPass) -> ShardSamples:
    """Read all members of a shard.

    Raises:
        DamagedTarError: as `TarPass.members`.
    """
    found = ShardSamples()
    keys: set[str] = set()
    sample = _Sample("")
    for member in tar.members():
        if member.problem:
            found.add_problem(f"members with {member.problem}", _advice(member.problem), member.name)
            continue
        match = _KEY.fullmatch(member.name)
        if match is None or is_in_hidden(member.name):
            found.num_ignored += 1
            continue
        key, extension = match[1], match[2].lower()
        if key != sample.key:
            _finish(sample, found)
            if key in keys:
                found.add_problem(*_SCATTERED, key)
            keys.add(key)
            sample = _Sample(key)
        _add(sample, extension, member, tar, found)
    _finish(sample, found)
    if _SCATTERED in found.problems:
        found.problems.pop(_NO_PHOTO, None)  # the photo may stand elsewhere
    return found


def _advice(problem: str) -> str:
    if "outside" in problem:
        return "do not trust this file"
    return "pack the shard again, with the photos themselves" if "instead" in problem else "pack the shard again"


def _add(sample: _Sample, extension: str, member: TarMember, tar: TarPass, found: ShardSamples) -> None:
    """Read a member if it is a photo or states the class."""
    # HEIC counts also where it cannot be decoded: reading it then says why, and such photos can be skipped.
    is_photo = is_photo_name(f"x.{extension}") or PHOTO_EXTENSIONS.get(extension.rpartition(".")[2]) in HEIC_KINDS
    known: Sequence[str] = [*sample.photos, *sample.further, *sample.labels]
    if extension in known:
        found.add_problem("members that occur twice", "keep one of each", member.name)
    elif is_photo and member.size > MAX_PHOTO_BYTES:
        found.add_problem(f"photos larger than {MAX_PHOTO_BYTES:,} bytes", "replace or remove them", member.name)
    elif is_photo:
        photos = sample.further if "." in extension else sample.photos
        photos[extension] = member, tar.hash_data(member)
    elif extension in LABEL_FIELDS and member.size > MAX_LABEL_BYTES:
        found.add_problem(f"labels larger than {MAX_LABEL_BYTES:,} bytes", "correct these samples", member.name)
    elif extension in LABEL_FIELDS:
        sample.labels[extension] = tar.read_data(member)
    else:
        sample.num_others += 1


def _finish(sample: _Sample, found: ShardSamples) -> None:
    """Add a sample to the columns, or its problem."""
    photos = sample.photos or sample.further
    found.num_ignored += sample.num_others + (len(sample.further) if sample.photos else 0)
    if not photos:
        if "cls" in sample.labels:
            found.add_problem(*_NO_PHOTO, sample.key)
        else:
            found.num_ignored += len(sample.labels)
        return
    (member, digest), *more = photos.values()
    if more:
        names = ", ".join(each.name for each, _ in photos.values())
        found.add_problem("several photos with one key", "keep one photo per key", names)
        return
    try:
        label = label_of(sample.labels)
    except ValueError as error:
        found.add_problem(f"samples with a {error}", "correct these samples", sample.key)
        label = SampleLabel(None)
    found.names.append(member.name)
    found.offsets.append(member.offset)
    found.sizes.append(member.size)
    found.digests += digest
    found.labels.append(label.label)
    found.sample_ids.append(label.sample_id)
