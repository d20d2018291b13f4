"""Every rule by which the recipe that is asked for becomes the recipe that is run.

    asked        with_settings, at_learning_rate, with_num_epochs: changed by the user, a sweep, or the number of photos
    resolved     with_checkpoint, resolve: what the checkpoint, the data and the device decide is filled in
    continued    continued: a stored run's own recipe, once it was compared with what is asked for now

No torch here until a precision of "auto" is resolved.
"""

import dataclasses
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, TypeVar

from allmlp.checkpoints import STARTER, Checkpoint
from allmlp.config import from_dict, override, to_dict
from allmlp.data import ImageDataset
from allmlp.errors import ConfigError
from allmlp.io.display import Report
from allmlp.model import MixerConfig, MixerTemplate
from allmlp.training.recipe.initial_checkpoint import load_initial_checkpoint
from allmlp.training.recipe.recipe import Recipe, ResolvedRecipe

__all__ = [
    "asked",
    "at_learning_rate",
    "check_divisible",
    "continued",
    "is_same_source",
    "resolve",
    "resolved_from_dict",
    "resolved_with_checkpoint",
    "with_checkpoint",
    "with_num_epochs",
    "with_settings",
]

AnyRecipe = TypeVar("AnyRecipe", bound=Recipe)
AnyMixer = TypeVar("AnyMixer", bound=MixerTemplate)

# What a checkpoint decides, apart from the model; and what it leaves to the recipe of the model.
_DECIDED_BY_CHECKPOINT = ("data.mean", "data.std")
_LEFT_TO_RECIPE = ("num_classes", "dropout", "stochastic_depth")  # the first is compared with the data

# What may change when a run is continued: it changes no result.
_FREE = ("data.storage", "data.num_workers", "saving.", "on_nonfinite", "sharded")


def asked(recipe: Recipe) -> Recipe:
    """Return a recipe as something to ask for, with the type of every value checked: in Python nothing else checks them.

    A resolved recipe asks for exactly what it holds.

    Raises:
        ConfigError: a value of the wrong type.
    """
    return from_dict(Recipe, to_dict(recipe), where=f"recipe {recipe.name!r}")


def with_settings(recipe: Recipe, assignments: Sequence[str]) -> Recipe:
    """Return a recipe with assignments such as "transfer.trained_blocks=2" applied; see `config.override`.

    Raises:
        ConfigError: as `override`; or settings without effect: what the initial checkpoint decides, or a decay of the learning
            rate over layers that are not trained.
    """
    changed = override(recipe, assignments)
    if changed.transfer.checkpoint is None:
        return changed
    keys = dict.fromkeys(assignment.partition("=")[0].strip() for assignment in assignments)
    without_effect = [
        key
        for key in keys
        if key in _DECIDED_BY_CHECKPOINT
        or (key.startswith("model.") and key.removeprefix("model.") not in _LEFT_TO_RECIPE)
    ]
    if without_effect:
        raise ConfigError(
            f"--set {', '.join(without_effect)}: training starts from a checkpoint ({changed.transfer.checkpoint}), which "
            "decides that. Omit it, or start from random weights (allmlp train, by another recipe). Another image size is "
            "set by --image-size or transfer.image_size."
        )
    if changed.transfer.trained_blocks == 0 and "transfer.layer_decay" in keys:
        raise ConfigError(
            "--set transfer.layer_decay: the classifier alone is trained (transfer.trained_blocks is 0), all at one rate. "
            "Leave it out, or train some blocks."
        )
    return changed


def at_learning_rate(recipe: Recipe, learning_rate: float) -> Recipe:
    """Return a recipe at another peak learning rate; under Muon the rate of AdamW's part changes in proportion.

    Raises:
        ConfigError: an invalid rate.
    """
    optimizer = recipe.optimizer
    second = optimizer.adamw_learning_rate
    if second is not None:
        second *= learning_rate / optimizer.learning_rate
    changed = dataclasses.replace(optimizer, learning_rate=learning_rate, adamw_learning_rate=second)
    return dataclasses.replace(recipe, optimizer=changed)


def with_num_epochs(recipe: AnyRecipe, num_epochs: int) -> AnyRecipe:
    """Return a recipe of another length: of a stored run, or of what fits into the time."""
    return dataclasses.replace(recipe, num_epochs=num_epochs)


def with_checkpoint(recipe: AnyRecipe, checkpoint: Checkpoint) -> AnyRecipe:
    """Return a recipe with the Mixer and the pre-processing of its initial checkpoint, which was read."""
    source = recipe.transfer.checkpoint
    assert source is not None
    if source != STARTER and Path(source).exists():
        source = str(Path(source).absolute())  # the run may be continued from another folder
    used = checkpoint.preprocessing
    interpolation = recipe.data.interpolation or used.interpolation
    return dataclasses.replace(
        recipe,
        model=_with_mixer(recipe.model, checkpoint.config),
        data=dataclasses.replace(recipe.data, mean=used.mean, std=used.std, interpolation=interpolation),
        transfer=dataclasses.replace(recipe.transfer, checkpoint=source),
    )


