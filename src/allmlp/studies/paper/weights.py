"""Figures 5 to 7: the first token-mixing MLPs learn smooth pictures in pairs of opposing phase, which untrained ones lack."""

import base64
import io
import math
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from PIL import Image

from allmlp.checkpoints import STARTER, load_checkpoint
from allmlp.explanations import analyse_weights
from allmlp.io.display import counted
from allmlp.provenance import spread
from allmlp.report import draw_weights
from allmlp.studies.drawing import new_figure
from allmlp.studies.spreads import mean_and_std, verdict
from allmlp.studies.study import Arm, ArmContext, ArmResult, Study, StudyOptions, Table
from allmlp.studies.table3 import paper_training

__all__ = ["STUDY", "differences"]

TRAINED, UNTRAINED = "trained", "untrained"
_NUM_SEEDS = 5
_NUM_FIRST_BLOCKS = 3  # of figure 5
_MIN_SEEDS = 3  # of untrained Mixers, to say more than a direction
_DPI = 100  # of the picture
_MARGIN = 2.0  # standard deviations of the untrained Mixers; less may be chance
_FREQUENCY, _COSINE, _SHARE = "median_frequency", "median_opposite_cosine", "share_paired"
_BELOW_AND_ABOVE = {
    _FREQUENCY: ("lower frequencies", "higher ones"),
    _COSINE: ("closer opposites", "more distant ones"),
    _SHARE: ("fewer pairs", "more pairs"),
}


def arms(options: StudyOptions) -> list[Arm]:
    """Return the checkpoint, which has one seed, and untrained Mixers of the same architecture."""
    settings = {"checkpoint": options.checkpoint or STARTER}
    seeds = range(options.num_seeds or _NUM_SEEDS)
    return [
        Arm(TRAINED, {**settings, "is_trained": True}, 0),
        *(Arm(UNTRAINED, {**settings, "is_trained": False}, seed) for seed in seeds),
    ]


def run(arm: Arm, context: ArmContext) -> Mapping[str, Any]:
    checkpoint = load_checkpoint(arm.settings["checkpoint"])
    analysis = analyse_weights(checkpoint, seed=arm.seed)
    part = TRAINED if arm.settings["is_trained"] else UNTRAINED
    summary = analysis.summary()
    figures: dict[str, Any] = {
        "source": checkpoint.source,
        "blocks": [{"block": each["block"], **_with_share(each[part])} for each in summary["blocks"]],
        "filters": summary["filters"][part],
    }
    if arm.settings["is_trained"]:
        with tempfile.TemporaryDirectory() as folder:
            file, _ = draw_weights(analysis, Path(folder) / "weights.png")
            figures["picture"] = base64.b64encode(_few_colours(file)).decode()
    context.report(f"  {part}: {len(figures['blocks'])} blocks and the patch filters")
    return figures


def _with_share(units: Mapping[str, Any]) -> dict[str, Any]:
    return {**units, "share_paired": units["num_paired"] / units["num_units"]}


def _few_colours(file: Path) -> bytes:
    content = io.BytesIO()
    with Image.open(file) as image:
        image.convert("RGB").quantize(256).save(content, "PNG", optimize=True)
    return content.getvalue()


def _parts(results: Sequence[ArmResult]) -> tuple[Mapping[str, Any], list[Mapping[str, Any]]]:
    """Return the figures of the checkpoint, and those of the untrained Mixers."""
    trained = next(result.figures for result in results if result.arm.settings["is_trained"])
    return trained, [result.figures for result in results if not result.arm.settings["is_trained"]]


def table(results: Sequence[ArmResult]) -> Table:
    trained, untrained = _parts(results)
    rows = []
    for index, block in enumerate(trained["blocks"]):
        others = [each["blocks"][index] for each in untrained]
        cells: list[str] = []
        for key, scale, digits in (
            (_FREQUENCY, 1, 3),
            (_COSINE, 1, 2),
            (_SHARE, 100, 0),
        ):
            found = spread([scale * each[key] for each in others])
            cells += [f"{scale * block[key]:.{digits}f}", mean_and_std(found, digits)]
        rows.append((f"units of block {block['block']}", *cells, str(len(others))))
    found = spread([each["filters"]["median_frequency"] for each in untrained])
    filters = (f"{trained['filters']['median_frequency']:.3f}", mean_and_std(found, 3))
    rows.append(("patch filters", *filters, *["–"] * 4, str(len(untrained))))
    columns = (
        "weights",
        "median frequency",
        "untrained",
        "median cosine to the closest opposite",
        "untrained",
        "in pairs, %",
        "untrained",
        "n untrained",
    )
    return Table(columns, rows)


def _margin(value: float, untrained: Sequence[float]) -> float:
    """Return how far a value is above those of untrained Mixers, in standard deviations of these; infinite if they are 0."""
    found = spread(untrained)
    distance = value - found["mean"]
    if not distance:
        return 0.0
    return distance / found["std"] if found["std"] else math.copysign(math.inf, distance)


def _margins(results: Sequence[ArmResult], key: str) -> list[float]:
    """Return the margin of a measure in each block."""
    trained, untrained = _parts(results)
    return [
        _margin(block[key], [each["blocks"][index][key] for each in untrained])
        for index, block in enumerate(trained["blocks"])
    ]


def _structured(results: Sequence[ArmResult], num_first: int) -> tuple[list[int], list[int]]:
    """Return the numbers of the blocks with structure: those of the first ones, and those of deeper ones."""
    margins = zip(*(_margins(results, key) for key in (_FREQUENCY, _COSINE)), strict=True)
    found = [number for number, each in enumerate(margins, 1) if max(each) < -_MARGIN]
    return [number for number in found if number <= num_first], [number for number in found if number > num_first]


