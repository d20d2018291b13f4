"""The option and the output of `allmlp evaluate --shots`."""

import json
import math
import re
from typing import TYPE_CHECKING, Any

from allmlp.cli.arguments.checkpoint import size_words
from allmlp.cli.console import aligned, command_line, heading, next_commands
from allmlp.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from allmlp.evaluation import FewShotEvaluation
    from allmlp.metrics import FewShot

__all__ = ["parse_shots", "print_few_shot"]

_MAX_SHOTS = 1_000_000


def parse_shots(text: str) -> tuple[int, ...]:
    """Return the numbers of "1,5,10,25" in ascending order.

    Raises:
        ConfigError: anything else.
    """
    parts = [part.strip() for part in text.split(",")]
    bad = [part[:50] for part in parts if not re.fullmatch(r"[0-9]{1,7}", part) or not 1 <= int(part) <= _MAX_SHOTS]
    if bad:
        raise ConfigError(
            f"--shots {text[:100]!r}: {', '.join(map(repr, bad))} is not a number of examples per class; expected such as "
            "1,5,10,25."
        )
    return tuple(sorted({int(part) for part in parts}))


def print_few_shot(
    evaluation: "FewShotEvaluation", checkpoint: str, data: str, *, image_size: str | None, as_json: bool
) -> None:
    """Print the accuracies. `checkpoint`, `data` and `image_size` are as they were typed."""
    if as_json:
        values: dict[str, Any] = {"checkpoint": checkpoint, "data": data, "split": evaluation.split}
        values |= {"image_size": list(evaluation.image_size), "seed": evaluation.options.seed}
        values |= {"num_examples": evaluation.num_photos, "remark": evaluation.remark}
        results = [result.to_dict() for result in evaluation.results]
        print(json.dumps({**values, "few_shot": results}, indent=2, allow_nan=False))
        return
    _print(evaluation.results)
    command = command_line("embed", checkpoint, data, *size_words(image_size), "--split", "train", "-o", "train.npz")
    next_commands([(command, "the features, for your own tools")])


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
            str(result.shots),
            f"{result.mean:.2%}",
            f"{100 * result.spread:.2f}" if num_draws > 1 else "–",
            f"{result.mean_at(AUTHORS_PENALTY):.2%}",
            _penalties([draw.penalty for draw in result.draws]),
        )
        for result in results
    ]
    print()
    lines = aligned([("shots", "top-1", "spread", "at 2^10", "regularisation"), *rows], right=(0, 1, 2, 3))
    heading(lines[0])
    print("\n".join(lines[1:]))
    draws = "1 draw" if num_draws == 1 else f"{num_draws} draws: mean, and standard deviation in points"
    print(f"\n{draws}. The examples chose the regularisation, each left out in turn; at 2^10 is the authors' setting.")