def resolved_with_checkpoint(recipe: Recipe, *, report: Report) -> Recipe:
    """Return a recipe with what its initial checkpoint decides, where it has one; the data and the device decide the rest.

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
            f"{f' in {recipe.accumulation} parts each' if recipe.accumulation > 1 else ''}: it is the batch of all "
            f"together. The nearest multiple of {num_parts} will do."
        )


def resolve(recipe: Recipe, dataset: ImageDataset, device: str) -> ResolvedRecipe:
    """Return a recipe with everything filled in that the data and the device decide: classes, precision, epochs.

    An initial checkpoint has been applied before (`with_checkpoint`). `device` is "cpu", "cuda" or "mps".

    Raises:
        ConfigError: the recipe asks for another number of classes than the data has, for epochs and steps that differ, or for a
            warm-up as long as the run.
    """
    num_classes, num_photos = len(dataset.class_names), len(dataset.splits["train"])
    if recipe.model.num_classes not in (None, num_classes):
        raise ConfigError(
            f"model.num_classes is {recipe.model.num_classes}, but {dataset.source} has {num_classes} classes. "
            "Omit it: the data decides (in Python, a recipe's model is a MixerTemplate)."
        )
    resolved = _fill_in(
        recipe,
        model=recipe.model.with_num_classes(num_classes),
        precision=_precision(recipe, device),
        num_epochs=_num_epochs(recipe, num_photos=num_photos),
    )
    _check_warmup(resolved, num_steps=resolved.num_steps_on(num_photos))
    return resolved


def resolved_from_dict(values: Mapping[str, Any], *, where: str) -> ResolvedRecipe:
    """Return the resolved recipe that a run's recipe.json holds; `where` leads every error message.

    Raises:
        ConfigError: as `from_dict`, or a recipe that leaves something open.
    """
    recipe = from_dict(Recipe, values, where=where)
    try:
        return _fill_in(recipe)  # older versions wrote an interpolation of None
    except ConfigError as error:
        raise ConfigError(f"{where}: {error}") from error


def _fill_in(recipe: Recipe, **changes: Any) -> ResolvedRecipe:
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
    """Return the epochs of a run: the recipe's, or as many as its steps take."""
    if recipe.num_steps is None:
        return recipe.num_epochs
    num_epochs = max(1, math.ceil(recipe.num_steps * recipe.batch_size / num_photos))
    if recipe.num_epochs not in (0, num_epochs):
        raise ConfigError(
            f"num_epochs is {recipe.num_epochs} and num_steps is {recipe.num_steps:,}: only one of them can decide. "
            "Set num_epochs to 0, or num_steps to none (--set num_steps=none)."
        )
    return num_epochs


def _check_warmup(recipe: ResolvedRecipe, *, num_steps: int) -> None:
    warmup_steps = recipe.schedule.warmup_steps
    if warmup_steps is not None and warmup_steps >= num_steps:
        raise ConfigError(
            f"schedule.warmup_steps is {warmup_steps:,}, but this data makes {num_steps:,} steps in all: the learning rate "
            "would never reach its peak. Train for longer, or let warm-up be a share of the steps: "
            "--set schedule.warmup_steps=none --set schedule.warmup=0.05."
        )


def continued(recipe: Recipe, stored: ResolvedRecipe, *, where: Path) -> ResolvedRecipe:
    """Return the recipe of the run in the folder `where`, after comparing it with what is asked for now.

    What is filled in when a run starts may be left open. What changes no result may differ, and is taken from `recipe`: how
    photos are read, when the run is saved, what a step that is not finite does, and who keeps the weights.

    Raises:
        ConfigError: every setting that differs, with both values.
    """
    recipe = _with_same_checkpoint(recipe, stored)
    differences = [
        f"{key}: the run has {json.dumps(ours)}, now {json.dumps(theirs)}"
        for key, ours, theirs in _differences(to_dict(stored), to_dict(recipe), "")
        if not key.startswith(_FREE) and not _is_left_open(key, ours, theirs, recipe)
    ]
    if differences:
        raise ConfigError(
            f"{where}: a run is continued as it was started. These settings differ:\n  "
            + "\n  ".join(differences)
            + "\nOmit them to continue, or start a new run with --out."
        )
    data = dataclasses.replace(stored.data, storage=recipe.data.storage, num_workers=recipe.data.num_workers)
    return dataclasses.replace(
        stored, data=data, saving=recipe.saving, on_nonfinite=recipe.on_nonfinite, sharded=recipe.sharded
    )


def is_same_source(given: str | None, stored: str | None) -> bool:
    """Whether a checkpoint that was named is the one that a run was initialised from."""
    return given == stored or (given not in (None, STARTER) and str(Path(given).absolute()) == stored)


def _with_same_checkpoint(recipe: Recipe, stored: ResolvedRecipe) -> Recipe:
    """Return `recipe` with what its checkpoint decided, if it is the run's; the checkpoint itself may be gone by now."""
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


def _with_mixer(model: AnyMixer, decided: MixerConfig) -> AnyMixer:
    """Return `decided` but for what is left to the recipe, which stays as in `model`, as does its type."""
    names = {field.name for field in dataclasses.fields(decided)}.difference(_LEFT_TO_RECIPE)
    return dataclasses.replace(model, **{name: getattr(decided, name) for name in names})


def _is_left_open(key: str, stored: Any, given: Any, recipe: Recipe) -> bool:
    """Whether `given` leaves to the start of a run what `stored` then became."""
    if key == "model.num_classes":
        return given is None
    if key == "precision":
        return bool(given == "auto")
    if key == "data.interpolation":
        return given is None
    if key == "num_epochs" and recipe.num_steps is not None:
        return bool(given == 0)
    return key == "num_epochs" and recipe.max_minutes is not None and bool(given > stored)


def _differences(ours: Mapping[str, Any], theirs: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, Any, Any]]:
    for name in ours:
        if isinstance(ours[name], dict):
            yield from _differences(ours[name], theirs[name], f"{prefix}{name}.")
        elif ours[name] != theirs[name]:
            yield f"{prefix}{name}", ours[name], theirs[name]
