"""A mean and its standard deviation over seeds, in words; whether it is surely beyond a bound; and the verdict on a claim."""

from collections.abc import Mapping

__all__ = ["is_surely_above", "is_surely_below", "is_surely_positive", "mean_and_std", "verdict", "verdict_on_gain"]

# The 5 % point of Student's t, one-sided, by the number of values, divided by the root of that number.
_SURE = {2: 4.465, 3: 1.686, 4: 1.177, 5: 0.953}
_SURE_OF_MORE = 2.015  # of 6 values, divided by the root of their number; smaller for more of them


def is_surely_positive(figures: Mapping[str, float]) -> bool:
    """Return whether a mean over seeds is above 0, by more than chance explains in 5 of 100 cases (Student's t, one-sided).

    `figures` are those of `allmlp.provenance.spread`; its std has n - 1 in the denominator. One seed is never enough.
    """
    n = int(figures["n"])
    return n > 1 and figures["mean"] > figures["std"] * _SURE.get(n, _SURE_OF_MORE / n**0.5)


def is_surely_above(figures: Mapping[str, float], bound: float) -> bool:
    """Return whether a mean over seeds is above `bound`, as surely as `is_surely_positive` says."""
    return is_surely_positive({**figures, "mean": figures["mean"] - bound})


def is_surely_below(figures: Mapping[str, float], bound: float) -> bool:
    """Return whether a mean over seeds is below `bound`, as surely as `is_surely_positive` says."""
    return is_surely_positive({**figures, "mean": bound - figures["mean"]})


def verdict(*, holds: bool, is_sure: bool) -> str:
    """Return the first words of the sentence about a claim: whether it holds here, surely or only as far as can be seen.

    A single seed is never sure, whichever way it points.
    """
    if holds:
        return "Agrees with the paper" if is_sure else "Points the same way"
    return "Does not agree" if is_sure else "Points the other way"


def verdict_on_gain(figures: Mapping[str, float]) -> str:
    """Return the verdict on the claim that a mean over seeds, as `allmlp.provenance.spread` has it, is above 0."""
    if figures["mean"] > 0:
        return verdict(holds=True, is_sure=is_surely_positive(figures))
    return verdict(holds=False, is_sure=is_surely_below(figures, 0.0))


def mean_and_std(figures: Mapping[str, float], digits: int = 1, *, scale: float = 1.0, signed: bool = False) -> str:
    """Return "12.3 ± 0.4" from the figures of `allmlp.provenance.spread`, multiplied by `scale`.

    A single seed has no standard deviation: "12.3". `signed` puts a plus before a mean that is not negative.
    """
    mean = f"{scale * figures['mean']:{'+' if signed else ''}.{digits}f}"
    return mean if figures["n"] < 2 else f"{mean} ± {scale * figures['std']:.{digits}f}"
