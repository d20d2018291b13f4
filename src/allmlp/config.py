"""Frozen dataclasses as configuration: conversion to and from JSON, and overrides by dotted path, with type checks."""

import dataclasses
import json
import math
import types
import typing
from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypeVar, Union

from allmlp.errors import ConfigError, did_you_mean
from allmlp.io.display import quote

__all__ = ["all_settings", "from_dict", "key_of", "keys_called", "override", "to_dict"]

Config = TypeVar("Config")

MAX_UNKNOWN_KEYS = 50  # named in a message; an unrelated file may hold a million


def to_dict(config: Any) -> dict[str, Any]:
    """Return the fields of a dataclass as JSON values; tuples become lists."""
    result: dict[str, Any] = {}
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        if dataclasses.is_dataclass(value):
            value = to_dict(value)
        result[field.name] = _lists(value)
    return result


def _lists(value: Any) -> Any:
    return [_lists(item) for item in value] if isinstance(value, tuple) else value


def from_dict(cls: type[Config], values: Mapping[str, Any], *, where: str) -> Config:
    """Build a `cls` from JSON values; every error message starts with `where`, a file or a key.

    Raises:
        ConfigError: unknown or missing keys (all in one message), or a value of the wrong type.
    """
    return typing.cast(Config, _build(cls, values, where))


def override(config: Config, assignments: Sequence[str]) -> Config:
    """Return `config` with assignments such as "optimizer.learning_rate=3e-4" applied; the last one for a key wins.

    A value is parsed as JSON, or taken as text if it is not valid JSON or if the key holds text; "none" and "null" mean
    None. Rules between keys are checked after all keys are set, so that keys that depend on each other can change together.

    Raises:
        ConfigError: an assignment without "=", an unknown key (similar keys are suggested) or a value of the wrong type;
            all invalid assignments are reported at once.
    """
    changes: dict[str, Any] = {}
    keys, problems = [], []
    for assignment in assignments:
        key, equals, text = (part.strip() for part in assignment.partition("="))
        keys.append(key)
        try:
            if not equals or not key:
                raise ConfigError(f"--set {assignment!r}: expected KEY=VALUE, such as num_epochs=20.")
            _assign(config, key.split("."), text, key, changes)
        except ConfigError as error:
            problems.append(str(error))
    if problems:
        raise ConfigError("\n".join(problems))
    try:
        return typing.cast(Config, _replace(config, changes))
    except ConfigError as error:  # a rule between keys: report the keys that its message mentions
        mentioned = [key for key in keys if key.rpartition(".")[2] in str(error)] or keys
        raise ConfigError(f"--set {', '.join(dict.fromkeys(mentioned))}: {error}") from error


def key_of(assignment: str) -> str:
    """Return the key of an assignment such as "optimizer.learning_rate=0.01"."""
    return assignment.partition("=")[0].strip()


def all_settings(options: Mapping[str, object], settings: Mapping[str, object] | Sequence[str]) -> list[str]:
    """Return options and settings as one list of assignments, as `override` takes them.

    `options` maps keys to values, None for an option that was not given. `settings` does the same, with None as a value, or
    is a list of assignments.

    Raises:
        ConfigError: a key is set both by its option and by a setting, or `settings` is something else.
    """
    if isinstance(settings, Mapping):
        settings = [f"{key}={_text(value)}" for key, value in settings.items()]
    elif isinstance(settings, str) or not (
        isinstance(settings, Sequence) and all(isinstance(each, str) for each in settings)
    ):
        raise ConfigError(
            f"settings {quote(settings)}: expected a dict such as {{'batch_size': 32}}, or a list such as ['batch_size=32']."
        )
    given = {key: _text(value) for key, value in options.items() if value is not None}
    assigned = set(map(key_of, settings))
    if duplicates := sorted(assigned & given.keys()):
        shown = ", ".join(f"{key} (to {given[key]} by its option)" for key in duplicates)
        raise ConfigError(f"set twice: {shown}. Omit the option or --set {duplicates[0]}=.")
    return [*(f"{key}={value}" for key, value in given.items()), *settings]


def _text(value: object) -> str:
    is_json = value is None or isinstance(value, bool | list | tuple)
    return json.dumps(value, default=str) if is_json else str(value)


