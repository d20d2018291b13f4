"""What a study is: a claim, arms that are measured one by one, and what their figures say about the claim."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from allmlp.io.display import Report

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from allmlp.data import ImageDataset
    from allmlp.studies.learning.photos import StudyPhotos

__all__ = ["ESTIMATED_RATE", "Arm", "ArmContext", "ArmResult", "FullScale", "Study", "StudyOptions", "Table"]

ESTIMATED_RATE = 80e9
"""Multiply-adds per second on two cores in float32, for estimates of time: twice those of a core in study permutations
(experiments/studies/results/permutations.json), in which the backward pass counts as two forward passes."""

_MINUTES_IN_HOURS = 120  # from which estimates are in hours


@dataclass(frozen=True)
class StudyOptions:
    """What a user chooses.

    Attributes:
        data: photos, as `open_dataset` takes them; None takes the study's.
        num_seeds: seeds per arm; None takes the study's number.
        num_steps: training steps per arm; None takes the study's number. Fewer make a quick trial that says little.
        device: "auto", "cpu", "cuda" or "mps".
        checkpoint: of a study that starts from one, as `load_checkpoint` takes it; None takes the study's.
        tasks: of a study that transfers to tasks, by name: their photos, as `open_dataset` takes them; None takes the study's.
    """

    data: str | None = None
    num_seeds: int | None = None
    num_steps: int | None = None
    device: str = "auto"
    checkpoint: str | None = None
    tasks: Mapping[str, str] | None = None


@dataclass(frozen=True)
class Arm:
    """One measurement of a study.

    Attributes:
        name: in words, as the table has it.
        settings: JSON values that decide the result, with the seed. A stored result is used again only if they are equal.
        seed: of all random choices.
    """

    name: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    seed: int = 0


class ArmResult(NamedTuple):
    """An arm and its figures: JSON values, as `Study.run` returned them."""

    arm: Arm
    figures: Mapping[str, Any]


class Table(NamedTuple):
    """Column titles, and rows of as many cells."""

    columns: Sequence[str]
    rows: Sequence[Sequence[str]]


@dataclass(frozen=True)
class FullScale:
    """One training of the paper at its own scale.

    Attributes:
        command: starts it, on photos that the user has.
        variant: of the Mixer, such as "B/16", for its cost on this machine.
        num_photos_seen: training photos times epochs.
        core_days: what the paper states, on TPU v3, or its share for a shorter training; None where it states none.
        relative_cost: multiply-adds per photo, as a multiple of those of the variant at 224 pixels.
    """

    command: str
    variant: str
    num_photos_seen: float
    core_days: float | None = None
    relative_cost: float = 1.0


class ArmContext(Protocol):
    """What an arm is given.

    Attributes:
        folder: of this arm, for snapshots, so that it can continue; deleted once its figures are stored.
        device: "cpu", "cuda" or "mps".
        report: takes lines for the user.
        options: what the user chose.
    """

    @property
    def folder(self) -> Path: ...

    @property
    def device(self) -> str: ...

    @property
    def report(self) -> Report: ...

    @property
    def options(self) -> StudyOptions: ...

    @property
    def dataset(self) -> "ImageDataset":
        """Return the study's photos as they were opened, for `allmlp.train` and `allmlp.evaluate`."""

    def photos(self, image_size: tuple[int, int]) -> "StudyPhotos":
        """Return the study's photos, decoded at this size; they are kept for the next arm."""


@dataclass(frozen=True, kw_only=True)
class Study:
    """A study of the paper, or beyond it.

    Attributes:
        name: as the command takes it.
        title: a phrase.
        claim: what the paper says, in a sentence, with its section or figure.
        outcome: what the paper measured.
        setup: what is done here, and how it differs from the paper.
        data: the photos by default, as `open_dataset` takes them; None if it needs none.
        has_tasks: whether `StudyOptions.data` names several data sets, one per task, which the arms open themselves.
        checkpoint: where it starts from by default; None if it starts from no checkpoint.
        tasks: to which it transfers by default, by name: photos, as `open_dataset` takes them; empty if it takes no tasks.
        arms: the measurements, in their order: the first seed of all arms comes before the second.
        run: measures one arm and returns JSON figures. Interrupted, it continues from `ArmContext.folder`.
        table: of all results.
        figure: the plot, in the paper's form; None if it has none.
        agreement: a sentence: does the outcome agree with the paper, and how surely.
        full_scale: the paper's own trainings.
        check: raises an error if photos of arms that are to be measured are unusable, of all of them at once; None checks none.
        minutes: of all arms on two cores. An estimate by arithmetic: multiply-adds at `ESTIMATED_RATE`, or the limits of what
            is timed. None if it is unknown.
        extras: modules that it needs, by the extra that installs them.
    """

    name: str
    title: str
    claim: str
    outcome: str
    setup: str
    data: str | None
    arms: Callable[[StudyOptions], Sequence[Arm]]
    run: Callable[[Arm, ArmContext], Mapping[str, Any]]
    table: Callable[[Sequence[ArmResult]], Table]
    agreement: Callable[[Sequence[ArmResult]], str]
    figure: Callable[[Sequence[ArmResult]], "Figure"] | None = None
    full_scale: Sequence[FullScale] = ()
    check: Callable[[Sequence[Arm], StudyOptions], None] | None = None
    minutes: float | None = None
    extras: Mapping[str, str] = field(default_factory=dict)
    has_tasks: bool = False
    checkpoint: str | None = None
    tasks: Mapping[str, str] = field(default_factory=dict)

    @property
    def time_needed(self) -> str:
        """Return the estimate in words, such as "about 45 min", or "about 32 h"; "" if it is unknown."""
        if self.minutes is None:
            return ""
        if self.minutes < 1:
            return "under a minute"
        return (
            f"about {self.minutes:.0f} min" if self.minutes < _MINUTES_IN_HOURS else f"about {self.minutes / 60:,.0f} h"
        )
