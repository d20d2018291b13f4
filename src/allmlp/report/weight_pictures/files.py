"""`draw_weights`: the files of weight pictures, and the numbers next to them."""

import os
from collections.abc import Iterator
from pathlib import Path

from allmlp.checkpoints import ArrayCheckpoint, Checkpoint
from allmlp.errors import ConfigError
from allmlp.explanations import WeightAnalysis, analyse_weights
from allmlp.io.atomic_write import advice_for, reason_of, to_json, write_folder, write_together
from allmlp.io.display import counted, escape, quote, shorten
from allmlp.io.path_problem import path_problem, path_text
from allmlp.io.remote_address import is_address
from allmlp.report.plots import to_png
from allmlp.report.weight_pictures.panels import (
    Panel,
    filters_panel,
    heading,
    legend,
    next_to,
    stacked,
    to_figure,
    units_panel,
)

__all__ = ["draw_weights", "new_weight_pictures"]

_ENDING, _NUMBERS = ".png", "weights.json"
_OVERVIEW_WIDTH, _OVERVIEW_ROWS = 610, 2  # of a panel, in pixels, and of tiles of each kind
_WIDTH, _ROWS = 860, 60
_GAP = 40


def draw_weights(
    source: str | Path | Checkpoint | ArrayCheckpoint | WeightAnalysis, out: str | Path
) -> tuple[Path, ...]:
    """Draw a Mixer's token-mixing units and patch filters, next to those of an untrained Mixer: figures 5 to 7 of the paper.

    Args:
        source: a path, a name or a checkpoint, as `analyse_weights` takes it, or its result.
        out: a new file that ends in .png: one picture of the first three blocks and the last, with a selection if there are
            many units, and next to it OUT.json with the numbers of all blocks. Or a new folder, given without an ending: the
            same as overview.png and weights.json, a picture with all units of each of these blocks, and filters.png.

    Returns:
        The files that were written.

    Raises:
        CheckpointError: nothing usable at `source`.
        ConfigError: `out` exists, has another ending or cannot be written to, or as `analyse_weights`.
    """
    path = new_weight_pictures(out)
    analysis = source if isinstance(source, WeightAnalysis) else analyse_weights(source)
    numbers = to_json(analysis.to_json_object())
    if path.suffix.lower() == _ENDING:
        contents = {path: _png(_overview(analysis)), path.with_suffix(".json"): numbers}
        write_together(contents)
        return tuple(contents)
    files = {name: _png(panel) for name, panel in _panels(analysis)} | {_NUMBERS: numbers}
    try:
        write_folder(path, files)
    except OSError as error:
        raise ConfigError(f"{escape(path)}: could not be written ({reason_of(error)}). {advice_for(error)}") from error
    return tuple(path / name for name in files)


def new_weight_pictures(out: object) -> Path:
    """Return the path of a new picture (.png) or folder of pictures.

    Raises:
        ConfigError: it exists, ends in something else, or cannot be written to.
    """
    text = path_text(out)
    if text is None:
        raise ConfigError(f"out is {quote(out)}; expected a path.")
    shown = escape(shorten(text, 300))
    if not text:
        raise ConfigError("The name of the picture is empty; expected a new .png file or a new folder.")
    path = Path(text)
    if problem := "it is an address" if is_address(text) else path_problem(path):
        raise ConfigError(f"{shown}: cannot be written to ({problem}). Choose another path.")
    if path.suffix.lower() not in ("", _ENDING) and not (text.endswith(("/", os.sep)) or path.is_dir()):
        raise ConfigError(f"{shown}: expected a name that ends in {_ENDING}, or a new folder's name without an ending.")
    is_picture = path.suffix.lower() == _ENDING
    for file in (path, path.with_suffix(".json")) if is_picture else (path,):
        if os.path.lexists(file) and (is_picture or not _is_empty_folder(file)):
            raise ConfigError(
                f"{escape(file)}: it exists, and nothing is overwritten. Choose a new name, or remove it first."
            )
    return path


def _is_empty_folder(path: Path) -> bool:
    try:
        return path.is_dir() and not any(path.iterdir())
    except OSError:  # a folder that cannot be listed
        return False


def _panels(analysis: WeightAnalysis) -> Iterator[tuple[str, Panel]]:
    """Yield the name and the content of each picture of a folder."""
    yield "overview.png", _overview(analysis)
    for index in analysis.drawn_blocks:
        yield f"block-{index + 1}.png", _page(analysis, _block(analysis, index, _WIDTH, _ROWS))
    yield "filters.png", _page(analysis, _filters(analysis, _WIDTH, _ROWS))


def _png(panel: Panel) -> bytes:
    return to_png(to_figure(panel))


def _overview(analysis: WeightAnalysis) -> Panel:
    blocks = [_block(analysis, index, _OVERVIEW_WIDTH, _OVERVIEW_ROWS) for index in analysis.drawn_blocks]
    return _page(analysis, *blocks, _filters(analysis, _OVERVIEW_WIDTH, _OVERVIEW_ROWS))


def _page(analysis: WeightAnalysis, *panels: Panel) -> Panel:
    width = panels[0].pixels.shape[1]
    config = analysis.config
    height, columns = config.image_size
    model = (
        f"{counted(config.num_blocks, 'block')}, {counted(config.hidden_dim, 'channel')}, {height} × {columns} pixels "
        f"in {config.grid[0]} × {config.grid[1]} patches. Untrained: the same Mixer with random weights (seed {analysis.seed})."
    )
    lines = (
        model,
        "A unit is drawn as its weights over the grid of patches. Pairs are units of opposing phase, with their cosine below.",
        "Number in front of a row: the frequency of its first picture.",
    )
    title = heading("Token-mixing units and patch filters, from low frequency to high", lines, width)
    return stacked(title, *panels, legend(width))


def _block(analysis: WeightAnalysis, index: int, width: int, max_rows: int) -> Panel:
    name = f"Block {index + 1}"
    trained, untrained = analysis.trained.units[index], analysis.untrained.units[index]
    return next_to(
        units_panel(trained, f"{name}, trained", width=width, max_rows=max_rows),
        units_panel(untrained, f"{name}, untrained", width=width, max_rows=max_rows),
        _GAP,
    )


def _filters(analysis: WeightAnalysis, width: int, max_rows: int) -> Panel:
    return next_to(
        filters_panel(analysis.trained.filters, "Patch filters, trained", width=width, max_rows=max_rows),
        filters_panel(analysis.untrained.filters, "Patch filters, untrained", width=width, max_rows=max_rows),
        _GAP,
    )
