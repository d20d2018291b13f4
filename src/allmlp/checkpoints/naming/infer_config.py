"""A Mixer's configuration, inferred from the names and shapes of its weights."""

import math
import re
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from allmlp.checkpoints.naming.other_models import describe_unknown_weights, grey_advice
from allmlp.checkpoints.naming.schemes import NamingScheme
from allmlp.checkpoints.naming.selection import select_mixer
from allmlp.checkpoints.validation import check_finite, check_shapes
from allmlp.errors import CheckpointError, ConfigError
from allmlp.io.display import summarise
from allmlp.model import MAX_SIDE, PARAMETERS, Gelu, MixerConfig, parameter_shapes

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["State", "UnknownGridError", "read_state"]

_MAX_GRIDS = 12
_PATCHES = "patch_projection.weight"
_MAX_TENSORS = 20_000  # 390 in H/14

_GATED = (
    "It looks like a gMixer: its MLPs are gated (GLU), so that the second layer takes half of the first one's output."
)


class UnknownGridError(CheckpointError):
    """The tokens do not form a square and the file does not state their grid, so an image size is needed to read it."""


@dataclass(frozen=True)
class State:
    """A Mixer's weights with our names and axes, and what their file reveals about them.

    Attributes:
        config: inferred from the arrays.
        weights: a state dict for `MlpMixer(config)`; its tensors are views of those that were read.
        scheme: the name of the naming scheme, such as "timm".
        form: the naming scheme and the remark, in words, such as "timm, its EMA weights".
        remarks: what was left out of the file, in sentences.
    """

    config: MixerConfig
    weights: "Mapping[str, Tensor]"
    scheme: str
    form: str
    remarks: tuple[str, ...]


def read_state(
    shapes: Mapping[str, tuple[int, ...]],
    read: "Callable[[Collection[str]], Mapping[str, Tensor]]",
    *,
    where: str,
    remark: str = "",
    image_size: int | tuple[int, int] | None = None,
    gelu: Gelu | None = None,
) -> State:
    """Read the weights of a Mixer in any naming scheme. Nothing is read before all names and shapes fit.

    Args:
        shapes: the shapes of all tensors, as stored, by their stored names.
        read: returns the tensors with the given stored names, by these names.
        where: starts error messages.
        remark: which of the file's weights these are, in words, or "".
        image_size: (height, width) in pixels that the weights are for; None assumes a square grid of tokens.
        gelu: None means the GELU of the naming scheme's code.

    Raises:
        CheckpointError: not a Mixer, or its weights do not fit each other; lists every missing, unexpected and misshapen
            name.
    """
    if len(shapes) > _MAX_TENSORS:
        raise CheckpointError(
            f"{where}: {len(shapes):,} tensors; expected at most {_MAX_TENSORS:,} of a Mixer. "
            f"{describe_unknown_weights(shapes)}"
        )
    selection = select_mixer(shapes, where=where)
    stored, scheme = selection.stored, selection.scheme
    shapes = {name: shapes[stored_name] for name, stored_name in stored.items()}
    lengths, num_blocks = _vote(shapes, scheme)
    _check_names(shapes, lengths, scheme, num_blocks, where=where)
    config = _config(lengths, num_blocks, scheme, image_size=image_size, gelu=gelu, where=where)
    ours = {name: scheme.ours(name) for name in shapes}
    wanted = {name: scheme.from_our_shape(shape) for name, shape in parameter_shapes(config).items()}
    found = {
        ours_name or name: scheme.squeezed(ours_name, shapes[name], wanted.get(ours_name))
        if ours_name
        else shapes[name]
        for name, ours_name in ours.items()
    }
    advice = _GATED if _is_gated(shapes, scheme) else _grey(found, scheme) or _advice(config, lengths["S"])
    check_shapes(wanted, found, where=where, shown_name=scheme.theirs, advice=advice)
    tensors = read(stored.values())
    weights = {
        our_name: scheme.to_ours(tensors[stored[name]], found[our_name]) for name, our_name in ours.items() if our_name
    }
    check_finite({stored[name]: weights[our_name] for name, our_name in ours.items() if our_name}, where=where)
    form = f"{scheme.name}, {remark}" if remark else scheme.name
    return State(config, weights, scheme.name, form, selection.remarks)


def _is_gated(shapes: Mapping[str, tuple[int, ...]], scheme: NamingScheme) -> bool:
    """Whether the second layers of token mixing take half of what the first ones give, as timm's gMixer."""
    ours = {name: shape for stored, shape in shapes.items() if (name := scheme.ours(stored)) is not None}
    firsts = {name: shape for name, shape in ours.items() if name.endswith("token_mixing.fc1.weight") and shape}
    seconds = {name: ours.get(name.replace(".fc1.", ".fc2."), ()) for name in firsts}
    return bool(firsts) and all(shape[0] == 2 * (seconds[name] or (0,))[-1] for name, shape in firsts.items())


def _grey(found: Mapping[str, tuple[int, ...]], scheme: NamingScheme) -> str:
    """Return advice on weights for photos of one channel; "" for any others."""
    axis = scheme.axes(_PATCHES).index(3)
    shape = found.get(_PATCHES, ())
    return grey_advice(scheme.theirs(_PATCHES), axis=axis) if len(shape) == 4 and shape[axis] == 1 else ""


