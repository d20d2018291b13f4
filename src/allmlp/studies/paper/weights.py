"""Figures 5 to 7: the first token-mixing MLPs learn smooth pictures in pairs of opposing phase, which untrained ones lack."""

import base64
import io
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
from allmlp.studies.spreads import mean_and_std
from allmlp.studies.study import Arm, ArmContext, ArmResult, Study, StudyOptions, Table
from allmlp.studies.table3 import paper_training

__all__ = ["STUDY"]

TRAINED, UNTRAINED = "trained", "untrained"
_NUM_SEEDS = 5
_NUM_FIRST_BLOCKS = 3  # of figure 5
_MIN_SEEDS = 3  # of untrained Mixers, to say more than a direction
_DPI = 100  # of the picture
_REASON = (
    " The likely reason for the blocks without this structure: the starter learnt from Tiny-ImageNet at 64 pixels, the "
    "paper's Mixer-B/16 from the 300 million photos of JFT-300M at 224."
)
_FREQUENCY, _COSINE = "median_frequency", "median_opposite_cosine"


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
            ("share_paired", 100, 0),
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


def agreement(results: Sequence[ArmResult]) -> str:
    """Return whether the first blocks have the structure of figure 5, and the last one has not.

    A block has it if its units have a lower frequency and closer opposites, in the median, than those of all untrained Mixers.
    To agree, the first three have it (as many as there are before the last), and most units of the first have a partner. With
    some of the first three, or few untrained Mixers, it points the same way.
    """
    trained, untrained = _parts(results)
    blocks, num_seeds = trained["blocks"], len(untrained)
    is_structured = [
        all(block[key] < min(each["blocks"][index][key] for each in untrained) for key in (_FREQUENCY, _COSINE))
        for index, block in enumerate(blocks)
    ]
    early = is_structured[: max(1, min(_NUM_FIRST_BLOCKS, len(blocks) - 1))]
    is_like = all(early) and blocks[0]["share_paired"] > 0.5 and not is_structured[-1]
    agrees = is_like and num_seeds >= _MIN_SEEDS
    verdict = "Agrees with the paper" if agrees else "Points the same way" if any(early) else "Does not agree"
    first, keys = blocks[0], (_FREQUENCY, _COSINE, "share_paired")
    others = {key: float(np.mean([each["blocks"][0][key] for each in untrained])) for key in keys}
    is_starter = results[0].arm.settings["checkpoint"] == STARTER
    reason = _REASON if is_starter and not all(early) else ""
    return (
        f"{verdict}: in {sum(early)} of the first {counted(len(early), 'block')}, and "
        f"{'also' if is_structured[-1] else 'not'} in the last, units have lower frequencies and closer opposites than "
        f"untrained ones. In the first block, the median frequency is {first[_FREQUENCY]:.3f} cycles per patch, untrained "
        f"{others[_FREQUENCY]:.3f}; the median cosine to the closest opposite is {first[_COSINE]:.2f}, untrained "
        f"{others[_COSINE]:.2f}; {100 * first['share_paired']:.0f} % of the units are in pairs, untrained "
        f"{100 * others['share_paired']:.0f} % "
        f"(n = {num_seeds} untrained Mixers, one checkpoint).{reason}"
    )


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
