"""`analyse_weights`: the token-mixing units and patch filters of a Mixer as pictures, next to those of an untrained one."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from allmlp.checkpoints import ArrayCheckpoint, Checkpoint, as_arrays, load_arrays
from allmlp.config import to_dict
from allmlp.errors import ConfigError
from allmlp.explanations.opposing_pairs import MAX_PAIR_COSINE, OpposingPairs, pair_opposites, picture_frequencies
from allmlp.io.display import escape, shorten
from allmlp.model import MixerConfig

__all__ = ["HiddenUnits", "PatchFilters", "WeightAnalysis", "WeightPictures", "analyse_weights", "weight_pictures"]

_NUM_FIRST_BLOCKS = 3  # those of figure 5


@dataclass(frozen=True, kw_only=True, eq=False)
class HiddenUnits:
    """The hidden units of a token-mixing MLP.

    Attributes:
        pictures: (D_S, rows, columns) float32: the weights W1 of each unit over the grid of patches, in the checkpoint's order.
        pairs: their frequencies, in cycles per patch, and the pairs of opposing phase.
    """

    pictures: NDArray[np.float32]
    pairs: OpposingPairs

    def summary(self) -> dict[str, Any]:
        """Return the numbers of units and of those that have a partner, and medians over all units.

        `median_opposite_cosine` is of each unit's most negative cosine with any other; `median_pair_cosine` only of the pairs,
        None if there are none.
        """
        pairs = self.pairs
        return {
            "num_units": len(self.pictures),
            "num_paired": 2 * len(pairs.pairs),
            "median_frequency": float(np.median(pairs.frequencies)),
            "median_opposite_cosine": float(np.median(pairs.opposites)),
            "median_pair_cosine": float(np.median(pairs.cosines)) if len(pairs.cosines) else None,
        }


@dataclass(frozen=True, kw_only=True, eq=False)
class PatchFilters:
    """The filters of the patch projection.

    Attributes:
        pictures: (C, 3, P, P) float32: the weights of each channel, of R, G and B, in the checkpoint's order.
        frequencies: (C,) float64, in cycles per pixel. The mean counts, as frequency 0: a filter of one colour comes first.
    """

    pictures: NDArray[np.float32]
    frequencies: NDArray[np.float64]

    @property
    def order(self) -> NDArray[np.int64]:
        """The indices of the filters (C,), from the lowest frequency to the highest."""
        return np.argsort(self.frequencies, kind="stable")

    def summary(self) -> dict[str, Any]:
        """Return the number of filters and their median frequency."""
        return {"num_filters": len(self.pictures), "median_frequency": float(np.median(self.frequencies))}


@dataclass(frozen=True, kw_only=True, eq=False)
class WeightPictures:
    """The weights of a Mixer that are pictures: the units of each of its N blocks, and its patch filters."""

    units: tuple[HiddenUnits, ...]
    filters: PatchFilters


@dataclass(frozen=True, kw_only=True, eq=False)
class WeightAnalysis:
    """Result of `analyse_weights`: figures 5 to 7 of the paper, in numbers and arrays.

    Attributes:
        source: where the weights came from, in words.
        config: the architecture, also of the untrained Mixer.
        trained: the pictures of the checkpoint.
        seed: of the untrained Mixer.
        untrained: the pictures of a Mixer of the same architecture as it is initialised, in which there is no structure.
    """

    source: str
    config: MixerConfig
    trained: WeightPictures
    seed: int
    untrained: WeightPictures

    @cached_property
    def drawn_blocks(self) -> tuple[int, ...]:
        """The indices of the blocks that are drawn, from 0: the first three, as in figure 5, and the last."""
        last = self.config.num_blocks - 1
        return tuple(sorted({*range(min(_NUM_FIRST_BLOCKS, last + 1)), last}))

    def summary(self) -> dict[str, Any]:
        """Return the medians of all blocks, numbered from 1, and of the patch filters, trained and untrained, for JSON."""
        return {
            "untrained_seed": self.seed,
            "max_pair_cosine": MAX_PAIR_COSINE,
            "blocks": [
                {"block": number, "trained": trained.summary(), "untrained": untrained.summary()}
                for number, (trained, untrained) in enumerate(
                    zip(self.trained.units, self.untrained.units, strict=True), start=1
                )
            ],
            "filters": {"trained": self.trained.filters.summary(), "untrained": self.untrained.filters.summary()},
        }

    def to_json_object(self) -> dict[str, Any]:
        """Return `summary`, the model, and what the pictures show in their order: pairs, units without a partner, filters.

        Indices of units and filters are those of the checkpoint, from 0.
        """
        return {
            "source": self.source,
            "model": to_dict(self.config),
            **self.summary(),
            "drawn": [{"block": index + 1, **_listed(self.trained.units[index].pairs)} for index in self.drawn_blocks],
            "filter_order": self.trained.filters.order.tolist(),
        }


def _listed(found: OpposingPairs) -> dict[str, Any]:
    rows = zip(found.pairs.tolist(), found.cosines.tolist(), strict=True)
    return {
        "pairs": [
            {"unit": unit, "partner": partner, "cosine": cosine, "frequency": float(found.frequencies[unit])}
            for (unit, partner), cosine in rows
        ],
        "unpaired": found.unpaired.tolist(),
    }


def analyse_weights(source: str | Path | Checkpoint | ArrayCheckpoint, *, seed: int = 0) -> WeightAnalysis:
    """Read a Mixer's token-mixing units and patch filters as pictures, sort and pair them, and do the same untrained.

    Only weights are read: no photos are needed. `allmlp.draw_weights` draws the result.

    Args:
        source: a path, a name or a checkpoint, as `load_checkpoint` takes it. (An export is not: name its checkpoint.)
        seed: of the untrained Mixer's random weights, at least 0.

    Raises:
        CheckpointError: nothing usable at `source`.
        ConfigError: an image of this Mixer is a single patch, so that there is nothing to draw, or an invalid seed.
    """
    if isinstance(seed, bool) or not isinstance(seed, int) or not 0 <= seed < 2**63:
        raise ConfigError(f"seed is {shorten(escape(repr(seed)), 40)}; expected a whole number from 0.")
    if isinstance(source, Checkpoint):
        source = as_arrays(source)
    model = source if isinstance(source, ArrayCheckpoint) else load_arrays(source)
    config = model.description.config
    if config.num_tokens == 1:
        height, width = config.image_size
        raise ConfigError(
            f"{shorten(escape(model.description.source), 200)}: an image of {height} × {width} pixels is a single patch, so "
            f"that token mixing has no picture. Use a larger image size: a multiple of {config.patch_size}."
        )
    return WeightAnalysis(
        source=model.description.source,
        config=config,
        trained=weight_pictures(model.weights, config),
        seed=seed,
        untrained=weight_pictures(_untrained_weights(config, seed), config),
    )


def weight_pictures(weights: Mapping[str, NDArray[np.float32]], config: MixerConfig) -> WeightPictures:
    """Return the pictures of a Mixer's weights, by the names and in the shapes of `Checkpoint.weights`."""
    units = []
    for index in range(config.num_blocks):
        matrix = weights[f"blocks.{index}.token_mixing.fc1.weight"]
        pictures = matrix.reshape(-1, *config.grid)  # (D_S, rows, columns)
        units.append(HiddenUnits(pictures=pictures, pairs=pair_opposites(pictures)))
    filters = weights["patch_projection.weight"]
    frequencies = picture_frequencies(filters)
    return WeightPictures(units=tuple(units), filters=PatchFilters(pictures=filters, frequencies=frequencies))


def _untrained_weights(config: MixerConfig, seed: int) -> dict[str, NDArray[np.float32]]:
    """Return the token mixing and patch projection of a new Mixer. The user's random state is not changed."""
    import torch

    from allmlp.model import MlpMixer

    # How these weights are drawn depends on neither of these two parts, which are most of a Mixer.
    small = replace(config, channels_mlp_dim=1, num_classes=0)
    with torch.random.fork_rng(devices=[]), torch.device("cpu"):
        torch.manual_seed(seed)
        state = MlpMixer(small).state_dict()
    return {name: weight.float().numpy() for name, weight in state.items()}
