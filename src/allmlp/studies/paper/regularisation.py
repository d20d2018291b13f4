"""Table 4: what each part of the regularisation for ImageNet does for a Mixer that overfits."""

import dataclasses
import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from allmlp.data import Augmentation, ImageDataset
from allmlp.errors import DataError
from allmlp.io.display import counted, escape
from allmlp.model import MixerTemplate, num_parameters
from allmlp.provenance import spread
from allmlp.runs.layout import RunLayout
from allmlp.studies.drawing import COLOURS, dots, new_figure, panels
from allmlp.studies.learning.photos import scored_split
from allmlp.studies.learning.run_progress import EveryTenth
from allmlp.studies.spreads import mean_and_std, verdict_on_gain
from allmlp.studies.study import Arm, ArmContext, ArmResult, FullScale, Study, StudyOptions, Table
from allmlp.studies.table3 import paper_training
from allmlp.training import DataConfig, OptimizerConfig, Recipe, ScheduleConfig, train

__all__ = ["ALL", "NONE", "PARTS", "STUDY", "few_photos", "recipe"]

WIDTHS = {
    "patch_size": 8,
    "num_blocks": 8,
    "hidden_dim": 128,
    "tokens_mlp_dim": 32,
    "channels_mlp_dim": 256,
}
TABLE_4: Mapping[str, float] = {
    "rand_augment": 15.0,
    "mixup": 0.5,
    "stochastic_depth": 0.1,
    "weight_decay": 0.1,
    "dropout": 0.0,
}
PARTS: Mapping[str, str] = {
    "RandAugment": "rand_augment",
    "mixup": "mixup",
    "stochastic depth": "stochastic_depth",
    "weight decay": "weight_decay",
}
ALL, NONE, DROPOUT = "all of table 4", "none of them", "dropout 0.1 as well"
_SHARE = 0.1
_BATCH_SIZE, _NUM_SEEDS, _NUM_STEPS = 100, 2, 4000


def arms(options: StudyOptions) -> list[Arm]:
    changes: dict[str, dict[str, float]] = {
        ALL: {},
        **{f"without {part}": {setting: 0.0} for part, setting in PARTS.items()},
        NONE: dict.fromkeys(PARTS.values(), 0.0),
        DROPOUT: {"dropout": 0.1},
    }
    shared = {
        "widths": dict(WIDTHS),
        "share": _SHARE,
        "batch_size": _BATCH_SIZE,
        "num_steps": options.num_steps or _NUM_STEPS,
    }
    return [
        Arm(name, {**shared, **TABLE_4, **change}, seed)
        for seed in range(options.num_seeds or _NUM_SEEDS)
        for name, change in changes.items()
    ]


def recipe(settings: Mapping[str, Any], seed: int) -> Recipe:
    """Return the recipe of an arm: table 4's, for small photos."""
    has_rand_augment = settings["rand_augment"] > 0
    distortions: dict[str, Any] = {"rand_augment_layers": 2, "rand_augment_magnitude": settings["rand_augment"]}
    return Recipe(
        name="regularisation",
        model=MixerTemplate(
            image_size=(32, 32),
            gelu="erf",
            stochastic_depth=settings["stochastic_depth"],
            dropout=settings["dropout"],
            **settings["widths"],
        ),
        num_epochs=0,
        num_steps=settings["num_steps"],
        batch_size=settings["batch_size"],
        seed=seed,
        data=DataConfig(),
        augmentation=Augmentation(
            crop="pad", pad_pixels=4, flip=True, mixup=settings["mixup"], **(distortions if has_rand_augment else {})
        ),
        optimizer=OptimizerConfig(name="adamw", learning_rate=1e-3, weight_decay=settings["weight_decay"]),
        schedule=ScheduleConfig(warmup=0.1, decay="linear"),
        best_by="last",
        precision="float32",
    )


def few_photos(dataset: ImageDataset, *, share: float, seed: int) -> ImageDataset:
    """Return a share of the training photos of each class, a tenth as many others for validation, and the test photos.

    At least one photo of each class is taken; the seed draws them. Validation chooses nothing here, but every run has some. The
    photos to be scored are the test split, or the validation split if there is no other.

    Raises:
        DataError: there is no train split, none to be scored, or no photo is left for validation.
    """
    scored, train_split = scored_split(dataset), dataset.splits["train"]
    draws = np.random.default_rng(seed)
    chosen: dict[str, list[int]] = {"train": [], "validation": []}
    for label in range(len(dataset.class_names)):
        indices = draws.permutation(np.flatnonzero(train_split.labels == label))
        count = max(1, round(share * len(indices)))
        chosen["train"] += indices[:count].tolist()
        chosen["validation"] += indices[count : count + max(1, round(count / 10))].tolist()
    if not chosen["validation"]:
        raise DataError(
            f"{escape(dataset.source)}: no class has more than one training photo; this study needs some for validation. "
            "Use other photos (--data)."
        )
    splits = {name: train_split.subset(sorted(indices)) for name, indices in chosen.items()}
    return dataclasses.replace(dataset, splits={**splits, "test": scored})


def run(arm: Arm, context: ArmContext) -> Mapping[str, Any]:
    """Train by `allmlp.train`; an interrupted run continues."""
    photos = few_photos(context.dataset, share=arm.settings["share"], seed=arm.seed)
    planned = recipe(arm.settings, arm.seed)
    folder = context.folder / "run"
    progress = EveryTenth(context.report, arm.settings["num_steps"])
    train(planned, photos, folder, device=context.device, progress=progress, resume=True)
    facts = json.loads(RunLayout(folder).metrics.read_text())
    return {
        "top1": facts["evaluations"]["test"]["top1"],
        "train_top1": facts["train"]["top1"],
        "num_photos": len(photos.splits["train"]),
        "num_epochs": facts["num_epochs"],
        "minutes": round(facts["seconds"] / 60, 2),
        "images_per_second": facts["images_per_second"],
        "parameters": num_parameters(planned.model.with_num_classes(len(photos.class_names))),
    }


