"""Which cases passed on this machine with these sources: one JSON, written anew after each case."""

import hashlib
import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from allmlp.io.atomic_write import write_json
from allmlp.provenance import environment

ROOT = Path(__file__).parents[2]
RESULTS = Path(__file__).parent / "results" / "reliability.json"

# A case is run again when one of these changes: the commit alone would forget every result as soon as it is committed.
SOURCES = ("src/allmlp/**/*.py", "tests/reliability/*_matrix.py", "tests/reliability/faulty*.py")
SOURCES += (
    "tests/reliability/*sessions.py",
    "tests/reliability/ranks_stage.py",
    "tests/training/*_run*.py",
    "tests/training/snapshots/crash_points.py",
)
MACHINE = ("device", "platform", "python", "torch", "numpy", "pillow")


@dataclass(frozen=True)
class Outcome:
    """What came of a case, or of many alike.

    Attributes:
        problems: what was not as it should be.
        cases, passed: how many were tried and how many went well.
        figures: what was measured or counted.
    """

    problems: list[str] = field(default_factory=list)
    cases: int = 1
    passed: int = 1
    figures: dict[str, float] = field(default_factory=dict)

    @classmethod
    def of(cls, problems: list[str], **figures: float) -> "Outcome":
        """Return the outcome of one case."""
        return cls(problems=problems, passed=int(not problems), figures=figures)


def sources_digest() -> str:
    """Return a SHA-256 of the files that decide a result."""
    digest = hashlib.sha256()
    for path in sorted(path for pattern in SOURCES for path in ROOT.glob(pattern)):
        digest.update(f"{path.relative_to(ROOT)}\0".encode() + path.read_bytes())
    return digest.hexdigest()


class Ledger:
    """The results of one state of the sources on one machine; those of another are dropped when the first case is done."""

    def __init__(self, path: Path = RESULTS) -> None:
        self._path = path
        self._environment = environment()
        self._sources = sources_digest()
        self._results: dict[str, Any] = self._known()

    def passed(self, name: str) -> bool:
        """Say whether a case passed before."""
        return name in self._results and not self._results[name]["problems"]

    def run(self, name: str, case: Callable[[], Outcome]) -> Outcome | None:
        """Run a case and write its outcome down; None when it has passed before."""
        if self.passed(name):
            return None
        started = time.monotonic()
        outcome = case()
        seconds = round(time.monotonic() - started, 1)
        self._results |= {**self._known(), name: {**asdict(outcome), "seconds": seconds}}  # others may be at it, too
        content = {"environment": self._environment, "sources": self._sources, "results": self._results}
        write_json(self._path, content)
        return outcome

    def _known(self) -> dict[str, Any]:
        if not self._path.exists():
            return {}
        stored = json.loads(self._path.read_text(encoding="utf-8"))
        mine = [self._environment.get(name) for name in MACHINE]
        is_same = stored["sources"] == self._sources and [stored["environment"].get(name) for name in MACHINE] == mine
        if not is_same:
            return {}
        self._environment = stored["environment"]  # the command and the commit of the first case
        return dict(stored["results"])
