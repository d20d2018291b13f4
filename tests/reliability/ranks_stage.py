"""What the cases of many processes share: photos, runs that nothing happened to, and what a job must leave behind."""

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from tests.reliability.kill_matrix import leftovers
from tests.reliability.ledger import Outcome
from tests.reliability.ranks_sessions import Ended, Job, Step, carried_out
from tests.reliability.sessions import Faults
from tests.training.same_run import differences, final_state
from tests.training.small_runs import CLASSES, write_photos


@dataclass(frozen=True)
class Kind:
    """A recipe of `faulty_ranks`, with options: two runs of one kind on as many processes compute the same bits."""

    recipe: str = "tiny"
    sharded: bool = False
    num_epochs: int = 3
    save_every: int | None = 2

    def options(self) -> list[str]:
        """Return the options of `allmlp train`."""
        values = {
            "sharded": str(self.sharded).lower(),
            "num_epochs": self.num_epochs,
            "saving.every_steps": "none" if self.save_every is None else self.save_every,
        }
        recipe = ["--recipe", f"tests.reliability.faulty_ranks:{self.recipe}"]
        return [*recipe, *(word for key, value in values.items() for word in ("--set", f"{key}={value}"))]


TINY = Kind()
SHARDED = Kind("comparable", sharded=True)  # Muon's steps of divided weights take seconds
LONG = Kind("comparable", num_epochs=15, save_every=20)
NUM_LONG_STEPS = 52

Case = Callable[["RanksStage", Path], Outcome]


class RanksStage:
    """Photos, and runs made when they are first asked for."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._runs: dict[object, tuple[Path, Ended]] = {}

    @cached_property
    def photos(self) -> Path:
        """Photos for training, 42; for validation, 72: two batches, so that it can be left midway."""
        root = write_photos(self._folder / "photos", splits=("train",))
        return write_photos(root, per_class=24, splits=("val",))

    def scored_photos(self, count: int) -> tuple[Path, int]:
        """Return photos of which `count` are for validation, and the steps of one epoch; as many for the test, from 3 on.

        Every class has to be in each split; with less than one photo a class, one of each of the first `count` classes is
        held out for validation, and of the others there is but one, which stays with the training photos.
        """
        root = self._folder / f"photos-{count}"
        if not root.exists():
            write_photos(root, splits=("train",))
            if count < len(CLASSES):
                for name in CLASSES[count:]:
                    for path in sorted((root / "train" / name).iterdir())[1:]:
                        path.unlink()
            else:
                write_photos(root, per_class=-(-count // len(CLASSES)), splits=("val", "test"))
            for split in ("val", "test"):
                photos = sorted((root / split).glob("*/*.png"), key=lambda path: (path.name, path.parent.name))
                for path in photos[count:]:
                    path.unlink()
        return root, {1: 1, 2: 2}.get(count, 4)

    def command(self, run: Path, kind: Kind = TINY, *, photos: Path | None = None) -> list[str]:
        """Return the one command that begins a run and continues it."""
        return ["train", str(photos or self.photos), "--resume", str(run), *kind.options()]

    def run(self, kind: Kind, processes: int) -> tuple[Path, Ended]:
        """Return an undisturbed run, and what its processes did."""
        return self._once(("whole", kind, processes), kind, processes, ())

    def stopped(self, kind: Kind, processes: int, step: int, copy: Path) -> Ended:
        """Leave at `copy` a run that a signal ended after a step, and return what its processes did."""
        faults = [{"place": "in step", "step": step, "signal": "SIGTERM", "rank": 0}]
        run, ended = self._once(("stopped", kind, processes, step), kind, processes, faults)
        shutil.copytree(run, copy)
        return ended

    def _once(self, key: object, kind: Kind, processes: int, faults: Faults) -> tuple[Path, Ended]:
        if key not in self._runs:
            run = self._folder / f"run-{len(self._runs)}"
            ended = carried_out(run, Job(processes), self.command(run, kind), faults)
            assert (ended.codes == [0]) == (not faults), ended.output + ended.told
            self._runs[key] = run, ended
        return self._runs[key]


def not_the_same(run: Path, reference: Path, ended: Ended) -> list[str]:
    """Return what tells a run, that was just carried to its end, from one that nothing happened to, bit for bit."""
    if any(ended.codes):
        return [f"exit codes {ended.codes}: {ended.output}{ended.told}"]
    problems = [f"process {pid} is still there" for pid in ended.left()]
    problems += [f"left behind: {left}" for left in leftovers(run)]
    return problems + [f"differs: {name}" for name in differences(run, reference)]


def num_values(run: Path) -> int:
    """Return how many numbers the last save of a run holds; 0 if it has none, which is a problem reported elsewhere."""
    if not list((run / "resume").glob("step-*")):
        return 0
    return sum(value.size for value in final_state(run).values())


def steps_of(ended: Ended) -> list[dict[int, Step]]:
    """Return by step what the processes of a job's last attempt did, for each of them."""
    return [process.steps for _, process in sorted(ended.attempts[-1].items())]


def not_parted(ended: Ended) -> list[str]:
    """Return the steps in which the processes did not make each sample of the batch once, in order, each as many."""
    ranks = steps_of(ended)
    problems = []
    for step in sorted(ranks[0]):
        parts = [each[step].made for each in ranks]
        counts = [part.count(",") + 1 for part in parts]
        if ",".join(parts) != ranks[0][step].batch or len(set(counts)) != 1:
            problems.append(f"step {step}: parts of {counts} samples, not each sample once")
    return problems


def once(told: str, words: str) -> list[str]:
    """Return the problem when words were not told exactly once."""
    return [] if told.count(words) == 1 else [f"{told.count(words)} times told {words!r}: {told}"]
