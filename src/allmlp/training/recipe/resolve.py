"""The rules by which a requested recipe becomes the recipe of a run.

    requested    with_settings, with_learning_rate, fitted_as: changed by the user, a sweep, or the photos
    resolved     with_checkpoint, resolve: completed from the checkpoint, the data and the device
    resumed      resumed_recipe: the recipe of a stored run, after comparison with the request

Does not load torch until a precision of "auto" is resolved.
"""

import dataclasses
import json
import math
import shlex
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, TypeVar

from allmlp.checkpoints import Checkpoint
from allmlp.config import from_dict, key_of, override, to_dict
from allmlp.data import ImageDataset
from allmlp.errors import ConfigError
from allmlp.io.display import Report, counted, escape
from allmlp.model import MixerConfig, MixerTemplate
from allmlp.training.recipe.cached_passes import check_cached_settings, with_cached_passes
from allmlp.training.recipe.folds import check_fold_revisions, without_folds
from allmlp.training.recipe.initial_checkpoint import load_initial_checkpoint
from allmlp.training.recipe.recipe import Recipe, ResolvedRecipe
from allmlp.training.recipe.result_settings import CHANGEABLE
from allmlp.training.recipe.source_paths import absolute_source, is_same_source

__all__ = [
    "check_divisible",
    "fitted_as",
    "resolve",
    "resolved_from_dict",
    "resolved_with_checkpoint",
    "resumed_recipe",
    "type_checked",
    "with_checkpoint",
    "with_learning_rate",
    "with_settings",
]

AnyRecipe = TypeVar("AnyRecipe", bound=Recipe)
AnyMixer = TypeVar("AnyMixer", bound=MixerTemplate)

# Settings that a checkpoint decides, apart from the model; and settings of the model that it leaves to the recipe.
_DECIDED_BY_CHECKPOINT = ("data.mean", "data.std")
_LEFT_TO_RECIPE = ("num_classes", "dropout", "stochastic_depth")  # the first is compared with the data


def type_checked(recipe: Recipe) -> Recipe:
    """Return a plain `Recipe` after checking the type of every value; a recipe built in Python is checked nowhere else.

    A resolved recipe keeps all its values.

    Raises:
        ConfigError: a value of the wrong type.
    """
    return from_dict(Recipe, to_dict(recipe), where=f"recipe {recipe.name!r}")


def with_settings(recipe: Recipe, assignments: Sequence[str]) -> Recipe:
    """Return a recipe with assignments such as "transfer.trained_blocks=2" applied; see `config.override`.

    Raises:
        ConfigError: as `override`; or a setting without effect: one that the initial checkpoint decides, a layer-wise decay
            although only the classifier is trained, or a rule for the best weights with cross-validation.
    """
    changed = override(recipe, assignments)
    keys = dict.fromkeys(map(key_of, assignments))
    if changed.data.folds and "best_by" in keys and changed.best_by != "last":
        raise ConfigError(
            f"best_by is {changed.best_by} and data.folds {changed.data.folds}: the runs of a cross-validation keep their last "
            "weights, because none may choose them by the photos that it scores. Omit best_by, or hold out photos (--folds 0)."
        )
    if changed.transfer.checkpoint is None:
        return changed
    without_effect = [
        key
        for key in keys
        if key in _DECIDED_BY_CHECKPOINT
        or (key.startswith("model.") and key.removeprefix("model.") not in _LEFT_TO_RECIPE)
    ]
    if without_effect:
        raise ConfigError(
            f"--set {', '.join(without_effect)}: training starts from a checkpoint ({changed.transfer.checkpoint}), which "
            "decides this. Omit it, or start from random weights (allmlp train with another recipe). To change the image "
            "size, use --image-size or transfer.image_size."
        )
    if changed.transfer.trained_blocks == 0 and "transfer.layer_decay" in keys:
        raise ConfigError(
            "--set transfer.layer_decay: only the classifier is trained (transfer.trained_blocks is 0), at a single rate. "
            "Omit it, or train some of the blocks."
        )
    check_cached_settings(changed, keys)
    return changed


def with_learning_rate(recipe: Recipe, learning_rate: float) -> Recipe:
    """Return a recipe with another peak learning rate; with Muon, the rate of the AdamW part changes in proportion.

    Raises:
        ConfigError: an invalid rate.
    """
    optimizer = recipe.optimizer
    adamw_rate = optimizer.adamw_learning_rate
    if adamw_rate is not None:
        adamw_rate *= learning_rate / optimizer.learning_rate
    changed = dataclasses.replace(optimizer, learning_rate=learning_rate, adamw_learning_rate=adamw_rate)
    return dataclasses.replace(recipe, optimizer=changed)


