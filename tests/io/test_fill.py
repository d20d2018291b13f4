"""Text at a terminal: broken at blanks; words, quoted names and commands stay whole at every width."""

import io

import pytest
from rich.cells import cell_len

from allmlp.io.display import fill, filled

COMMAND = "allmlp finetune photos --quality balanced"
BY_PATH = ".venv/bin/allmlp train --resume runs/mine"
BY_QUOTED_PATH = "'../my work/bin/allmlp' convert runs/mine NEW"
AS_MODULE = "../bin/python3 -m allmlp finetune photos"
LINES = (
    "allmlp: runs/mien: there is no such run folder. Did you mean 'runs/a long name/mine'? A run folder is what `allmlp train` "
    "or `allmlp finetune` writes; it holds recipe.json.",
    f"for better: {COMMAND}: 304 MB to download, about 13 minutes here",
    "  allmlp evaluate runs/scratch photos --split validation  # score it again, class by class",
    f"Stopped. The progress so far is saved; continue with: {BY_PATH}",
    f"unknown     no threshold: it needs validation photos. From other photos: {BY_QUOTED_PATH}",
    f"for better: {AS_MODULE}: 304 MB to download, about 13 minutes here",
    "warning fewer than 20 training photos in 4 of 4 classes: too few to learn a class well. Add photos to these classes",
    "epoch   1   step 1/1   loss 1.386   validation: loss 1.392, top-1  25.0%   15 photos/s   after 6.6 s",
    "衣服 " * 40,
)
WHOLE = (
    COMMAND,
    BY_PATH,
    BY_QUOTED_PATH,
    AS_MODULE,
    "'runs/a long name/mine'",
    "`allmlp finetune`",
    "allmlp evaluate runs/scratch photos --split validation",
)


@pytest.mark.parametrize("width", [40, 60, 80, 100, 140])
@pytest.mark.parametrize("line", LINES, ids=range(len(LINES)))
def test_no_word_name_or_command_is_broken(line, width):
    rows = fill(line, width).split("\n")
    assert [word for row in rows for word in row.split()] == line.split()
    for unit in WHOLE:
        assert any(unit in row for row in rows) == (unit in line)
    if not any(cell_len(unit) + 2 > width and unit in line for unit in WHOLE):
        assert all(cell_len(row) <= width for row in rows)


def test_a_line_that_fits_stays_as_it_is_and_what_follows_a_label_is_indented():
    assert fill("model   Mixer,  64 px\n\nx", 40) == "model   Mixer,  64 px\n\nx"
    assert (
        fill("model   Mixer, 64 × 64 px, patch 8, 8 blocks", 30)
        == "model   Mixer, 64 × 64 px,\n        patch 8, 8 blocks"
    )


def test_off_a_terminal_lines_stay_whole():
    assert filled("word " * 100, io.StringIO()) == "word " * 100
    assert filled("word " * 100, None) == "word " * 100
