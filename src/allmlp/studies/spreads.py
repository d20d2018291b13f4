"""A mean and its standard deviation over seeds, in words."""

from collections.abc import Mapping

__all__ = ["mean_and_std"]


def mean_and_std(figures: Mapping[str, float], digits: int = 1, *, scale: float = 1.0, signed: bool = False) -> str:
    """Return "12.3 ± 0.4" from the figures of `allmlp.provenance.spread`, multiplied by `scale`.

    A single seed has no standard deviation: "12.3". `signed` puts a plus before a mean that is not negative.
    """
    mean = f"{scale * figures['mean']:{'+' if signed else ''}.{digits}f}"
    return mean if figures["n"] < 2 else f"{mean} ± {scale * figures['std']:.{digits}f}"