def _assign(config: Any, path: Sequence[str], text: str, key: str, changes: dict[str, Any]) -> None:
    """Convert `text` and store the value in `changes`, a tree of the groups that change."""
    hints = _hints(type(config))
    name = path[0]
    if name not in hints:
        prefix = key.removesuffix(".".join(path))
        same_end = [prefix + each for each in keys_called(config, key)]
        if same_end:
            raise ConfigError(
                f"--set {key}: unknown key. Did you mean {' or '.join(map(repr, same_end))}? `--print-recipe` shows all keys."
            )
        raise ConfigError(
            f"--set {key}: unknown key.{did_you_mean(key, _all_keys(config, prefix))} "
            f"Keys at this level: {', '.join(sorted(hints))}. `--print-recipe` shows all keys."
        )
    current = getattr(config, name)
    if len(path) > 1:
        if not dataclasses.is_dataclass(current):
            raise ConfigError(f"--set {key}: {name} is a single value and has no key {path[1]!r}.")
        _assign(current, path[1:], text, key, changes.setdefault(name, {}))
    elif dataclasses.is_dataclass(current):
        inner = ", ".join(f"{key}.{field.name}" for field in dataclasses.fields(current))
        raise ConfigError(f"--set {key}: this is a group; set one of its keys: {inner}.")
    else:
        value = _parse(text)
        takes_text = hints[name] is str or (hints[name] == (str | None) and value is not None)
        if takes_text and not isinstance(value, str):
            value = text  # such as the name 2024
        changes[name] = _convert(hints[name], value, f"--set {key}")


# Keys as other tools call them, and the ends of ours.
_OTHER_NAMES = {
    **dict.fromkeys(("lr", "lr0", "max_lr", "base_lr"), "learning_rate"),
    **dict.fromkeys(("wd", "decay_rate"), "weight_decay"),
    **dict.fromkeys(("opt", "optim", "optimizer", "optimiser"), "optimizer.name"),
    **dict.fromkeys(("bs", "batch", "batch_size_per_gpu"), "batch_size"),
    **dict.fromkeys(("epochs", "epoch", "n_epochs"), "num_epochs"),
    **dict.fromkeys(("steps", "max_steps"), "num_steps"),
    "workers": "num_workers",
    **dict.fromkeys(("imgsz", "img_size", "input_size", "size"), "image_size"),
    **dict.fromkeys(("amp", "half", "fp16", "bf16", "dtype", "native_amp"), "precision"),
    **dict.fromkeys(("sched", "scheduler", "lr_scheduler", "cos_lr"), "schedule.decay"),
    **dict.fromkeys(("warmup_epochs", "warmup_ratio"), "warmup"),
    **dict.fromkeys(("ema", "model_ema", "model_ema_decay"), "ema_decay"),
    **dict.fromkeys(("clip_grad", "grad_clip", "max_grad_norm"), "clip_norm"),
    **dict.fromkeys(("grad_accum", "grad_accum_steps", "accumulate", "nbs"), "accumulation"),
    **dict.fromkeys(("drop_path", "drop_path_rate"), "stochastic_depth"),
    "drop": "dropout",
    "smoothing": "label_smoothing",
    **dict.fromkeys(("aa", "auto_augment", "rand_augment"), "rand_augment_layers"),
    **dict.fromkeys(("reprob", "erasing"), "random_erasing"),
    **dict.fromkeys(("val_split", "valid_pct", "val_pct"), "holdout"),
    **dict.fromkeys(("weighted_sampler", "balanced"), "sampler"),
}


def keys_called(config: Any, name: str) -> list[str]:
    """Return the keys of a configuration that end in `name`, or that other tools call so."""
    last = name.rpartition(".")[2].lower().replace("-", "_")
    wanted = _OTHER_NAMES.get(last, last)
    return [key for key in _all_keys(config) if f".{key}".endswith(f".{wanted}")]


def _replace(config: Any, changes: Mapping[str, Any]) -> Any:
    if not changes:
        return config
    values = {field.name: getattr(config, field.name) for field in dataclasses.fields(config)}
    for name, change in changes.items():
        values[name] = _replace(values[name], change) if dataclasses.is_dataclass(values[name]) else change
    return type(config)(**values)


def _parse(text: str) -> Any:
    if text.lower() in ("none", "null"):
        return None
    try:
        return json.loads(text.lower() if text.lower() in ("true", "false") else text)
    except (ValueError, RecursionError):  # not JSON, a number of over 4,300 digits, or nested too deeply
        return text