def agreement(results: Sequence[ArmResult]) -> str:
    """Return whether the first blocks have the structure of figure 5, and the deeper ones have not.

    A block has it if its units have a lower frequency and closer opposites, in the median, than those of untrained Mixers, both
    by more than two standard deviations of these. To agree, the first three have it (as many as there are before the last),
    no deeper one has, and most units of the first have a partner. It points the same way if the first one has it, or two of the
    first three. Few untrained Mixers are never sure.
    """
    trained, untrained = _parts(results)
    blocks, num_seeds = trained["blocks"], len(untrained)
    num_first = max(1, min(_NUM_FIRST_BLOCKS, len(blocks) - 1))
    early, deeper = _structured(results, num_first)
    is_like = len(early) == num_first and blocks[0][_SHARE] > 0.5 and not deeper
    holds = 1 in early or len(early) > 1
    first_words = verdict(holds=holds, is_sure=num_seeds >= _MIN_SEEDS and (is_like or not holds))
    where = _of_blocks(early, f"the first {counted(num_first, 'block')}")
    if num_deeper := len(blocks) - num_first:
        which = f"the {counted(num_deeper, 'deeper block')}"
        where += f", and in {_of_blocks(deeper, which)}"
    first, keys = blocks[0], (_FREQUENCY, _COSINE, _SHARE)
    others = {key: float(np.mean([each["blocks"][0][key] for each in untrained])) for key in keys}
    return (
        f"{first_words}: in {where}, units have lower frequencies and closer opposites than untrained ones"
        f"{_by_margin(num_seeds, ', both')}. In the first block, the median frequency is {first[_FREQUENCY]:.3f} cycles per "
        f"patch, untrained {others[_FREQUENCY]:.3f}; the median cosine to the closest opposite is {first[_COSINE]:.2f}, "
        f"untrained {others[_COSINE]:.2f}; {100 * first[_SHARE]:.0f} % of the units are in pairs, untrained "
        f"{100 * others[_SHARE]:.0f} % (n = {num_seeds} untrained Mixers, one checkpoint)."
    )


def differences(results: Sequence[ArmResult]) -> str:
    """Return in which blocks each measure differs from that of untrained Mixers, and whether that of the patch filters does."""
    trained, untrained = _parts(results)
    parts = []
    for key, words in _BELOW_AND_ABOVE.items():
        margins = list(enumerate(_margins(results, key), 1))
        blocks = ([n for n, each in margins if each < -_MARGIN], [n for n, each in margins if each > _MARGIN])
        found = [f"{what} in {_listed(numbers)}" for what, numbers in zip(words, blocks, strict=True) if numbers]
        parts.append(" and ".join(found) if found else f"neither {words[0]} nor {words[1]} in any block")
    filters = _margin(trained["filters"][_FREQUENCY], [each["filters"][_FREQUENCY] for each in untrained])
    level = (
        "a lower frequency"
        if filters < -_MARGIN
        else "a higher frequency"
        if filters > _MARGIN
        else "a similar frequency"
    )
    return (
        f"Compared with untrained Mixers{_by_margin(len(untrained), ',')}, units have {'; '.join(parts)}. The patch filters "
        f"have {level}."
    )


def _by_margin(num_untrained: int, before: str) -> str:
    """Return the words for the margin, which takes more than one untrained Mixer."""
    return f"{before} by more than {_MARGIN:g} of their standard deviations" if num_untrained > 1 else ""


def _of_blocks(numbers: Sequence[int], which: str) -> str:
    """Return "2 of the first 3 blocks (1 and 3)", or "none of the 5 deeper blocks"."""
    return f"{len(numbers)} of {which} ({_joined(numbers)})" if numbers else f"none of {which}"


def _listed(numbers: Sequence[int]) -> str:
    return f"{'block' if len(numbers) == 1 else 'blocks'} {_joined(numbers)}"


def _joined(numbers: Sequence[int]) -> str:
    words = [str(number) for number in numbers]
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"


def figure(results: Sequence[ArmResult]) -> Figure:
    """Return the picture of `allmlp inspect --plot`: units and filters from low frequency to high, next to untrained ones."""
    trained, _ = _parts(results)
    picture = np.asarray(Image.open(io.BytesIO(base64.b64decode(trained["picture"]))).convert("RGB"))
    height, width = picture.shape[:2]
    drawing = new_figure(width / _DPI, height / _DPI)
    drawing.set_layout_engine("none")
    axes = drawing.add_axes((0, 0, 1, 1))
    axes.imshow(picture, interpolation="nearest", aspect="auto")
    axes.set_axis_off()
    drawing.set_dpi(_DPI)
    return drawing


STUDY = Study(
    name="weights",
    title="What the weights look like (figures 5 to 7)",
    claim="Some hidden units of the first token-mixing MLPs operate on the whole image and others on smaller regions, and "
    "many of them are pairs of opposite phase, as in convolutional networks; deeper layers have no clearly identifiable "
    "structure (section 3.5, figures 5 and 7).",
    outcome="The pictures are of a Mixer-B/16 pre-trained on JFT-300M; the paper states no numbers.",
    setup="The checkpoint that --from names (starter by default), next to untrained Mixers of the same architecture. A unit's "
    "frequency is the mean radius of its Fourier transform's power; its closest opposite is the unit with the most negative "
    "cosine; from low frequency to high, units are paired with the closest opposite that is still free, if the cosine is at "
    "most -0.3. Nothing is trained; --seeds sets the number of untrained Mixers.",
    data=None,
    checkpoint=STARTER,
    arms=arms,
    run=run,
    minutes=0.5,
    table=table,
    agreement=agreement,
    figure=figure,
    full_scale=(paper_training("jft_b16"),),
)
