"""The option `--plot` of `allmlp inspect`: pictures of the weights, and a table of their medians."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from allmlp.cli.console import aligned, heading, note, say
from allmlp.errors import ConfigError
from allmlp.io.display import escape, shorten

if TYPE_CHECKING:
    from allmlp.checkpoints import Checkpoint

__all__ = ["PlotOption", "check_plot", "plot_weights", "print_weights"]

PlotOption = Annotated[
    str | None,
    typer.Option(
        metavar="OUT.png|OUT_DIR",
        help="Draw the token-mixing units and patch filters next to those of an untrained Mixer: as one picture, or as a "
        "folder with all units.",
        show_default=False,
    ),
]


def check_plot(plot: str, source: str, *, is_variant: bool, is_export: bool) -> None:
    """Check `--plot` before anything is loaded.

    Raises:
        ConfigError: the source is not a checkpoint; the output exists, has another ending, or cannot be written to.
    """
    if is_variant:
        raise ConfigError(
            f"--plot draws trained weights, and variant {source} has none. Name a checkpoint, such as starter."
        )
    if is_export:
        name = escape(shorten(source, 300))
        raise ConfigError(
            f"--plot draws weights, and {name} is an export. Name the checkpoint that it was written from."
        )
    from allmlp.report import new_weight_pictures

    new_weight_pictures(plot)


def plot_weights(checkpoint: "Checkpoint", plot: str) -> dict[str, Any]:
    """Draw the weights, and return their numbers and the names of the files as JSON values.

    Raises:
        ConfigError: as `draw_weights`.
    """
    from allmlp.explanations import analyse_weights
    from allmlp.report import draw_weights

    analysis = analyse_weights(checkpoint)
    files = draw_weights(analysis, plot)
    for file in files:
        note(f"Wrote {escape(file)}")
    drawn = [index + 1 for index in analysis.drawn_blocks]
    return {**analysis.summary(), "drawn_blocks": drawn, "files": [str(file) for file in files]}


def print_weights(weights: dict[str, Any]) -> None:
    """Print the medians of the blocks that were drawn and of the filters, trained and untrained."""
    rows: list[tuple[str, ...]] = [("part", "frequency", "untrained", "opposite", "untrained", "paired", "untrained")]
    for block in weights["blocks"]:
        if block["block"] in weights["drawn_blocks"]:
            pair = (block["trained"], block["untrained"])
            frequencies = [f"{facts['median_frequency']:.3f}" for facts in pair]
            opposites = [f"{facts['median_opposite_cosine']:.2f}" for facts in pair]
            paired = [f"{facts['num_paired'] / facts['num_units']:.0%}" for facts in pair]
            rows.append((f"  units of block {block['block']}", *frequencies, *opposites, *paired))
    filters = [f"{weights['filters'][which]['median_frequency']:.3f}" for which in ("trained", "untrained")]
    rows.append(("  patch filters", *filters, "", "", "", ""))
    lines = aligned(rows, right=range(1, 7))
    say()
    heading("weights")
    say("\n".join(lines))
    say("  frequency: median, in cycles per patch; of filters, per pixel")
    say("  opposite: median over units of the most negative cosine with another unit")
    say(f"  paired: units with a partner of opposing phase (cosine at most {weights['max_pair_cosine']:g})")
