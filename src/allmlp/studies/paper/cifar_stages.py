"""How study cifar_record trains a small Mixer: stages one after another, each from the weights of the one before."""

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from allmlp.checkpoints import load_checkpoint, save_checkpoint
from allmlp.data import Augmentation, ImageDataset
from allmlp.model import MixerTemplate, num_multiply_adds
from allmlp.runs.layout import RunLayout
from allmlp.runs.saved_split import saved_split
from allmlp.studies.learning.run_progress import EveryTenth
from allmlp.studies.study import ArmContext
from allmlp.training import (
    DataConfig,
    OptimizerConfig,
    Recipe,
    ScheduleConfig,
    TransferConfig,
    stored_run,
    train,
)

__all__ = ["multiply_adds", "stages", "train_stages"]


def stages(settings: Mapping[str, Any], seed: int) -> list[Recipe]:
    """Return the recipes that an arm trains one after another, each from the weights of the one before.

    The arm may compute as much as `num_steps` steps with patches of 4 pixels. `coarse_share` of it goes to patches of 8 pixels,
    whose steps cost about a quarter; then the patches are halved. The photos of the last `clean_share` are not mixed or
    distorted. One linear decay of the learning rate spans all stages; a cosine decay has one stage.
    """
    budget, clean, coarse = settings["num_steps"], settings["clean_share"], settings["coarse_share"]
    fine_model = _model(settings, 4)
    coarse_model = _model(settings, 8)
    ratio = multiply_adds(fine_model) / multiply_adds(coarse_model)
    lengths = {
        "coarse": round(ratio * coarse * budget),
        "fine": round((1 - coarse) * budget * (1 - clean)),
        "clean": round((1 - coarse) * budget * clean),
    }
    total, done = sum(lengths.values()), 0
    recipes: list[Recipe] = []
    for name, num_steps in lengths.items():
        if not num_steps:
            continue
        start, end = 1 - done / total, 1 - (done + num_steps) / total
        model = coarse_model if name == "coarse" else fine_model
        facts: dict[str, Any] = {"seed": seed, "model": model, "is_first": not recipes}
        recipes.append(_recipe(settings, name=name, num_steps=num_steps, start=start, end=max(0.0, end), **facts))
        done += num_steps
    return recipes


def train_stages(
    recipes: list[Recipe], dataset: ImageDataset, context: ArmContext, *, is_tested: bool
) -> dict[str, Any]:
    """Train the stages and return JSON figures. Stages that are finished are not repeated, and a stopped one continues.

    The test photos are read by the last stage only, which scores them once, and only if `is_tested`.
    """
    untested = dataclasses.replace(
        dataset, splits={name: split for name, split in dataset.splits.items() if name != "test"}
    )
    minutes = photos_seen = 0.0
    folder: Path | None = None
    for number, recipe in enumerate(recipes, 1):
        if folder is not None:
            start = context.folder / f"{number}-start"
            if not (start / "config.json").exists():  # which gets its name after the weights
                _grow(folder, start, recipe)
            recipe = dataclasses.replace(recipe, transfer=TransferConfig(checkpoint=str(start)))  # noqa: PLW2901
        folder = context.folder / f"{number}-{recipe.name}"
        context.report(f"  stage {number} of {len(recipes)}: {recipe.name}, {recipe.num_steps:,} steps")
        photos = dataset if is_tested and number == len(recipes) else untested
        progress = EveryTenth(context.report, recipe.num_steps or 1)
        train(recipe, photos, folder, device=context.device, progress=progress, resume=True)
        facts = json.loads(RunLayout(folder).metrics.read_text())
        minutes += facts["seconds"] / 60
        photos_seen += facts["num_steps"] * recipe.batch_size
    assert folder is not None
    run = stored_run(folder)
    assert run is not None
    return {
        "validation_top1": facts["evaluations"]["validation"]["top1"],
        **({"test_top1": facts["evaluations"]["test"]["top1"]} if is_tested else {}),
        "photos_seen": round(photos_seen),
        "epochs": round(photos_seen / len(saved_split(folder)["train"]), 1),
        "minutes": round(minutes, 1),
        "precision": run.recipe.precision,
    }


def multiply_adds(model: MixerTemplate) -> int:
    """Return the multiply-adds of a photo's forward pass, with ten classes."""
    return num_multiply_adds(model.with_num_classes(10))


def _model(settings: Mapping[str, Any], patch_size: int) -> MixerTemplate:
    return MixerTemplate(
        image_size=(32, 32), patch_size=patch_size, num_blocks=8, gelu="erf", stochastic_depth=0.0, **settings["widths"]
    )


def _recipe(
    settings: Mapping[str, Any],
    *,
    name: str,
    num_steps: int,
    start: float,
    end: float,
    seed: int,
    model: MixerTemplate,
    is_first: bool,
) -> Recipe:
    is_clean, is_cosine = name == "clean", settings["decay"] == "cosine"
    distortions: dict[str, Any] = {}
    if not is_clean:
        distortions = {"cutmix": 1.0, "mix_probability": settings["mixing"]}
    if settings["rand_augment"] and not is_clean:
        distortions |= {"rand_augment_layers": 2, "rand_augment_magnitude": float(settings["rand_augment"])}
    return Recipe(
        name=name,
        model=model,
        num_epochs=0,
        num_steps=num_steps,
        batch_size=settings["batch_size"],
        seed=seed,
        data=DataConfig(mean=(0.4914, 0.4822, 0.4465), std=(0.2470, 0.2435, 0.2616)),
        augmentation=Augmentation(
            crop="pad",
            pad_pixels=4,
            flip=True,
            label_smoothing=0.1,
            **distortions,
        ),
        optimizer=_optimizer(settings, start),
        schedule=ScheduleConfig(
            warmup=0.02 if is_first else 0.0,
            decay=settings["decay"],
            final_fraction=1e-3 if is_cosine else end / start,
        ),
        ema_decay=settings["ema_decay"],
        best_by="last",
    )


def _optimizer(settings: Mapping[str, Any], start: float) -> OptimizerConfig:
    """Return the optimizer of a stage whose learning rate starts at a share of the highest."""
    if settings["optimizer"] == "muon":
        return OptimizerConfig(
            name="muon", learning_rate=0.02 * start, adamw_learning_rate=2e-3 * start, weight_decay=0.1, momentum=0.95
        )
    return OptimizerConfig(
        name="adamw",
        learning_rate=1e-3 * start,
        weight_decay=5e-2,
        betas=(0.9, 0.99),
        clip_norm=settings["clip_norm"],
    )


def _grow(run: Path, path: Path, recipe: Recipe) -> None:
    """Write the weights of a run for the patch size of the next stage: more tokens, and as many hidden units.

    The patch projection is resized by pseudo-inverse (FlexiViT), and token mixing by resampling of its grid.
    """
    checkpoint = load_checkpoint(run)
    if checkpoint.config.patch_size != recipe.model.patch_size:
        checkpoint = checkpoint.at_patch_size(recipe.model.patch_size).at_resolution(
            recipe.model.image_size, method="resample"
        )
    save_checkpoint(checkpoint, path)
