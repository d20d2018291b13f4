"""The tasks of Avg 5 and of VTAB-1k, with what the paper's rules say about each.

The rules are those of appendix C of the paper, which follows ViT (arXiv 2010.11929, appendix B.1.1 and table 4) but for the
learning rates: the number of steps, and the share of the training photos on which a learning rate is chosen. VTAB-1k also
follows BiT (arXiv 1912.11370): its image sizes (section 3.3), and the tasks whose labels a crop or a flip would change
(supplement F). VTAB's tasks and groups: arXiv 1910.04867.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from allmlp.training import PAPER_GRID

__all__ = ["AVG_5", "VTAB_1K", "VTAB_GRID", "VTAB_HELD_OUT", "VTAB_PHOTOS", "Task"]

VTAB_GRID = (0.003, 0.01, 0.03)
"""The learning rates for VTAB-1k: appendix C."""

VTAB_PHOTOS, VTAB_HELD_OUT = 1000, 200
"""The training photos of each task of VTAB-1k, and how many of them choose the learning rate."""


@dataclass(frozen=True, kw_only=True)
class Task:
    """A task, and how the paper fine-tunes on it.

    Attributes:
        name: of its folder or file.
        group: for the table.
        num_steps: of each training, in batches of 512.
        learning_rates: one of which is chosen.
        held_out: the share of the training photos that chooses it; None takes VTAB-1k's 200 of 1,000.
        crops, flips: whether training photos are cropped and mirrored at random.
        has_large_images: whether the image size is twice the checkpoint's.
        squashed: whether photos are made square whatever their aspect ratio.
    """

    name: str
    group: str
    num_steps: int
    learning_rates: tuple[float, ...] = PAPER_GRID
    held_out: float | None
    crops: bool = True
    flips: bool = True
    has_large_images: bool = False
    squashed: bool = False


def _avg5(name: str, *, num_steps: int, held_out: float) -> Task:
    return Task(name=name, group="Avg 5", num_steps=num_steps, held_out=held_out)


def _vtab(name: str, group: str, *, large: bool = True, crops: bool = True, flips: bool = True) -> Task:
    return Task(
        name=name,
        group=group,
        num_steps=2500,
        learning_rates=VTAB_GRID,
        held_out=None,
        crops=crops,
        flips=flips,
        has_large_images=large,
        squashed=True,
    )


def _by_name(*tasks: Task) -> Mapping[str, Task]:
    return {task.name: task for task in tasks}


AVG_5: Mapping[str, Task] = _by_name(
    _avg5("imagenet", num_steps=20_000, held_out=0.01),
    _avg5("cifar10", num_steps=10_000, held_out=0.02),
    _avg5("cifar100", num_steps=10_000, held_out=0.02),
    _avg5("pets", num_steps=500, held_out=0.1),
    _avg5("flowers102", num_steps=500, held_out=0.1),
)
"""The five tasks whose mean is "Avg 5" (section 3.1). ImageNet by ReaL's labels is a score of the first, not a task."""

VTAB_1K: Mapping[str, Task] = _by_name(
    _vtab("caltech101", "natural"),
    _vtab("cifar100", "natural", large=False),
    _vtab("dtd", "natural"),
    _vtab("flowers102", "natural"),
    _vtab("pets", "natural"),
    _vtab("sun397", "natural"),
    _vtab("svhn", "natural", large=False),
    _vtab("camelyon", "specialised"),
    _vtab("eurosat", "specialised", large=False),
    _vtab("resisc45", "specialised"),
    _vtab("retinopathy", "specialised"),
    _vtab("clevr_count", "structured", crops=False),
    _vtab("clevr_distance", "structured", crops=False),
    _vtab("dmlab", "structured", crops=False),
    _vtab("dsprites_location", "structured", large=False, crops=False, flips=False),
    _vtab("dsprites_orientation", "structured", large=False, flips=False),
    _vtab("kitti_distance", "structured", crops=False),
    _vtab("smallnorb_azimuth", "structured", flips=False),
    _vtab("smallnorb_elevation", "structured"),
)
"""The 19 tasks. An image is large unless its area is under 96 x 96 pixels: then the image size is twice the checkpoint's."""
