"""Report of what an output format cannot hold of a checkpoint."""

from collections.abc import Sequence

from allmlp.cli.console import heading, say

__all__ = ["print_unsupported"]


def print_unsupported(form: str, losses: Sequence[str]) -> None:
    """Print what the format `form` cannot hold of a checkpoint, if anything."""
    from allmlp.io.display import escape

    if losses:
        heading(f"What the {form} format does not hold")
        say("\n".join(f"  - {escape(sentence)}" for sentence in losses))
