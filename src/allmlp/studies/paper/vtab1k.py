"""VTAB-1k: fine-tuning on 1,000 photos of each of 19 tasks, on whichever of them are here."""

from collections.abc import Sequence
from functools import partial

from allmlp.recipes import load_recipe
from allmlp.studies.study import Arm, FullScale, Study, StudyOptions
from allmlp.studies.table3 import TABLE_2, paper_training
from allmlp.studies.tasks.fine_tuning import check_tasks, fine_tune
from allmlp.studies.tasks.results import PaperMean, task_agreement, task_figure, task_table
from allmlp.studies.tasks.sources import task_arms
from allmlp.studies.tasks.task import VTAB_1K

__all__ = ["PAPER", "STUDY"]

_NAME = "VTAB-1k"
_NUM_SEEDS = 1

_CHECKPOINTS = {("L/16", "ImageNet-21k"): ("l16-i21k", "l16-i21k-timm")}
PAPER: Sequence[PaperMean] = [
    PaperMean(row, row.vtab, _CHECKPOINTS.get((row.variant, row.data), ())) for row in TABLE_2 if row.vtab is not None
]
"""The column "VTAB-1k" of table 2, at twice the image size for tasks with large images."""


def arms(options: StudyOptions) -> list[Arm]:
    return task_arms(VTAB_1K, options, num_seeds=_NUM_SEEDS)


def _own_cost() -> FullScale:
    """Return the study itself from the paper's weights; twice the image size costs four times as much."""
    trainings = {task: task.num_steps * (len(task.learning_rates) + 1) for task in VTAB_1K.values()}
    in_all = sum(trainings.values())
    costs = sum(number * (4 if task.has_large_images else 1) for task, number in trainings.items())
    photos = in_all * load_recipe("finetune_paper").batch_size
    return FullScale("allmlp study vtab1k --data FOLDER --from l16-i21k", "L/16", photos, relative_cost=costs / in_all)


STUDY = Study(
    name="vtab1k",
    title="VTAB-1k: fine-tuning on 1,000 photos of 19 tasks (table 2)",
    claim="Mixer has a transfer accuracy comparable to that of state-of-the-art models of similar cost (table 2), also on "
    "VTAB-1k: 19 diverse data sets with 1,000 training photos each (section 3).",
    outcome="The mean top-1 over the 19 tasks is 74.95 % for Mixer-L/16 pre-trained on ImageNet-21k, where ViT-L/16 has "
    "72.72 % and BiT-R152x4 70.64 %, and 75.33 % for Mixer-H/14 pre-trained on JFT-300M, where ViT-H/14 has 77.63 %.",
    setup="The tasks that are here, from the weights that --from names (starter by default), by the paper's rules: "
    "momentum SGD in batches of 512, 2,500 steps as in ViT, one training per learning rate (0.003, 0.01, 0.03) on 800 "
    "photos, compared on 200, then one on all 1,000, scored once on all test photos; images of twice the size for "
    "tasks with large images, and no crops or flips where they would change the label, as in BiT. --data takes a "
    f"folder with a sub-folder or zip per task, named {', '.join(VTAB_1K)}, or names of public data "
    "sets, such as cifar100,pets; without it, those on this machine are taken. Where a task has more than 1,000 "
    "training photos, 1,000 are drawn, always the same. Tasks that are not here are listed and not counted. These are "
    "many steps: --steps 50 makes a trial.",
    data=None,
    has_tasks=True,
    checkpoint="starter",
    arms=arms,
    run=partial(fine_tune, VTAB_1K),
    check=partial(check_tasks, VTAB_1K),
    minutes=23_000,
    table=lambda results: task_table(VTAB_1K, results, _NAME, PAPER),
    agreement=lambda results: task_agreement(VTAB_1K, results, _NAME, PAPER),
    figure=lambda results: task_figure(VTAB_1K, results, _NAME, PAPER),
    full_scale=(*map(paper_training, ("imagenet21k_l16", "jft_h14")), _own_cost()),
)