def fitted_as(recipe: AnyRecipe, stored: Recipe) -> AnyRecipe:
    """Return a recipe with what was fitted to the photos of a stored run: its numbers of epochs and folds."""
    data = dataclasses.replace(recipe.data, folds=stored.data.folds)
    return dataclasses.replace(recipe, num_epochs=stored.num_epochs, data=data, best_by=stored.best_by)


def with_checkpoint(recipe: AnyRecipe, checkpoint: Checkpoint) -> AnyRecipe:
    """Return a recipe with the model and the pre-processing of `checkpoint`, its initial checkpoint."""
    assert recipe.transfer.checkpoint is not None
    source = absolute_source(recipe.transfer.checkpoint)
    preprocessing = checkpoint.preprocessing
    interpolation = recipe.data.interpolation or preprocessing.interpolation
    data = dataclasses.replace(recipe.data, mean=preprocessing.mean, std=preprocessing.std, interpolation=interpolation)
    changed = dataclasses.replace(
        recipe,
        model=_with_mixer(recipe.model, checkpoint.config),
        data=data,
        transfer=dataclasses.replace(recipe.transfer, checkpoint=source),
    )
    return with_cached_passes(changed)


def resolved_with_checkpoint(recipe: Recipe, *, report: Report) -> Recipe:
    """Return a recipe with the settings that its initial checkpoint decides, if it has one.

    Raises:
        CheckpointError, ConfigError: as `load_initial_checkpoint`.
    """
    if recipe.transfer.checkpoint is None:
        return recipe
    return with_checkpoint(recipe, load_initial_checkpoint(recipe.transfer, report=report))


def check_divisible(recipe: Recipe, *, num_processes: int) -> None:
    """Check that each process can compute an equal part of every batch.

    Raises:
        ConfigError: the batch size is not a multiple of the number of parts.
    """
    num_parts = num_processes * recipe.accumulation
    if recipe.batch_size % num_parts:
        raise ConfigError(
            f"batch_size {recipe.batch_size} cannot be divided among {num_processes} processes"
            f"{f' with accumulation={recipe.accumulation}' if recipe.accumulation > 1 else ''}: it is the batch size over "
            f"all processes. Set it to a multiple of {num_parts}."
        )


def resolve(recipe: Recipe, dataset: ImageDataset, device: str) -> ResolvedRecipe:
    """Return a recipe with the settings that the data and the device decide: classes, precision and epochs.

    An initial checkpoint must have been applied before (`with_checkpoint`). `device` is "cpu", "cuda" or "mps".

    Raises:
        ConfigError: the number of classes is not that of the data, epochs and steps contradict each other, the warm-up is as
            long as the run, or the revisions are not those of all folds.
    """
    num_classes, num_photos = len(dataset.class_names), len(dataset.splits["train"])
    if recipe.model.num_classes not in (None, num_classes):
        raise ConfigError(
            f"model.num_classes is {recipe.model.num_classes}, but {escape(dataset.source)} has {num_classes} classes. "
            "Omit it: the data decides (in Python, a recipe's model is a MixerTemplate)."
        )
    check_fold_revisions(recipe)
    if "validation" in dataset.splits:
        recipe = without_folds(recipe)
    if recipe.data.folds:
        recipe = dataclasses.replace(recipe, best_by="last")
    resolved = _complete(
        recipe,
        model=recipe.model.with_num_classes(num_classes),
        precision=_precision(recipe, device),
        num_epochs=_num_epochs(recipe, num_photos=num_photos),
    )
    _check_warmup(resolved, num_steps=resolved.num_steps_on(num_photos))
    return resolved


def resolved_from_dict(values: Mapping[str, Any], *, where: str) -> ResolvedRecipe:
    """Return the resolved recipe stored in a run's recipe.json; `where` leads every error message.

    Raises:
        ConfigError: as `from_dict`, or a setting is unresolved.
    """
    recipe = from_dict(Recipe, values, where=where)
    try:
        return _complete(recipe)  # older versions wrote an interpolation of None
    except ConfigError as error:
        raise ConfigError(f"{where}: {error}") from error


def _complete(recipe: Recipe, **changes: Any) -> ResolvedRecipe:
    values = {field.name: getattr(recipe, field.name) for field in dataclasses.fields(recipe)} | changes
    interpolation = recipe.data.preprocessing(recipe.model.image_size).interpolation
    values["data"] = dataclasses.replace(recipe.data, interpolation=interpolation)
    values["model"] = values["model"].with_num_classes(values["model"].num_classes)
    return ResolvedRecipe(**values)


def _precision(recipe: Recipe, device: str) -> Literal["float32", "bfloat16"]:
    if recipe.precision != "auto":
        return recipe.precision
    from allmlp.hardware.devices import is_bfloat16_faster

    return "bfloat16" if is_bfloat16_faster(device) else "float32"


