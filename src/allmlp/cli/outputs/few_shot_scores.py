"""The option `--shots` of `allmlp evaluate`, and its output."""

import math
import re
from typing import TYPE_CHECKING, Any

from allmlp.cli.console import aligned, command_line, heading, next_commands, say
from allmlp.errors import ConfigError
from allmlp.io.json_object import json_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from allmlp.evaluation import FewShotEvaluation
    from allmlp.metrics import FewShot

__all__ = ["parse_shots", "print_few_shot"]

_MAX_SHOTS = 1_000_000


def parse_shots(text: str) -> tuple[int, ...]:
    """Parse numbers such as "1,5,10,25" and return them in ascending order.

    Raises:
        ConfigError: any other text.
    """
    parts = [part.strip() for part in text.split(",")]
    invalid = [part[:50] for part in parts if not re.fullmatch(r"[0-9]{1,7}", part) or not 1 <= int(part) <= _MAX_SHOTS]
    if invalid:
        raise ConfigError(
            f"--shots {text[:100]!r}: {', '.join(map(repr, invalid))} is not a number of examples per class; expected "
            "numbers such as 1,5,10,25."
        )
    return tuple(sorted({int(part) for part in parts}))


def print_few_shot(
    evaluation: "FewShotEvaluation", checkpoint: str, data: str, *, options: tuple[str, ...], as_json: bool
) -> None:
    """Print the accuracies. `checkpoint`, `data` and `options` are as the user typed them."""
    if as_json:
        values: dict[str, Any] = {"checkpoint": checkpoint, "data": data, "split": evaluation.split}
        values |= {"image_size": list(evaluation.image_size), "seed": evaluation.options.seed}
        values |= {"num_examples": evaluation.num_photos, "remark": evaluation.remark}
        values |= {"overlaps": list(evaluation.overlaps)}
        results = [result.to_dict() for result in evaluation.results]
        print(json_text({**values, "few_shot": results}, indent=2, allow_nan=False))
        return
    _print(evaluation.results)
    command = command_line("embed", checkpoint, data, *options, "--split", "train", "-o", "train.npz")
    next_commands([(command, "write the features, for your own tools")])


def _penalties(penalties: "Sequence[float]") -> str:
    if len(penalties) <= 5:
        return ", ".join(f"2^{math.log2(penalty):.0f}" for penalty in penalties)
    low, high = (f"2^{math.log2(penalty):.0f}" for penalty in (min(penalties), max(penalties)))
    return low if low == high else f"{low} to {high}"


def _print(results: "Sequence[FewShot]") -> None:
    num_draws = len(results[0].draws)
    rows = [
        (
            str(result.shots),
            f"{result.mean:.2%}",
            f"{100 * result.spread:.2f}" if num_draws > 1 else "–",
            f"{result.chosen_mean:.2%}",
            _penalties([draw.chosen_penalty for draw in result.draws]),
        )
        for result in results
    ]
    say()
    lines = aligned([("shots", "top-1", "spread", "chosen", "regularisation chosen"), *rows], right=(0, 1, 2, 3))
    heading(lines[0])
    say("\n".join(lines[1:]))
    draws = "1 draw" if num_draws == 1 else f"{num_draws} draws: mean, and standard deviation in percentage points"
    say(
        f'\n{draws}. Top-1 is with the authors\' regularisation, 2^10; "chosen" with the one that has the smallest '
        "leave-one-out error on the examples."
    )
