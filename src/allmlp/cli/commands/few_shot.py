"""What `allmlp evaluate --shots` does: linear few-shot on frozen features."""

import json
import math
import re
from typing import TYPE_CHECKING, Any, NamedTuple

from allmlp.cli.arguments.checkpoint import size_words
from allmlp.cli.commands.splits import choose, divided, saved_split
from allmlp.cli.console import aligned, command_line, heading, next_commands
from allmlp.errors import ConfigError, DataError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from allmlp.checkpoints import Checkpoint
    from allmlp.data import ImageDataset, Split
    from allmlp.metrics import FewShot

__all__ = ["FewShotOptions", "evaluate_few_shot", "parse_shots"]

_MAX_SHOTS = 1_000_000


class FewShotOptions(NamedTuple):
    """How many examples a class, how often drawn, and by which seed."""

    shots: tuple[int, ...]
    num_draws: int
    seed: int


class _Photos(NamedTuple):
    """The photos that examples are drawn from, and those that are scored."""

    train: "Split"
    name: str
    scored: "Split"
    remark: str


def parse_shots(text: str) -> tuple[int, ...]:
    """Return the numbers of "1,5,10,25" in ascending order.

    Raises:
        ConfigError: anything else.
    """
    parts = [part.strip() for part in text.split(",")]
    bad = [part[:50] for part in parts if not re.fullmatch(r"[0-9]{1,7}", part) or not 1 <= int(part) <= _MAX_SHOTS]
    if bad:
        raise ConfigError(
            f"--shots {text[:100]!r}: {', '.join(map(repr, bad))} is not a number of examples a class; expected such as "
            "1,5,10,25."
        )
    return tuple(sorted({int(part) for part in parts}))


def evaluate_few_shot(
    checkpoint: str,
    data: str,
    loaded: "Checkpoint",
    dataset: "ImageDataset",
    options: FewShotOptions,
    *,
    image_size: str | None,
    split: str | None,
    as_json: bool,
    batch_size: int,
    device: str,
) -> None:
    """Draw examples, fit, score and print. The classes are the data's and need not be the checkpoint's.

    `checkpoint`, `data` and `image_size` are what was typed, of which `loaded` and `dataset` came.
    """
    import numpy as np

    from allmlp.inference import Embedder
    from allmlp.metrics import draw_examples, few_shot

    photos = _choose(dataset, checkpoint, split)
    train, names = photos.train, dataset.class_names
    drawn = [
        draw_examples(train.sample_ids, train.labels, names, shots=max(options.shots), seed=options.seed, draw=draw)
        for draw in range(options.num_draws)
    ]
    examples = train.subset(np.unique(np.concatenate(drawn)))  # nothing else of train needs to be looked at
    if not as_json:
        for line in dataset.notes:
            print(line)
        draws = "1 draw" if options.num_draws == 1 else f"{options.num_draws} draws"
        counts = (
            f"{len(examples):,} examples of train in {draws}, {len(photos.scored):,} photos of {photos.name} to score."
        )
        print(f"{counts} {photos.remark}".rstrip())
    embedder = Embedder(loaded, device=device, batch_size=batch_size)
    features, scored = embedder.embed_split(examples), embedder.embed_split(photos.scored)
    results = few_shot(
        features,
        examples.labels,
        examples.sample_ids,
        scored,
        photos.scored.labels,
        names,
        shots=options.shots,
        num_draws=options.num_draws,
        seed=options.seed,
    )
    if as_json:
        facts: dict[str, Any] = {"checkpoint": checkpoint, "data": data, "split": photos.name}
        facts |= {"image_size": list(loaded.config.image_size), "seed": options.seed}
        facts |= {"num_examples": len(photos.scored), "remark": photos.remark}
        print(json.dumps({**facts, "few_shot": [one.to_dict() for one in results]}, indent=2, allow_nan=False))
        return
    _print(results)
    command = command_line("embed", checkpoint, data, *size_words(image_size), "--split", "train", "-o", "train.npz")
    next_commands([(command, "the features, for your own tools")])


def _choose(dataset: "ImageDataset", checkpoint: str, wanted: str | None) -> _Photos:
    from allmlp.data import split_named
    from allmlp.io.display import escape

    saved = saved_split(checkpoint)
    splits, is_divided = divided(dataset, saved)
    source, found = escape(dataset.source), ", ".join(splits)
    if split_named(wanted or "") == "train":
        raise ConfigError("--split train: --shots draws its examples from train; score it on test or validation.")
    if "train" not in splits:
        raise DataError(
            f"{source}: --shots draws its examples from a train split; there is only {found}. Name the training photos' "
            "folder, file or split `train`."
        )
    if len(splits) == 1:
        raise DataError(
            f"{source}: --shots needs a test or validation split to score beside train; there is only {found}. Put some "
            "photos of each class apart, as {train,test}/<class>/..."
        )
    scored = choose(dataset, saved, wanted)
    remark = "Divided as the run's split.json says." if is_divided else ""
    num_known = len(set(splits["train"].sample_ids) & set(saved.get("train", ())))
    if num_known:
        remark += (
            f" The model was trained on {num_known:,} train photos of the same names: its features fit them too well to choose "
            "a regularisation by them."
        )
    return _Photos(splits["train"], scored.name, scored.photos, remark.strip())


def _penalties(chosen: "Sequence[float]") -> str:
    if len(chosen) <= 5:
        return ", ".join(f"2^{math.log2(penalty):.0f}" for penalty in chosen)
    low, high = (f"2^{math.log2(penalty):.0f}" for penalty in (min(chosen), max(chosen)))
    return low if low == high else f"{low} to {high}"


def _print(results: "Sequence[FewShot]") -> None:
    from allmlp.metrics import AUTHORS_PENALTY

    num_draws = len(results[0].draws)
    rows = [
        (
            str(one.shots),
            f"{one.mean:.2%}",
            f"{100 * one.spread:.2f}" if num_draws > 1 else "–",
            f"{one.mean_at(AUTHORS_PENALTY):.2%}",
            _penalties([draw.penalty for draw in one.draws]),
        )
        for one in results
    ]
    print()
    lines = aligned([("shots", "top-1", "spread", "at 2^10", "regularisation"), *rows], right=(0, 1, 2, 3))
    heading(lines[0])
    print("\n".join(lines[1:]))
    draws = "1 draw" if num_draws == 1 else f"{num_draws} draws: mean, and standard deviation in points"
    print(f"\n{draws}. The examples chose the regularisation, each left out in turn; at 2^10 is the authors' setting.")