def _num_epochs(recipe: Recipe, *, num_photos: int) -> int:
    """Return the number of epochs of a run: the recipe's, or as many as its steps amount to."""
    if recipe.num_steps is None:
        return recipe.num_epochs
    num_epochs = max(1, math.ceil(recipe.num_steps * recipe.batch_size / num_photos))
    if recipe.num_epochs not in (0, num_epochs):
        raise ConfigError(
            f"num_epochs is {recipe.num_epochs} and num_steps is {recipe.num_steps:,}: only one of them can set the length. "
            "Set num_epochs to 0, or num_steps to none (--set num_steps=none)."
        )
    return num_epochs


def _check_warmup(recipe: ResolvedRecipe, *, num_steps: int) -> None:
    warmup_steps = recipe.schedule.warmup_steps
    if warmup_steps is not None and warmup_steps >= num_steps:
        raise ConfigError(
            f"schedule.warmup_steps is {warmup_steps:,}, but on this data the run has {counted(num_steps, 'step')}: "
            "the learning rate would never reach its peak. Train for longer, or set the warm-up as a fraction of the steps: "
            "--set schedule.warmup_steps=none --set schedule.warmup=0.05."
        )


def resumed_recipe(recipe: Recipe, stored: ResolvedRecipe, *, where: Path) -> ResolvedRecipe:
    """Return the recipe of the run in the folder `where`, after comparing it with the requested recipe.

    Settings that are resolved when a run starts may be unresolved in `recipe`. Settings that do not affect results may differ
    and are taken from `recipe`: how photos are read, when snapshots are saved, `on_nonfinite` and `sharded`.

    Raises:
        ConfigError: the settings that differ, each with both values.
    """
    recipe = with_cached_passes(_with_same_checkpoint(recipe, stored))
    differences = {
        key: f"{key}: the run has {json.dumps(old)}, now {json.dumps(new)}"
        for key, old, new in _differences(to_dict(stored), to_dict(recipe), "")
        if not key.startswith(CHANGEABLE) and not _is_unresolved(key, old, new, recipe)
    }
    if differences:
        longer = f"\nTo train its best weights longer: allmlp finetune PHOTOS --from {shlex.quote(str(where))}"
        raise ConfigError(
            f"{where}: a run must be resumed with the settings it was started with. These differ:\n  "
            + "\n  ".join(differences.values())
            + "\nOmit them to resume the run, or start a new run with --out."
            + (longer if differences.keys() & {"num_epochs", "num_steps", "max_minutes"} else "")
        )
    data = dataclasses.replace(stored.data, storage=recipe.data.storage, num_workers=recipe.data.num_workers)
    return dataclasses.replace(
        stored, data=data, saving=recipe.saving, on_nonfinite=recipe.on_nonfinite, sharded=recipe.sharded
    )


def _with_same_checkpoint(recipe: Recipe, stored: ResolvedRecipe) -> Recipe:
    """Return `recipe` with the settings that the run's checkpoint decided, if both have the same; its file may be gone."""
    source = stored.transfer.checkpoint
    if source is None or not is_same_source(recipe.transfer.checkpoint, source):
        return recipe
    interpolation = recipe.data.interpolation or stored.data.interpolation
    return dataclasses.replace(
        recipe,
        model=_with_mixer(recipe.model, stored.model),
        data=dataclasses.replace(recipe.data, mean=stored.data.mean, std=stored.data.std, interpolation=interpolation),
        transfer=dataclasses.replace(recipe.transfer, checkpoint=source),
    )


def _with_mixer(model: AnyMixer, mixer: MixerConfig) -> AnyMixer:
    """Return `model` with all settings of `mixer` except those that are left to the recipe."""
    names = {field.name for field in dataclasses.fields(mixer)}.difference(_LEFT_TO_RECIPE)
    return dataclasses.replace(model, **{name: getattr(mixer, name) for name in names})


def _is_unresolved(key: str, stored: Any, given: Any, recipe: Recipe) -> bool:
    """Return whether `given` is an unresolved value that was resolved to `stored` when the run started."""
    if key == "model.num_classes":
        return given is None
    if key == "precision":
        return bool(given == "auto")
    if key in ("data.folds", "schedule.fold_revisions"):  # the data has a validation split
        return bool(given and not stored)
    if key == "best_by":  # decided by cross-validation
        return bool(recipe.data.folds)
    if key in ("data.interpolation", "distillation.digest"):
        return given is None
    if key == "distillation.teacher":
        return is_same_source(given, stored)
    return key == "num_epochs" and recipe.num_steps is not None and bool(given == 0)


def _differences(old: Mapping[str, Any], new: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, Any, Any]]:
    for name in old:
        if isinstance(old[name], dict):
            yield from _differences(old[name], new[name], f"{prefix}{name}.")
        elif old[name] != new[name]:
            yield f"{prefix}{name}", old[name], new[name]
