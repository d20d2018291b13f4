"""A Mixer's widths and depth, read off the arrays of its weights."""

import math
import re
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from allmlp.checkpoints.naming.other_models import describe_unknown_weights
from allmlp.checkpoints.naming.schemes import Layout, recognise, without_prefixes
from allmlp.checkpoints.validation import check_finite, check_shapes
from allmlp.errors import CheckpointError, ConfigError
from allmlp.io.display import summarise
from allmlp.model import MAX_SIDE, PARAMETERS, Gelu, MixerConfig, parameter_shapes

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["State", "UnknownGridError", "read_state"]

_MAX_GRIDS = 12
_MAX_TENSORS = 20_000  # 390 in H/14


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
    shapes: Mapping[str, tuple[int, ...]],
    read: "Callable[[], Mapping[str, Tensor]]",
    *,
    where: str,
    remark: str = "",
    image_size: int | tuple[int, int] | None = None,
    gelu: Gelu | None = None,
) -> State:
    """Read the weights of a Mixer in any layout. Nothing is read before all names and shapes fit.

    Args:
        shapes: of all tensors, as stored, by their stored names.
        read: returns all tensors by their stored names.
        where: leads an error.
        remark: which of a file's weights these are, for people, or "".
        image_size: (height, width) in pixels that the weights are for; None takes the token grid for a square.
        gelu: None takes what the layout's code computes.

    Raises:
        CheckpointError: not a Mixer, or weights that do not fit together: every missing, unexpected and misshapen name.
    """
    if len(shapes) > _MAX_TENSORS:
        raise CheckpointError(
            f"{where}: {len(shapes):,} tensors; no Mixer has more than {_MAX_TENSORS:,}. {describe_unknown_weights(shapes)}"
        )
    stored = without_prefixes(shapes, where=where)
    layout = recognise(stored, where=where)
    shapes = {name: shapes[stored_name] for name, stored_name in stored.items()}
    lengths, num_blocks = _vote(shapes, layout)
    _check_names(shapes, lengths, layout, num_blocks, where=where)
    config = _config(lengths, num_blocks, layout, image_size=image_size, gelu=gelu, where=where)
    ours = {name: layout.ours(name) for name in shapes}
    wanted = {name: layout.from_our_shape(shape) for name, shape in parameter_shapes(config).items()}
    found = {
        ours_name or name: layout.squeezed(ours_name, shapes[name], wanted.get(ours_name))
        if ours_name
        else shapes[name]
        for name, ours_name in ours.items()
    }
    check_shapes(wanted, found, where=where, shown_name=layout.theirs, advice=_advice(config, lengths["S"]))
    tensors = read()
    weights = {
        our_name: layout.to_ours(tensors[stored[name]], found[our_name]) for name, our_name in ours.items() if our_name
    }
    check_finite({stored[name]: weights[our_name] for name, our_name in ours.items() if our_name}, where=where)
    return State(config, weights, f"{layout.name}, {remark}" if remark else layout.name)


def _advice(config: MixerConfig, num_tokens: int) -> str:
    if num_tokens == config.num_tokens:
        return ""
    height, width = config.image_size
    what = f"They are for {num_tokens:,} tokens; {height} × {width} pixels make {config.num_tokens:,}. "
    if math.isqrt(num_tokens) ** 2 == num_tokens:
        return (
            f"{what}To change their size, load them without image_size, then .at_resolution(({height}, {width})), or "
            "--image-size of any command."
        )
    return (
        f"{what}The tokens are no square grid: to change their size, say in Python which size the weights are for, "
        f"load_checkpoint(..., image_size=ORIGINAL).at_resolution(({height}, {width})), and save_checkpoint what comes of it. "
        f"ORIGINAL may be {_possible_sizes(num_tokens, config.patch_size)}."
    )


def _config(
    lengths: Mapping[str, int],
    num_blocks: int,
    layout: Layout,
    *,
    image_size: int | tuple[int, int] | None,
    gelu: Gelu | None,
    where: str,
) -> MixerConfig:
    if not 1 <= lengths["S"] <= MAX_SIDE**2:
        raise CheckpointError(f"{where}: its {lengths['S']:,} tokens are no grid; expected 1 to {MAX_SIDE**2:,}.")
    size = _square(lengths["S"], lengths["P"], where=where) if image_size is None else image_size
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
    words: list[list[tuple[str, int]]] = []  # what each array says
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
            words.append([(axis, size) for axis, size in zip(axes, squeezed, strict=True) if isinstance(axis, str)])
            for axis, length in words[-1]:
                votes.setdefault(axis, Counter())[length] += 1
    return _decide(votes, words), max(indices) + 1


def _decide(votes: Mapping[str, Counter[int]], words: list[list[tuple[str, int]]]) -> dict[str, int]:
    """Return the winning lengths. Of as many votes, those of the array win whose other axes won, too."""
    first = {symbol: counts.most_common(1)[0][0] for symbol, counts in votes.items()}
    trust = {symbol: Counter[int]() for symbol in votes}
    for said in words:
        for axis, length in said:
            others = [(symbol, size) for symbol, size in said if symbol != axis]
            if all(first[symbol] == size for symbol, size in others):
                trust[axis][length] = max(trust[axis][length], 1 + len(others))
    return {
        symbol: max(counts, key=lambda length: (counts[length], trust[symbol][length]))
        for symbol, counts in votes.items()
    }


def _check_names(
    shapes: Mapping[str, tuple[int, ...]],
    lengths: Mapping[str, int],
    layout: Layout,
    num_blocks: int,
    *,
    where: str,
) -> None:
    """Refuse weights that lack what says a width: without it, no shapes can be compared, but all names can."""
    if {"P", "S", "C", "D_S", "D_C"} <= set(lengths):
        return
    num_blocks = min(num_blocks, len(shapes))  # block 999,999 alone makes no million of names
    ours = [
        name.replace("{i}", str(index)) for name in PARAMETERS for index in range(num_blocks if "{i}" in name else 1)
    ]
    found = {layout.ours(name) for name in shapes}
    if not {"head.weight", "head.bias"} & found:  # features
        ours = [name for name in ours if not name.startswith("head.")]
    missing = [layout.theirs(name) for name in ours if name not in found]
    what = (
        f"weights are missing: {summarise(missing, limit=400)}"
        if missing
        else "its weights have other axes than a Mixer's"
    )
    raise CheckpointError(f"{where}: {what}. Without them the widths of the Mixer are unknown.")


def _square(num_tokens: int, patch_size: int, *, where: str) -> int:
    side = math.isqrt(num_tokens)
    if side * side != num_tokens:
        raise UnknownGridError(
            f"{where}: its {num_tokens:,} tokens are no square grid, and the file does not say which grid they are. "
            f"Give image_size (--image-size HxW): (height, width) in pixels, such as "
            f"{_possible_sizes(num_tokens, patch_size)}."
        )
    return side * patch_size


def _possible_sizes(num_tokens: int, patch_size: int) -> str:
    """Return the image sizes of the squarest grids of so many tokens, at most MAX_SIDE squared, for people."""
    small = [divisor for divisor in range(1, math.isqrt(num_tokens) + 1) if num_tokens % divisor == 0]
    grids = [(height, num_tokens // height) for height in small]
    grids += [(width, height) for height, width in grids]
    grids.sort(key=lambda grid: abs(math.log(grid[0] / grid[1])))
    return ", ".join(f"({height * patch_size}, {width * patch_size})" for height, width in grids[:_MAX_GRIDS])
