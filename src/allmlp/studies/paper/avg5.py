"""Avg 5: fine-tuning on ImageNet, CIFAR-10, CIFAR-100, Pets and Flowers, on whichever of them are here."""

from collections.abc import Sequence
from functools import partial

from allmlp.recipes import load_recipe
from allmlp.studies.study import Arm, FullScale, Study, StudyOptions
from allmlp.studies.table3 import TABLE_3, paper_training
from allmlp.studies.tasks.fine_tuning import check_tasks, fine_tune
from allmlp.studies.tasks.results import PaperMean, task_agreement, task_figure, task_table
from allmlp.studies.tasks.sources import LABEL_SETS, task_arms
from allmlp.studies.tasks.task import AVG_5

__all__ = ["PAPER", "STUDY"]

_NAME = "Avg 5"
_NUM_SEEDS = 1

# The published weights by (variant, pre-training data): allmlp models.
_CHECKPOINTS = {
    ("B/16", "ImageNet"): ("b16-i1k",),
    ("L/16", "ImageNet"): ("l16-i1k",),
    ("B/16", "ImageNet-21k"): ("b16-i21k", "b16-i21k-timm"),
    ("L/16", "ImageNet-21k"): ("l16-i21k", "l16-i21k-timm"),
}
PAPER: Sequence[PaperMean] = [
    PaperMean(row, row.avg5, _CHECKPOINTS.get((row.variant, row.data), ())) for row in TABLE_3
]
"""The column "Avg. 5" of table 3, which has 224 pixels for all."""


def arms(options: StudyOptions) -> list[Arm]:
    return task_arms(AVG_5, options, num_seeds=_NUM_SEEDS)


def _own_cost(checkpoint: str, variant: str) -> FullScale:
    trainings = sum(task.num_steps * (len(task.learning_rates) + 1) for task in AVG_5.values())
    photos = trainings * load_recipe("finetune_paper").batch_size
    return FullScale(f"allmlp study avg5 --data FOLDER --from {checkpoint}", variant, photos)


STUDY = Study(
    name="avg5",
    title="Avg 5: fine-tuning on five tasks (tables 2 and 3)",
    claim="Mixer has a transfer accuracy comparable to that of state-of-the-art models of similar cost (table 2), and it "
    "improves significantly when the pre-training data grows (section 3.1, table 3).",
    outcome="The mean top-1 over ImageNet, CIFAR-10, CIFAR-100, Pets and Flowers is 88.33 % for Mixer-B/16 "
    "pre-trained on ImageNet, 92.50 % on ImageNet-21k and 92.60 % on JFT-300M, each the mean of three fine-tunings.",
    setup="The tasks that are here, from the weights that --from names (starter by default), by the paper's rules: "
    "momentum SGD in batches of 512, a cosine schedule, ViT's numbers of steps (20,000 for ImageNet, 10,000 for "
    "CIFAR, 500 for Pets and Flowers), one training per learning rate (0.003, 0.01, 0.03, 0.06), compared on 1, 2 or "
    "10 % of the training photos, then one on all of them, scored once. --data takes a folder with a sub-folder "
    f"or zip per task, named {', '.join(AVG_5)}, and ReaL's labels as {LABEL_SETS}, or names of public "
    "data sets, such as cifar10,pets; without it, those on this machine are taken. Tasks that are not here are listed "
    "and not counted. These are many steps: --steps 50 makes a trial. The paper averages three fine-tunings: "
    "--seeds 3.",
    data=None,
    has_tasks=True,
    checkpoint="starter",
    arms=arms,
    run=partial(fine_tune, AVG_5),
    check=partial(check_tasks, AVG_5),
    minutes=7_900,
    table=lambda results: task_table(AVG_5, results, _NAME, PAPER),
    agreement=lambda results: task_agreement(AVG_5, results, _NAME, PAPER),
    figure=lambda results: task_figure(AVG_5, results, _NAME, PAPER),
    full_scale=(
        *map(paper_training, ("imagenet_b16", "imagenet_l16", "imagenet21k_b16", "imagenet21k_l16")),
        _own_cost("b16-i21k", "B/16"),
        _own_cost("l16-i21k", "L/16"),
    ),
)
