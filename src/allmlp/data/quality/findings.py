"""Findings about photos, from the facts about each: one function per kind of finding."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from posixpath import splitext

from allmlp.data.decoding.more_formats import HEIC_KINDS, INSTALL_HEIC, has_heic
from allmlp.data.quality.duplicates import PhotoRecord
from allmlp.data.quality.photo_facts import PhotoFacts
from allmlp.data.quality.report import Finding, Severity
from allmlp.io.file_kinds import PHOTO_EXTENSIONS, PHOTO_KINDS, FileKind

__all__ = ["PHOTO_FINDINGS", "CheckedPhoto", "finding_of", "kind_by_name", "not_widely_read", "unread_formats"]

_MIN_SIDE = 32  # a smaller photo is enlarged several times, even for the smallest recipes
_MAX_PIXELS = 24_000_000
_UNREAD_KINDS = (FileKind.RAW, FileKind.JPEG_XL, FileKind.JPEG_2000)
_KNOWN_KINDS = (*PHOTO_KINDS, *HEIC_KINDS, *_UNREAD_KINDS)
# Words with which the decoder and Pillow say that the pixel data end too early.
_INCOMPLETE = re.compile(r"cut short|truncated|incomplete|lack|missing|not enough|too few|ends? (before|early)", re.I)


@dataclass(frozen=True)
class CheckedPhoto:
    """A photo and the facts about it; `path` has its file name."""

    record: PhotoRecord
    facts: PhotoFacts
    path: str


def finding_of(
    kind: str, severity: Severity, what: str, files: Sequence[tuple[str, str]], *, why: str, advice: str
) -> list[Finding]:
    """Return a finding about files with details, or none if there are no files. `what` has {n} for "3 photos have"."""
    if not files:
        return []
    summary = what.format(n="1 photo" if len(files) == 1 else f"{len(files):,} photos", s="" if len(files) > 1 else "s")
    return [
        Finding(
            kind=kind,
            severity=severity,
            summary=_singular(summary) if len(files) == 1 else summary,
            groups=tuple((name,) for name, _ in files),
            details=tuple(detail for _, detail in files),
            why=why,
            advice=advice,
        )
    ]


def _singular(summary: str) -> str:
    for plural, singular in (("are", "is"), ("have", "has"), ("lack", "lacks")):
        summary = summary.replace(f"1 photo {plural} ", f"1 photo {singular} ")
    return summary


def _named(
    photos: Sequence[CheckedPhoto], matches: Callable[[PhotoFacts], bool], detail: Callable[[PhotoFacts], str]
) -> list[tuple[str, str]]:
    return [(photo.record.name, detail(photo.facts)) for photo in photos if matches(photo.facts)]


def _nothing(_facts: PhotoFacts) -> str:
    return ""


def _reason(facts: PhotoFacts) -> str:
    return (facts.error or "").rstrip(".")


def _is_incomplete(facts: PhotoFacts) -> bool:
    return facts.error is not None and _INCOMPLETE.search(facts.error) is not None


def _is_not_read(facts: PhotoFacts) -> bool:
    """Return whether a photo is of a kind that cannot be decoded here, rather than damaged."""
    return facts.kind in HEIC_KINDS and not has_heic()


def unreadable(photos: Sequence[CheckedPhoto]) -> list[Finding]:
    """Return photos that cannot be decoded."""

    def matches(facts: PhotoFacts) -> bool:
        return facts.error is not None and not _is_incomplete(facts) and not _is_not_read(facts)

    return finding_of(
        "unreadable",
        "error",
        "{n} cannot be read",
        _named(photos, matches, _reason),
        why="training refuses the whole data set before its first step",
        advice="replace or remove them, or train with --bad-photos skip",
    )


def lacking_pixels(photos: Sequence[CheckedPhoto]) -> list[Finding]:
    """Return photos whose pixel data end too early."""
    return finding_of(
        "lacking-pixels",
        "error",
        "{n} lack a part of the picture",
        _named(photos, lambda facts: _is_incomplete(facts) and not _is_not_read(facts), _reason),
        why="training refuses the whole data set; other programs fill the missing part with grey",
        advice="copy or download them again, remove them, or train with --bad-photos skip",
    )


def not_widely_read(photos: Sequence[CheckedPhoto], stray: Sequence[tuple[str, FileKind | None]] = ()) -> list[Finding]:
    """Return HEIC and AVIF photos: an error if they cannot be read. `stray` are such files outside of the data set."""
    unread = _named(photos, _is_not_read, lambda facts: str(facts.kind))
    unread += [(name, f"{kind}, left out") for name, kind in stray if kind in HEIC_KINDS]
    read = _named(photos, lambda facts: facts.kind in HEIC_KINDS and facts.error is None, lambda facts: str(facts.kind))
    why = (
        "phones write these formats, and few programs read them; photos that are left out are missing from their class"
    )
    return [
        *finding_of(
            "phone-format",
            "error",
            "{n} are HEIC or AVIF and not read",
            unread,
            why=why,
            advice=f"{INSTALL_HEIC} to read them, or convert them to JPEG",
        ),
        *finding_of("phone-format", "note", "{n} are HEIC or AVIF", read, why=why, advice="convert them to share them"),
    ]


def unread_formats(stray: Sequence[tuple[str, FileKind | None]]) -> list[Finding]:
    """Return photos outside of the data set in formats that are never read, such as RAW, which often starts as a TIFF does."""
    files = []
    for name, kind in stray:
        unread = kind_by_name(name) if kind in (FileKind.TIFF, None) else kind
        if unread in _UNREAD_KINDS:
            files.append((name, f"{unread}, left out"))
    return finding_of(
        "unread-format",
        "warning",
        "{n} are in a format that is not read",
        files,
        why="they are missing from their class",
        advice="convert them to JPEG, unless each has a JPEG next to it",
    )


def wrong_extension(photos: Sequence[CheckedPhoto]) -> list[Finding]:
    """Return photos whose extension names another format than their content."""
    files = [
        (photo.record.name, f"it is {photo.facts.kind}")
        for photo in photos
        if photo.facts.error is None and kind_by_name(photo.path) not in (None, photo.facts.kind)
    ]
    return finding_of(
        "wrong-extension",
        "warning",
        "{n} have the extension of another format",
        files,
        why="allmlp goes by the content, but other programs may refuse them",
        advice="rename them",
    )


def kind_by_name(path: str) -> FileKind | None:
    """Return the kind of photo that a file claims to be by its extension; None if it has no extension of a photo."""
    extension = splitext(path)[1].lower().removeprefix(".")
    kind = PHOTO_EXTENSIONS.get(extension)
    return kind if kind in _KNOWN_KINDS else None


def rotated(photos: Sequence[CheckedPhoto]) -> list[Finding]:
    """Return photos that are stored rotated or mirrored, with an EXIF orientation."""
    return finding_of(
        "rotated",
        "note",
        "{n} are stored rotated, with an EXIF orientation",
        _named(photos, lambda facts: facts.orientation != 1, lambda facts: f"orientation {facts.orientation}"),
        why="allmlp turns them upright; programs that ignore EXIF see them rotated",
        advice="nothing, if all programs that use them apply EXIF",
    )


def grey(photos: Sequence[CheckedPhoto]) -> list[Finding]:
    """Return grey photos among coloured ones."""
    files = _named(photos, lambda facts: facts.is_grey, _nothing)
    if len(files) == sum(photo.facts.error is None for photo in photos):
        return []
    return finding_of(
        "grey",
        "note",
        "{n} are grey, others are coloured",
        files,
        why="if grey photos are more frequent in some classes, a model learns the colour in place of the subject",
        advice="check that they are spread over all classes",
    )


def cmyk(photos: Sequence[CheckedPhoto]) -> list[Finding]:
    """Return CMYK photos."""
    return finding_of(
        "cmyk",
        "warning",
        "{n} are stored in CMYK, for print",
        _named(photos, lambda facts: facts.mode == "CMYK", _nothing),
        why="they are converted without their colour profile, so their colours differ from what people see",
        advice="save them as RGB",
    )


def sixteen_bit(photos: Sequence[CheckedPhoto]) -> list[Finding]:
    """Return photos with 16 bits per sample."""
    return finding_of(
        "16-bit",
        "note",
        "{n} have 16 bits per sample",
        _named(photos, lambda facts: facts.bits == 16, _nothing),
        why="only the high byte is used: photos that use a small part of the range become dark or uniform",
        advice="look at one, and stretch its range to 8 bits if it is dark",
    )


def transparent(photos: Sequence[CheckedPhoto]) -> list[Finding]:
    """Return photos with transparency."""
    return finding_of(
        "transparent",
        "note",
        "{n} have transparency",
        _named(photos, lambda facts: facts.has_transparency, _nothing),
        why="transparent parts become white, a background that a model may take for a sign of the class",
        advice="check that they are spread over all classes, or save them on a background",
    )


def animated(photos: Sequence[CheckedPhoto]) -> list[Finding]:
    """Return photos with further frames or pages."""
    return finding_of(
        "animated",
        "note",
        "{n} with several frames or pages",
        _named(photos, lambda facts: facts.is_animated, _nothing),
        why="only the first frame or page is used",
        advice="check that the first frame shows the subject",
    )


def tiny(photos: Sequence[CheckedPhoto]) -> list[Finding]:
    """Return photos with a side under 32 pixels."""
    return finding_of(
        "tiny",
        "warning",
        f"{{n}} are smaller than {_MIN_SIDE} pixels",
        _named(photos, lambda facts: facts.error is None and min(facts.size) < _MIN_SIDE, _size),
        why="they may be thumbnails or icons; enlarged, they show little",
        advice="replace them by the full photos, or remove them",
    )


def huge(photos: Sequence[CheckedPhoto]) -> list[Finding]:
    """Return photos with more than 24 million pixels."""
    return finding_of(
        "huge",
        "note",
        f"{{n}} have more than {_MAX_PIXELS // 10**6} million pixels",
        _named(photos, lambda facts: facts.size[0] * facts.size[1] > _MAX_PIXELS, _size),
        why="they take long to decode, in every epoch if photos are streamed, and gain nothing",
        advice="save them smaller, such as 1,000 pixels wide",
    )


def _size(facts: PhotoFacts) -> str:
    return f"{facts.size[0]} x {facts.size[1]} pixels"


PHOTO_FINDINGS: tuple[Callable[[Sequence[CheckedPhoto]], list[Finding]], ...] = (
    unreadable,
    lacking_pixels,
    cmyk,
    tiny,
    wrong_extension,
    rotated,
    grey,
    sixteen_bit,
    transparent,
    animated,
    huge,
)
