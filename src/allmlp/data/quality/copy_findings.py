"""Findings about copies: exact and near duplicates, within and across splits, and under several classes."""

from collections.abc import Mapping, Sequence

from allmlp.data.quality.duplicates import exact_groups, has_label_conflict, is_leak
from allmlp.data.quality.findings import CheckedPhoto
from allmlp.data.quality.near_duplicates import near_groups
from allmlp.data.quality.report import Finding, Severity

__all__ = ["copy_findings"]

_LEAK = "the model has seen what it is scored on, so its score is too high"
_CONFLICT = "the model is taught two answers for one photo, and one of them is wrong"
_REPEATED = "repeated photos weigh more than others, and add no information"


def copy_findings(photos: Sequence[CheckedPhoto], *, num_workers: int = 0) -> list[Finding]:
    """Return the findings about photos with the same bytes, and then about those that only look the same.

    Photos are compared in `num_workers` threads (0: in the caller's).
    """
    exact = exact_groups([photo.record for photo in photos])
    copies = {index for group in exact for index in group[1:]}
    distinct = [i for i, photo in enumerate(photos) if i not in copies and photo.facts.thumbnail is not None]
    thumbnails = [thumbnail for i in distinct if (thumbnail := photos[i].facts.thumbnail) is not None]
    near = near_groups(thumbnails, num_workers=num_workers)
    whole = {group[0]: group for group in exact}
    # With the exact copies of its members: a leak may be between a copy of one and a near duplicate of it.
    similar = [sorted(copy for i in group for copy in whole.get(distinct[i], [distinct[i]])) for group in near]
    return [
        *_findings("duplicate", "the same bytes", photos, exact, known={}),
        *_findings("near-duplicate", "almost the same picture", photos, similar, known=whole),
    ]


def _findings(
    kind: str, same: str, photos: Sequence[CheckedPhoto], groups: list[list[int]], *, known: Mapping[int, list[int]]
) -> list[Finding]:
    """Return the findings about groups of photos; `known` has the exact copies, by their first photo."""
    leaks, conflicts, repeated = [], [], []
    for group in groups:
        parts = [known[index] for index in group if index in known]  # what they show is in their own findings
        records = [photos[index].record for index in group]
        if is_leak(records) and not any(_splits(photos, part) == _splits(photos, group) for part in parts):
            leaks.append(group)
        if has_label_conflict(records) and not any(_classes(photos, part) == _classes(photos, group) for part in parts):
            conflicts.append(group)
        if not is_leak(records) and not has_label_conflict(records):
            repeated.append(group)
    return [
        *_finding(
            f"{kind}-leak",
            "error",
            f"{{n}} with {same} in several splits",
            photos,
            leaks,
            _LEAK,
            "keep it in one split",
        ),
        *_finding(
            f"{kind}-conflict",
            "error",
            f"{{n}} with {same} in several classes",
            photos,
            conflicts,
            _CONFLICT,
            "keep it in the right class and remove the others",
        ),
        *_finding(
            f"{kind}", "warning", f"{{n}} with {same} in one class", photos, repeated, _REPEATED, "keep one of them"
        ),
    ]


def _splits(photos: Sequence[CheckedPhoto], group: list[int]) -> set[str]:
    return {photos[index].record.split for index in group}


def _classes(photos: Sequence[CheckedPhoto], group: list[int]) -> set[str]:
    return {photos[index].record.class_name for index in group}


def _finding(
    kind: str,
    severity: Severity,
    summary: str,
    photos: Sequence[CheckedPhoto],
    groups: list[list[int]],
    why: str,
    advice: str,
) -> list[Finding]:
    if not groups:
        return []
    count = "1 group of photos" if len(groups) == 1 else f"{len(groups):,} groups of photos"
    return [
        Finding(
            kind=kind,
            severity=severity,
            summary=summary.format(n=count),
            groups=tuple(tuple(photos[index].record.name for index in group) for group in groups),
            details=("",) * len(groups),
            why=why,
            advice=advice,
        )
    ]