def _advice(config: MixerConfig, num_tokens: int) -> str:
    if num_tokens == config.num_tokens:
        return ""
    height, width = config.image_size
    mismatch = f"The weights are for {num_tokens:,} tokens; {height} × {width} pixels make {config.num_tokens:,}. "
    if math.isqrt(num_tokens) ** 2 == num_tokens:
        return (
            f"{mismatch}To convert them, load them without image_size and call .at_resolution(({height}, {width})), or use "
            "--image-size of any command."
        )
    return (
        f"{mismatch}The tokens do not form a square, so state in Python which image size the weights are for: "
        f"load_checkpoint(..., image_size=ORIGINAL).at_resolution(({height}, {width})). Then save the result with "
        f"save_checkpoint. ORIGINAL may be {_possible_sizes(num_tokens, config.patch_size)}."
    )


def _config(
    lengths: Mapping[str, int],
    num_blocks: int,
    scheme: NamingScheme,
    *,
    image_size: int | tuple[int, int] | None,
    gelu: Gelu | None,
    where: str,
) -> MixerConfig:
    if not 1 <= lengths["S"] <= MAX_SIDE**2:
        raise CheckpointError(f"{where}: its weights are for {lengths['S']:,} tokens; expected 1 to {MAX_SIDE**2:,}.")
    size = _square(lengths["S"], lengths["P"], where=where) if image_size is None else image_size
    try:
        return MixerConfig(
            image_size=cast("tuple[int, int]", size),  # an int is made a square
            patch_size=lengths["P"],
            num_blocks=num_blocks,
            hidden_dim=lengths["C"],
            tokens_mlp_dim=lengths["D_S"],
            channels_mlp_dim=lengths["D_C"],
            num_classes=lengths.get("K", 0),
            gelu=gelu or scheme.gelu,
        )
    except ConfigError as error:
        raise CheckpointError(f"{where}: {error}") from error


def _vote(shapes: Mapping[str, tuple[int, ...]], scheme: NamingScheme) -> tuple[dict[str, int], int]:
    """Return the length for each of the paper's letters by majority vote of the arrays, and the number of blocks.

    A single damaged or transposed array is outvoted, so the error names that array and not all the others.
    """
    votes: dict[str, Counter[int]] = {}
    ballots: list[list[tuple[str, int]]] = []  # the letters and lengths of each array
    indices = {0}
    for name, shape in shapes.items():
        ours = scheme.ours(name)
        if ours is None:
            continue
        block = re.search(r"\.(\d+)\.", ours)
        indices |= {int(block[1])} if block else set()
        axes = scheme.axes(ours)
        squeezed = scheme.squeezed(ours, shape)
        if len(squeezed) == len(axes):
            ballots.append([(axis, size) for axis, size in zip(axes, squeezed, strict=True) if isinstance(axis, str)])
            for axis, length in ballots[-1]:
                votes.setdefault(axis, Counter())[length] += 1
    return _decide(votes, ballots), max(indices) + 1


def _decide(votes: Mapping[str, Counter[int]], ballots: list[list[tuple[str, int]]]) -> dict[str, int]:
    """Return the winning lengths. A tie goes to the array whose other axes have winning lengths."""
    first = {symbol: counts.most_common(1)[0][0] for symbol, counts in votes.items()}
    trust = {symbol: Counter[int]() for symbol in votes}
    for ballot in ballots:
        for axis, length in ballot:
            other_axes = [(symbol, size) for symbol, size in ballot if symbol != axis]
            if all(first[symbol] == size for symbol, size in other_axes):
                trust[axis][length] = max(trust[axis][length], 1 + len(other_axes))
    return {
        symbol: max(counts, key=lambda length: (counts[length], trust[symbol][length]))
        for symbol, counts in votes.items()
    }


def _check_names(
    shapes: Mapping[str, tuple[int, ...]],
    lengths: Mapping[str, int],
    scheme: NamingScheme,
    num_blocks: int,
    *,
    where: str,
) -> None:
    """Refuse weights that leave a width unknown: shapes cannot be compared then, but names can."""
    if {"P", "S", "C", "D_S", "D_C"} <= set(lengths):
        return
    num_blocks = min(num_blocks, len(shapes))  # a lone block 999,999 must not make a million names
    ours = [
        name.replace("{i}", str(index)) for name in PARAMETERS for index in range(num_blocks if "{i}" in name else 1)
    ]
    found = {scheme.ours(name) for name in shapes}
    if not {"head.weight", "head.bias"} & found:  # features
        ours = [name for name in ours if not name.startswith("head.")]
    missing = [scheme.theirs(name) for name in ours if name not in found]
    if missing:
        raise CheckpointError(
            f"{where}: weights are missing: {summarise(missing, limit=400)}. Without them the widths of the Mixer are unknown."
        )
    raise CheckpointError(
        f"{where}: its weights do not have the number of axes that a Mixer's have, so the widths of the Mixer are unknown."
    )


def _square(num_tokens: int, patch_size: int, *, where: str) -> int:
    side = math.isqrt(num_tokens)
    if side * side != num_tokens:
        raise UnknownGridError(
            f"{where}: its {num_tokens:,} tokens do not form a square grid, and the file does not state the image size. "
            f"Give it as image_size or --image-size HxW. Possible sizes as (height, width) in pixels: "
            f"{_possible_sizes(num_tokens, patch_size)}."
        )
    return side * patch_size


def _possible_sizes(num_tokens: int, patch_size: int) -> str:
    """Return, as text, the image sizes of the grids of `num_tokens` (at most MAX_SIDE squared) nearest to a square."""
    small = [divisor for divisor in range(1, math.isqrt(num_tokens) + 1) if num_tokens % divisor == 0]
    grids = [(height, num_tokens // height) for height in small]
    grids += [(width, height) for height, width in grids]
    grids.sort(key=lambda grid: abs(math.log(grid[0] / grid[1])))
    return ", ".join(f"({height * patch_size}, {width * patch_size})" for height, width in grids[:_MAX_GRIDS])
