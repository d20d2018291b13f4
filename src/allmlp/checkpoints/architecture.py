"""A Mixer's widths and depth, read off the arrays of its weights."""

import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, cast

from allmlp.checkpoints.checks import check_shapes
from allmlp.checkpoints.layouts import Layout, recognise, without_prefixes
from allmlp.errors import CheckpointError, ConfigError
from allmlp.model import PARAMETERS, MixerConfig

if TYPE_CHECKING:
    from torch import Tensor

    from allmlp.checkpoints.weight_file import WeightFile

__all__ = ["State", "UnknownGridError", "read_state"]

_MAX_GRIDS = 12


class UnknownGridError(CheckpointError):
    """A file whose tokens are no square and that does not say which grid they are: it takes an image size to read it."""


@dataclass(frozen=True)
class State:
    """A Mixer's weights in our names and axes, and what the file says about them.

    Attributes:
        config: read off the arrays.
        weights: as `MlpMixer(config)` wants them; views of what was read.
        form: layout and what else there is to say, for people, such as "timm, its EMA weights".
    """

    config: MixerConfig
    weights: "Mapping[str, Tensor]"
    form: str


def read_state(
    file: "WeightFile",
    *,
    image_size: int | tuple[int, int] | None = None,
    gelu: Literal["tanh", "erf"] | None = None,
) -> State:
    """Read the weights of a Mixer from a file in any layout. Nothing is read before all names and shapes fit.

    Args:
        file: opened, not read.
        image_size: the size that the weights are for; None takes the token grid for a square.
        gelu: None takes what the layout's code computes.

    Raises:
        CheckpointError: no Mixer, or one that does not fit together: every missing, unexpected and misshapen name.
    """
    where = str(file.path)
    stored = without_prefixes(file.shapes, where=where)
    layout = recognise(stored, where=where)
    shapes = {name: file.shapes[stored_name] for name, stored_name in stored.items()}
    config = _config(shapes, layout, image_size=image_size, gelu=gelu, where=where)
    ours = {name: layout.ours(name) for name in shapes}
    found = {
        ours_name or name: layout.squeezed(ours_name, shapes[name]) if ours_name else shapes[name]
        for name, ours_name in ours.items()
    }
    check_shapes(config, found, layout=layout, where=where, advice=_advice(config, shapes, layout))
    read = file.read()
    weights = {our_name: layout.to_ours(our_name, read[stored[name]]) for name, our_name in ours.items() if our_name}
    return State(config, weights, f"{layout.name}, {file.remark}" if file.remark else layout.name)


def _advice(config: MixerConfig, shapes: Mapping[str, tuple[int, ...]], layout: Layout) -> str:
    num_tokens = _vote(shapes, layout)[0]["S"]
    if num_tokens == config.num_tokens:
        return ""
    height, width = config.image_size
    return (
        f"They are for {num_tokens:,} tokens; {height} × {width} pixels make {config.num_tokens:,}. To change their size, "
        f"load them without image_size, then .at_resolution(({height}, {width})), or --image-size of any command."
    )


def _config(
    shapes: Mapping[str, tuple[int, ...]],
    layout: Layout,
    *,
    image_size: int | tuple[int, int] | None,
    gelu: Literal["tanh", "erf"] | None,
    where: str,
) -> MixerConfig:
    lengths, num_blocks = _vote(shapes, layout)
    missing = sorted({"P", "S", "C", "D_S", "D_C"} - set(lengths))
    if missing:
        wanted = [_example(layout, symbol) for symbol in missing]
        raise CheckpointError(f"{where}: weights are missing from which to read its widths: {', '.join(wanted)}.")
    size = image_size or _square(lengths["S"], lengths["P"], where=where)
    try:
        return MixerConfig(
            image_size=cast("tuple[int, int]", size),  # it squares an int
            patch_size=lengths["P"],
            num_blocks=num_blocks,
            hidden_dim=lengths["C"],
            tokens_mlp_dim=lengths["D_S"],
            channels_mlp_dim=lengths["D_C"],
            num_classes=lengths.get("K", 0),
            gelu=gelu or layout.gelu,
        )
    except ConfigError as error:
        raise CheckpointError(f"{where}: {error}") from error


def _vote(shapes: Mapping[str, tuple[int, ...]], layout: Layout) -> tuple[dict[str, int], int]:
    """Return the length of each of the paper's letters that most arrays agree on, and the number of blocks.

    One damaged or transposed array is outvoted, so that the error names that array and not all others.
    """
    votes: dict[str, Counter[int]] = {}
    indices = {0}
    for name, shape in shapes.items():
        ours = layout.ours(name)
        if ours is None:
            continue
        block = re.search(r"\.(\d+)\.", ours)
        indices |= {int(block[1])} if block else set()
        axes = layout.axes(ours)
        squeezed = layout.squeezed(ours, shape)
        if len(squeezed) == len(axes):
            for axis, length in zip(axes, squeezed, strict=True):
                if isinstance(axis, str):
                    votes.setdefault(axis, Counter())[length] += 1
    return {symbol: counts.most_common(1)[0][0] for symbol, counts in votes.items()}, max(indices) + 1


def _example(layout: Layout, symbol: str) -> str:
    template = next(template for template, axes in PARAMETERS.items() if symbol in axes)
    return layout.theirs(template.replace("{i}", "0"))


def _square(num_tokens: int, patch_size: int, *, where: str) -> int:
    side = math.isqrt(num_tokens)
    if side * side != num_tokens or side == 0:
        grids = [(height, num_tokens // height) for height in _divisors(num_tokens)]
        grids.sort(key=lambda grid: abs(math.log(grid[0] / grid[1])))
        sizes = ", ".join(f"({height * patch_size}, {width * patch_size})" for height, width in grids[:_MAX_GRIDS])
        raise UnknownGridError(
            f"{where}: its {num_tokens:,} tokens are no square grid, and the file does not say which grid they are. "
            f"Give image_size (--image-size HxW): (height, width) in pixels, such as {sizes}."
        )
    return side * patch_size


def _divisors(number: int) -> Iterable[int]:
    small = [divisor for divisor in range(1, math.isqrt(number) + 1) if number % divisor == 0]
    return {*small, *(number // divisor for divisor in small)}