def table(results: Sequence[ArmResult]) -> Table:
    rows = []
    for name in dict.fromkeys(result.arm.name for result in results):
        runs = [result.figures for result in results if result.arm.name == name]
        effect = _minus_all(results, name)
        rows.append(
            (
                name,
                _percent([run["train_top1"] for run in runs]),
                _percent([run["top1"] for run in runs]),
                "" if name == ALL else mean_and_std(effect, signed=True),
                f"{runs[0]['num_epochs']:.0f}",
                f"{spread([run['images_per_second'] for run in runs])['median']:,.0f}",
                str(len(runs)),
            )
        )
    columns = (
        "regularisation",
        "top-1 on training photos, %",
        "top-1 on test photos, %",
        "minus all, points",
        "epochs",
        "photos/s in training",
        "n",
    )
    return Table(columns, rows)


def _percent(values: Sequence[float]) -> str:
    return mean_and_std(spread(values), scale=100)


def _minus_all(results: Sequence[ArmResult], name: str) -> dict[str, float]:
    """Return the spread over seeds of an arm's test top-1 minus that with all of table 4 on the same photos, in points."""
    top1 = {(result.arm.name, result.arm.seed): result.figures["top1"] for result in results}
    seeds = sorted({result.arm.seed for result in results})
    return spread([100 * (top1[name, seed] - top1[ALL, seed]) for seed in seeds])


def agreement(results: Sequence[ArmResult]) -> str:
    none = _minus_all(results, NONE)
    verdict = verdict_on_gain({**none, "mean": -none["mean"]})  # of all of table 4 over none of it
    parts = {part: _minus_all(results, f"without {part}") for part in PARTS}
    listed = ", ".join(f"{part} {mean_and_std(figures, signed=True)}" for part, figures in parts.items())
    dropout = _minus_all(results, DROPOUT)
    return (
        f"{verdict}: without any of table 4's regularisation, top-1 on test photos changes by "
        f"{mean_and_std(none, signed=True)} points. Without one part, in points: {listed}. With dropout 0.1, which table 4 "
        f"does not have, {mean_and_std(dropout, signed=True)} "
        f"({counted(none['n'], 'seed')}, each with its own training photos)."
    )


def figure(results: Sequence[ArmResult]) -> Figure:
    """Draw a row per arm, on test photos and on training photos; the paper has no plot of this."""
    drawing = new_figure(height=3.6)
    names = list(dict.fromkeys(result.arm.name for result in results))
    colours = dict.fromkeys(names, COLOURS[0]) | {NONE: COLOURS[1], DROPOUT: COLOURS[7]}
    axes = panels(drawing, ["Test photos", "Training photos, not augmented"])
    for panel, key in zip(axes, ("top1", "train_top1"), strict=True):
        rows = {name: [result.figures[key] for result in results if result.arm.name == name] for name in names}
        dots(panel, rows, x="top-1", colours=colours, reference=ALL)
    axes[1].tick_params(labelleft=False)
    return drawing


# Settings of recipe imagenet_b16 without a part of table 4.
_WITHOUT: Mapping[str, str] = {
    "RandAugment": "augmentation.rand_augment_layers=0 --set augmentation.rand_augment_magnitude=10",
    "mixup": "augmentation.mixup=0",
    "stochastic depth": "model.stochastic_depth=0",
    "weight decay": "optimizer.weight_decay=0",
}


def _full_scale() -> list[FullScale]:
    """Return the training of each arm. All cost as much: the same Mixer sees as many photos."""
    whole = paper_training("imagenet_b16")
    changes = ["", *_WITHOUT.values(), " --set ".join(_WITHOUT.values()), "model.dropout=0.1"]
    return [
        dataclasses.replace(whole, command=f"{whole.command} --set {change}" if change else whole.command)
        for change in changes
    ]


STUDY = Study(
    name="regularisation",
    title="Table 4's regularisation, part by part",
    claim="Mixers are competitive when trained on large data sets, or with modern regularisation (abstract). On "
    "ImageNet and ImageNet-21k the paper adds RandAugment, mixup and stochastic depth to crop, flip and weight decay, "
    "with strengths chosen by a grid that includes 0 for these three and dropout 0 or 0.1 (appendix B, table 4).",
    outcome="Table 4 for Mixer-B on ImageNet: RandAugment of magnitude 15, mixup 0.5, stochastic depth 0.1, weight "
    "decay 0.1, no dropout. The paper does not state what each part contributes.",
    setup="A tenth of CIFAR-10's training photos, drawn anew for each seed, on which a small Mixer overfits; patches "
    "of 8 pixels. Table 4's settings for ImageNet, each part taken away, all of them taken away, and dropout added. "
    "Trained by `allmlp.train` with the paper's linear decay; instead of inception crops there are shifts of up to 4 "
    "pixels, and batches of 100 instead of 4,096. Nothing is chosen: the last weights are scored.",
    data="cifar10",
    arms=arms,
    run=run,
    minutes=36,
    table=table,
    agreement=agreement,
    figure=figure,
    full_scale=_full_scale(),
    extras={"timm": "randaugment"},
)