def _build(cls: Any, values: Any, where: str) -> Any:
    if not isinstance(values, Mapping):
        raise ConfigError(f"{where}: expected a JSON object ({cls.__name__}), got {quote(values)}.")
    hints = _hints(cls)
    fields = {field.name: field for field in dataclasses.fields(cls)}
    unknown = sorted(set(values) - set(fields))
    problems = [f"unknown key {quote(name)}.{did_you_mean(str(name), fields)}" for name in unknown[:MAX_UNKNOWN_KEYS]]
    if len(unknown) > MAX_UNKNOWN_KEYS:
        problems.append(f"and {len(unknown) - MAX_UNKNOWN_KEYS:,} more unknown keys")
    for name, field in fields.items():
        has_default = field.default is not dataclasses.MISSING or field.default_factory is not dataclasses.MISSING
        if name not in values and not has_default:
            problems.append(f"key {name!r} is missing")
    if problems:
        raise ConfigError(f"{where}: " + "; ".join(problems))
    converted = {name: _convert(hints[name], value, f"{where}: {name}") for name, value in values.items()}
    return _construct(cls, converted, where)


def _construct(cls: Any, values: Mapping[str, Any], where: str) -> Any:
    try:
        return cls(**values)
    except ConfigError as error:  # a rule between fields, which the class itself checks
        raise ConfigError(f"{where}: {error}") from error


def _convert(hint: Any, value: Any, where: str) -> Any:
    origin = typing.get_origin(hint)
    if origin in (Union, types.UnionType):
        return _convert_union(hint, value, where)
    if origin is Literal:
        allowed = typing.get_args(hint)
        if value not in allowed:
            names = ", ".join(str(choice) for choice in allowed)
            raise ConfigError(
                f"{where}: {quote(value)} is not one of {names}.{did_you_mean(str(value), map(str, allowed))}"
            )
        return value
    if origin is tuple:
        return _convert_tuple(hint, value, where)
    if isinstance(hint, type) and dataclasses.is_dataclass(hint):
        return value if isinstance(value, hint) else _build(hint, value, where)
    return _convert_scalar(hint, value, where)


def _convert_union(hint: Any, value: Any, where: str) -> Any:
    if value is None and type(None) in typing.get_args(hint):
        return None
    problems = []
    for choice in typing.get_args(hint):
        if choice is type(None):
            continue
        try:
            return _convert(choice, value, where)
        except ConfigError as error:
            problems.append(error)
    raise problems[-1]


def _convert_tuple(hint: Any, value: Any, where: str) -> Any:
    arguments = typing.get_args(hint)
    if arguments == (int, int) and isinstance(value, int) and not isinstance(value, bool):
        return (value, value)  # (height, width): a single number stands for both, as in the classes that hold the pair
    if isinstance(value, str) or not isinstance(value, Sequence):
        raise ConfigError(f"{where}: expected a list, got {quote(value)}. Write it in brackets: [1,2].")
    if arguments[-1] is Ellipsis:
        arguments = (arguments[0],) * len(value)
    if len(arguments) != len(value):
        raise ConfigError(f"{where}: expected {len(arguments)} values, got {quote(value)}.")
    return tuple(_convert(argument, item, where) for argument, item in zip(arguments, value, strict=True))


def _convert_scalar(hint: Any, value: Any, where: str) -> Any:
    if hint is float and isinstance(value, int | float) and not isinstance(value, bool):
        try:
            number = float(value)
        except OverflowError:  # an integer of over 308 digits
            number = math.inf
        if not math.isfinite(number):
            raise ConfigError(f"{where}: {quote(value)} is not a finite number.")
        return number
    if hint is int and isinstance(value, int) and not isinstance(value, bool):
        return value
    if hint in (str, bool) and isinstance(value, hint):
        return value
    expected = {int: "a whole number", float: "a number", bool: "true or false", str: "text"}
    raise ConfigError(f"{where}: expected {expected.get(hint, str(hint))}, got {quote(value)}.")


def _hints(cls: type) -> dict[str, Any]:
    hints = typing.get_type_hints(cls)
    return {field.name: hints[field.name] for field in dataclasses.fields(cls)}


def _all_keys(config: Any, prefix: str = "") -> typing.Iterator[str]:
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        if dataclasses.is_dataclass(value):
            yield from _all_keys(value, f"{prefix}{field.name}.")
        else:
            yield prefix + field.name
