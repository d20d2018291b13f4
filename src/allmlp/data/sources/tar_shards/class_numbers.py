"""Class names of the samples in tar shards, whose labels may be numbers or names."""

from collections.abc import Mapping, Sequence

from allmlp.data.dataset import SplitName
from allmlp.data.sources.assemble import raise_problems
from allmlp.data.sources.tar_shards.labels import CLASS_NAME_FILES
from allmlp.data.sources.tar_shards.samples import ShardSamples
from allmlp.io.display import escape, summarise

__all__ = ["class_names_of_labels"]

_NO_LABEL = -1  # of a test split whose labels are not public
_MAX_NUMBERED_CLASSES = 100_000  # as of Parquet: without names, every lower number is a class, too

_Named = tuple[dict[SplitName, list[str]], list[str], dict[SplitName, str], list[str]]


def class_names_of_labels(
    source: str,
    splits: Mapping[SplitName, Sequence[str]],
    scanned: Mapping[str, ShardSamples],
    class_names: Sequence[str] | None,
    notes: Sequence[str],
) -> _Named:
    """Return the class name of each photo by split, all class names, the splits that are left out and why, and the notes.

    A validation or test split without any label is left out. `class_names` are those of the file next to the shards; None if
    there is none.

    Raises:
        DataError: photos without a label, or with a number without a name; all are reported.
    """
    left_out: dict[SplitName, str] = {}
    for split, shards in splits.items():
        labels = (label for name in shards for label in scanned[name].labels)
        if split != "train" and "train" in splits and all(label in (None, _NO_LABEL) for label in labels):
            left_out[split] = "its photos have no labels"
    label_notes = [f"the {split} split is left out: {reason}" for split, reason in left_out.items()]
    kept = {split: shards for split, shards in splits.items() if split not in left_out}
    used = [label for shards in kept.values() for name in shards for label in scanned[name].labels]
    numbers = {label for label in used if isinstance(label, int)}
    names = list(class_names or ())
    if class_names is None and numbers:
        names = [str(number) for number in range(min(max(numbers) + 1, _MAX_NUMBERED_CLASSES))]
        label_notes.append(
            f'no file of class names ({CLASS_NAME_FILES[0]}); the classes are named after their numbers, "0", "1", ...'
        )
    problems = [
        line for shards in kept.values() for name in shards for line in _label_problems(name, scanned[name], len(names))
    ]
    raise_problems(source, problems, notes)
    named = {
        split: [
            names[label] if isinstance(label, int) else str(label) for name in shards for label in scanned[name].labels
        ]
        for split, shards in kept.items()
    }
    distinct = {name for of_split in named.values() for name in of_split}
    return named, [*names, *sorted(distinct - set(names))], left_out, label_notes


def _label_problems(shard: str, samples: ShardSamples, num_names: int) -> list[str]:
    missing = [name for name, label in zip(samples.names, samples.labels, strict=True) if label is None]
    beyond = [
        f"{name} ({label})"
        for name, label in zip(samples.names, samples.labels, strict=True)
        if isinstance(label, int) and not 0 <= label < num_names
    ]
    problems = []
    if missing:
        problems.append(
            f"{escape(shard)}: photos without a class ({len(missing):,}): {summarise(missing, limit=5)}; add a .cls or .json "
            "with the same key; if this is a tar of folders, unpack it"
        )
    if beyond:
        problems.append(
            f"{escape(shard)}: class numbers that are not in 0..{num_names - 1} ({len(beyond):,}): "
            f"{summarise(beyond, limit=5)}; correct them, or the file of class names"
        )
    return problems
