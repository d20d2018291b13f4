"""Results of a check: findings, and the report that holds them."""

import collections
import dataclasses
from collections.abc import Mapping
from typing import Any, Literal, get_args

from allmlp.io.display import counted, escape, shorten

__all__ = ["Finding", "QualityReport", "Severity"]

Severity = Literal["error", "warning", "note"]

_MAX_SOURCE = 80  # characters in a repr


@dataclasses.dataclass(frozen=True, kw_only=True)
class Finding:
    """One kind of trouble, and all files that have it.

    Attributes:
        kind: a short identifier, such as "wrong-extension".
        severity: "error" if it would hurt training, "warning" if it may, "note" if it only deserves a look.
        summary: one phrase, such as "3 photos are named after another format".
        groups: the files, in groups that belong together (copies of one photo); most groups have one file.
        details: one text per group, such as the reason why a photo cannot be read; "" for none.
        why: why it hurts.
        advice: what to do.
    """

    kind: str
    severity: Severity
    summary: str
    groups: tuple[tuple[str, ...], ...]
    details: tuple[str, ...]
    why: str
    advice: str

    @property
    def is_about_copies(self) -> bool:
        """Whether the files of a group are copies of one photo."""
        return "duplicate" in self.kind

    def suggestions(self) -> list[tuple[str, str]]:
        """Return each file with what to do about it."""
        same = "same photo" if self.is_about_copies else "similar"
        rows = []
        for group, detail in zip(self.groups, self.details, strict=True):
            for file in group:
                copies = ", ".join(copy for copy in group if copy != file)
                parts = [self.advice, detail, f"{same}: {copies}" if copies else ""]
                rows.append((file, "; ".join(part for part in parts if part)))
        return rows


@dataclasses.dataclass(frozen=True, kw_only=True, repr=False)
class QualityReport:
    """The result of `check`.

    Attributes:
        source: the data set, as it was opened.
        num_photos: by split.
        class_sizes: the number of photos of each class, by split.
        findings: the most severe first.
        notes: what was left out or decided when the data set was opened.
    """

    source: str
    num_photos: Mapping[str, int]
    class_sizes: Mapping[str, Mapping[str, int]]
    findings: tuple[Finding, ...]
    notes: tuple[str, ...]

    def __repr__(self) -> str:
        kinds = collections.Counter(finding.severity for finding in self.findings)
        found = ", ".join(counted(kinds[severity], severity) for severity in get_args(Severity) if kinds[severity])
        photos = counted(sum(self.num_photos.values()), "photo")
        return f"QualityReport({shorten(escape(self.source), _MAX_SOURCE)}: {photos}; {found or 'nothing found'})"

    @property
    def hurts_training(self) -> bool:
        """Whether training would be hurt: unreadable photos, leaks between splits, or label conflicts."""
        return any(finding.severity == "error" for finding in self.findings)

    def to_dict(self) -> dict[str, Any]:
        """Return the report as JSON values; every finding has all of its files."""
        findings = [
            {**dataclasses.asdict(finding), "groups": list(map(list, finding.groups)), "details": list(finding.details)}
            for finding in self.findings
        ]
        return {
            "source": self.source,
            "hurts_training": self.hurts_training,
            "num_photos": dict(self.num_photos),
            "class_sizes": {name: dict(sizes) for name, sizes in self.class_sizes.items()},
            "findings": findings,
            "notes": list(self.notes),
        }
