"""The option `--quality` of `finetune`, and the line that names the quality after the one of a run."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from allmlp.cli.console import command_line

if TYPE_CHECKING:
    from allmlp.data import ImageDataset
    from allmlp.training import Recipe

__all__ = ["Quality", "QualityOption", "better_quality", "cost_of_quality", "quality_settings"]

Quality = Literal["fast", "balanced", "best"]  # allmlp.recipes', whose import would slow the help of every command

QualityOption = Annotated[
    Quality | None,
    typer.Option(
        help="fast: the weights that come with allmlp. balanced: a classifier on the features of b16-i21k, a download of "
        "some 300 MB. best: all of b16-i21k, which takes hours without a GPU. Instead of --from.",
        show_default=False,
    ),
]


def quality_settings(
    quality: Quality | None, *, checkpoint: str | None, trained_blocks: int | None, keys: Sequence[str]
) -> dict[str, object]:
    """Return the settings of a quality, given the options --from and --trained-blocks and the other `keys` that are set.

    Raises:
        ConfigError: a quality next to an option that it stands for.
    """
    if quality is None:
        return {"transfer.checkpoint": checkpoint, "transfer.trained_blocks": trained_blocks}
    from allmlp import recipes

    instead_of = {"--from": checkpoint, "--trained-blocks": trained_blocks}
    return recipes.quality_settings(quality, instead_of=instead_of, keys=keys)


def cost_of_quality(
    quality: Quality, recipe: "Recipe", dataset: "ImageDataset", *, device: str, num_runs: int = 1
) -> str:
    """Return what `num_runs` runs of `recipe` cost; see `allmlp.recipes.cost_of_quality`."""
    from allmlp import recipes

    return recipes.cost_of_quality(quality, recipe, dataset, device=device, num_runs=num_runs)


def better_quality(dataset: "ImageDataset", data: str, words: Sequence[str], *, device: str) -> str:
    """Return a line that names the quality after `fast` for the photos of a run, and its cost.

    `data` and `words` are the photos and options as in the command of the run.
    """
    from allmlp import recipes

    command = command_line("finetune", data, *words, "--quality", recipes.BETTER_QUALITY)
    return f"for better: {command}: {recipes.cost_of_better(dataset, device=device)}"
