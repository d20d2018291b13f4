"""Beyond the paper: whether a small Mixer transfers better than a ViT and a ResNet of equal pre-training cost."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib.figure import Figure

from allmlp.io.display import counted
from allmlp.provenance import spread
from allmlp.studies.drawing import COLOURS, dots, new_figure, panels
from allmlp.studies.learning.fit import Schedule, fit_once, hours_unit
from allmlp.studies.learning.networks import make_network, multiply_adds
from allmlp.studies.paper.data_size import IMAGE_SIZE, NETWORKS
from allmlp.studies.spreads import is_surely_below, mean_and_std, verdict
from allmlp.studies.study import Arm, ArmContext, ArmResult, Study, StudyOptions, Table
from allmlp.studies.table3 import paper_training
from allmlp.studies.tasks.transfer import NUM_DRAWS, NUM_SHOTS, classified, read_transfer_photos, transfer

__all__ = ["RATES", "STUDY", "TASKS", "Lead", "lead"]

TASKS: Mapping[str, str] = {"clothing": "clothing"}
RATES = (3e-4, 1e-3, 3e-3)
MEAN = "mean of the tasks"
_MIXER, *_RIVALS = NETWORKS
_NUM_SEEDS, _NUM_STEPS, _STEPS_PER_FINE_TUNING_STEP = 3, 700, 4
_HELD_OUT = 0.2
# Comparable networks: on ImageNet, the paper's Mixer-L/16 is 1.15 points behind ViT-L/16 (table 2, ImageNet-21k).
_COMPARABLE = 0.02
_NUM_ERRORS = 2


def arms(options: StudyOptions) -> list[Arm]:
    num_steps = options.num_steps or _NUM_STEPS
    pretraining = Schedule(num_steps=num_steps, num_scores=2)
    fine_tuning = Schedule(
        num_steps=max(1, num_steps // _STEPS_PER_FINE_TUNING_STEP), batch_size=64, weight_decay=0.0, num_scores=1
    )
    fixed = {key: value for key, value in fine_tuning.settings().items() if key != "learning_rate"}
    shared = {
        "pretraining": pretraining.settings(),
        "fine_tuning": fixed,
        "learning_rates": list(RATES),
        "held_out": _HELD_OUT,
        "tasks": list(options.tasks or TASKS),
    }
    return [
        Arm(name, {"network": name, "kind": kind, "widths": dict(widths), **shared}, seed)
        for seed in range(options.num_seeds or _NUM_SEEDS)
        for name, (kind, widths) in NETWORKS.items()
    ]


def run(arm: Arm, context: ArmContext) -> Mapping[str, Any]:
    """Pre-train, then fine-tune on every task. What an interrupted arm has finished is not repeated."""
    settings, sources = arm.settings, context.options.tasks or TASKS
    # Before hours of training: a task may be unusable.
    tasks = {
        name: read_transfer_photos(sources[name], IMAGE_SIZE, held_out=settings["held_out"])
        for name in settings["tasks"]
    }
    photos = context.photos(IMAGE_SIZE)
    network = make_network(
        settings["kind"],
        seed=arm.seed,
        image_size=IMAGE_SIZE,
        num_classes=len(photos.class_names),
        widths=settings["widths"],
    )
    schedule = Schedule(**settings["pretraining"])
    facts = {
        "parameters": sum(parameter.numel() for parameter in network.parameters()),
        "multiply_adds": multiply_adds(network, IMAGE_SIZE),
        "photos": len(photos.train.labels),
        "classes": len(photos.class_names),
        "epochs": round(schedule.num_steps * schedule.batch_size / len(photos.train.labels), 2),
    }
    context.report(f"  pre-training, {counted(schedule.num_steps, 'step')}")
    options: dict[str, Any] = {"seed": arm.seed, "report": context.report, "device": context.device}
    learnt = fit_once(network, photos, schedule, folder=context.folder / "pre-training", **options)
    fine_tuning = Schedule(**settings["fine_tuning"])
    transferred = {}
    for name, task in tasks.items():
        context.report(f"  fine-tuning on {name}, {counted(fine_tuning.num_steps, 'step')} at each learning rate")
        folder = context.folder / f"task-{name}"
        transferred[name] = transfer(network, task, fine_tuning, settings["learning_rates"], folder=folder, **options)
        context.report(f"  {name}: top-1 {transferred[name]['top1']:.1%} on the test photos")
    return {**facts, **learnt, "tasks": transferred}


class Lead(NamedTuple):
    """By how much the Mixer's top-1 exceeds that of another network; with several tasks, their mean.

    by_seed: the difference with each seed.
    error: the standard error of the mean difference that follows from the choice of test photos.
    """

    by_seed: Sequence[float]
    error: float

    @property
    def is_clear(self) -> bool:
        """Whether the other network is behind with every seed, of at least two, and by more than the test photos explain."""
        mean = float(np.mean(self.by_seed))
        return len(self.by_seed) > 1 and min(self.by_seed) > 0 and mean > _NUM_ERRORS * self.error

    def in_points(self) -> str:
        """Return the mean and its standard deviation over seeds."""
        return mean_and_std(spread(self.by_seed), scale=100, signed=True)


def lead(results: Sequence[ArmResult], rival: str, tasks: Sequence[str]) -> Lead:
    """Compare the Mixer with a rival of the same seed, on the same test photos."""
    by_task, variances = [], []
    for task in tasks:
        mixers, others = (
            np.array([classified(figures["tasks"][task]) for figures in _figures(results, name)], np.float64)
            for name in (_MIXER, rival)
        )
        differences = mixers - others  # (seeds, test photos)
        by_task.append(differences.mean(1))
        per_photo = differences.mean(0)
        variances.append(per_photo.var(ddof=1) / len(per_photo) if len(per_photo) > 1 else 0.0)
    return Lead(np.mean(by_task, 0).tolist(), math.sqrt(sum(variances)) / len(tasks))


def _figures(results: Sequence[ArmResult], network: str) -> list[Mapping[str, Any]]:
    """Return the figures of a network, by seed."""
    found = {result.arm.seed: result.figures for result in results if result.arm.settings["network"] == network}
    return [found[seed] for seed in sorted(found)]


def _top1(results: Sequence[ArmResult], network: str, tasks: Sequence[str]) -> list[float]:
    """Return the top-1 of a network on the test photos, the mean of the tasks, by seed."""
    return [
        float(np.mean([figures["tasks"][task]["top1"] for task in tasks])) for figures in _figures(results, network)
    ]


def _groups(results: Sequence[ArmResult]) -> dict[str, list[str]]:
    """Return each task, and all of them if there are several, by the name of their row."""
    tasks = list(results[0].arm.settings["tasks"])
    return {**{task: [task] for task in tasks}, **({MEAN: tasks} if len(tasks) > 1 else {})}


def table(results: Sequence[ArmResult]) -> Table:
    rows = []
    for label, tasks in _groups(results).items():
        for network in NETWORKS:
            runs = _figures(results, network)
            top1 = spread(_top1(results, network, tasks))
            own = [run["tasks"][label] for run in runs] if label in tasks else []
            few = [each["few_shot"] for each in own if each["few_shot"] is not None]
            ahead = None if network == _MIXER else lead(results, network, tasks)
            rows.append(
                (
                    label,
                    network,
                    f"{runs[0]['multiply_adds'] / 1e6:.0f} M",
                    f"{spread([run['core_hours'] for run in runs])['mean']:.3g}",
                    mean_and_std(spread([run["top1"] for run in runs]), scale=100),
                    ", ".join(f"{rate:g}" for rate in sorted({each["learning_rate"] for each in own})),
                    mean_and_std(spread(few), scale=100) if few else "",
                    mean_and_std(top1, scale=100),
                    "" if ahead is None else ahead.in_points(),
                    "" if ahead is None else f"{100 * ahead.error:.1f}",
                    f"{own[0]['num_test']:,}" if own else "",
                    str(top1["n"]),
                )
            )
    columns = (
        "task",
        "network",
        "multiply-adds",
        f"{hours_unit(results[0].figures)} of pre-training",
        "top-1 there, %",
        "chosen rates",
        f"{NUM_SHOTS}-shot top-1, %",
        "top-1, %",
        "the Mixer's lead, points",
        "its standard error over test photos",
        "test photos",
        "n",
    )
    return Table(columns, rows)


def agreement(results: Sequence[ArmResult]) -> str:
    """Compare the mean top-1 over the tasks, paired by seed.

    The Mixer beats a network that is behind with every seed (of at least two) and in the mean by more than two standard errors
    over the test photos. The outcome agrees with the paper, whose Mixers are comparable with both others, if the Mixer is at
    most two points behind each of them in the mean; with a single seed it then points the same way. It does not agree if the
    Mixer is surely further behind one of them, by the spread over seeds; otherwise it points the other way.
    """
    tasks: list[str] = list(results[0].arm.settings["tasks"])
    leads = {rival: lead(results, rival, tasks) for rival in _RIVALS}
    num_seeds = len(_figures(results, _MIXER))
    is_comparable = all(float(np.mean(each.by_seed)) >= -_COMPARABLE for each in leads.values())
    is_behind = any(is_surely_below(spread(each.by_seed), -_COMPARABLE) for each in leads.values())
    first_words = verdict(holds=is_comparable, is_sure=num_seeds > 1 and (is_comparable or is_behind))
    beaten = [f"the {rival}" for rival, each in leads.items() if each.is_clear]
    others = [f"the {rival}" for rival, each in leads.items() if not each.is_clear]
    whom = "both others" if not others else f"{beaten[0]} but not {others[0]}" if beaten else "neither of the others"
    top1 = mean_and_std(spread(_top1(results, _MIXER, tasks)), scale=100)
    measure = f"mean top-1 over {', '.join(tasks[:-1])} and {tasks[-1]}" if len(tasks) > 1 else f"top-1 on {tasks[0]}"
    distances = [f"the {name}'s is {each.in_points()} points" for name, each in leads.items()]
    errors = " and ".join(f"{100 * each.error:.1f}" for each in leads.values())
    hours = [
        f"the {name} {spread([run['core_hours'] for run in _figures(results, name)])['mean']:.2g}" for name in NETWORKS
    ]
    trained = _figures(results, _MIXER)[0]
    return (
        f"{first_words}: the Mixer beats {whom}. Its {measure} is {top1} %; the difference from {', from '.join(distances)} "
        f"({counted(num_seeds, 'seed')}, paired; standard errors over test photos {errors}). Pre-training, on "
        f"{trained['photos']:,} photos of {trained['classes']} classes for {trained['epochs']:g} epochs with about the same "
        f"multiply-adds, took {', '.join(hours[:-1])} and {hours[-1]} {hours_unit(trained)}."
    )


def figure(results: Sequence[ArmResult]) -> Figure:
    """Draw the top-1 of every network by task: seeds as dots, and their mean."""
    groups = _groups(results)
    drawing = new_figure(width=1.6 + 3.4 * len(groups), height=2.3)
    colours = dict(zip(NETWORKS, COLOURS, strict=False))
    for axes, tasks in zip(panels(drawing, list(groups)), groups.values(), strict=True):
        rows = {network: _top1(results, network, tasks) for network in NETWORKS}
        dots(axes, rows, x="top-1 on test photos", colours=colours, reference=_MIXER)
    return drawing


STUDY = Study(
    name="transfer",
    title="Transfer at equal pre-training cost (section 3.2), on a laptop",
    claim="After pre-training on large data sets, Mixers transfer to other tasks about as well as the best convolutional "
    "networks and ViTs of similar cost (section 3.2, table 2, figure 3).",
    outcome="Pre-trained on ImageNet-21k and fine-tuned on ImageNet, Mixer-L/16 reaches 84.15 % and ViT-L/16 85.30 %; "
    "pre-trained on JFT-300M, Mixer-H/14 reaches 87.94 %, ViT-H/14 88.55 % and BiT-ResNet152x4 87.54 % (table 2).",
    setup="A Mixer, a ViT and a ResNet of about 22 million multiply-adds per photo of 32 pixels, those of study data_size, "
    "pre-trained for as many steps: equal cost in multiply-adds; what it costs in core-hours is in the table. Pre-training is "
    "on CIFAR-100, or on other photos (--data), such as Tiny-ImageNet. The task is clothing, which comes with allmlp; yours "
    "are given as --task NAME=PHOTOS, once per task. With Flowers-102: allmlp data flowers102 --download, then --task "
    "clothing=clothing --task flowers=flowers102. Pre-training and fine-tuning are the same for all three: AdamW, a cosine "
    "schedule, moved and mirrored photos. "
    f"On each task, learning rates of {', '.join(f'{rate:g}' for rate in RATES)} are compared on "
    f"{100 * _HELD_OUT:g} % of the training and validation photos, which are held out, and the network with the best one is "
    f"scored once on the test photos. A seed decides everything from the first weights on. Linear {NUM_SHOTS}-shot, on the "
    f"features of pre-training, has {NUM_DRAWS} draws. The rule: the Mixer beats a network that is behind in mean top-1 with "
    "every seed, and in the mean by more than two standard errors over the test photos; they are comparable if the Mixer is at "
    f"most {100 * _COMPARABLE:g} points behind. The commands at the paper's scale train the Mixers only.",
    data="cifar100",
    tasks=TASKS,
    arms=arms,
    run=run,
    minutes=16,
    table=table,
    agreement=agreement,
    figure=figure,
    full_scale=tuple(map(paper_training, ("imagenet21k_b16", "imagenet21k_l16", "jft_h14"))),
    extras={"timm": "studies"},
)
