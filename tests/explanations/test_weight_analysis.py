"""The weights of a Mixer as pictures: the same from every format, and planted structure that an untrained Mixer lacks."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.builders import GOLDEN, GOLDEN_CONFIG, random_weights, tiny_checkpoint, tiny_description
from tests.checkpoints.timm_folder import NARROW_S32, write_timm_folder
from tests.explanations.test_opposing_pairs import planted

from allmlp import Checkpoint, CheckpointError, ConfigError, MlpMixer, WeightAnalysis, analyse_weights, save_checkpoint
from allmlp.checkpoints import FORMATS, as_arrays
from allmlp.explanations import HiddenUnits


def assert_same(found: WeightAnalysis, expected: WeightAnalysis) -> None:
    assert found.config.grid == expected.config.grid
    for units, others in zip(found.trained.units, expected.trained.units, strict=True):
        np.testing.assert_array_equal(units.pictures, others.pictures)
        np.testing.assert_array_equal(units.pairs.pairs, others.pairs.pairs)
        np.testing.assert_array_equal(units.pairs.unpaired, others.pairs.unpaired)
    np.testing.assert_array_equal(found.trained.filters.pictures, expected.trained.filters.pictures)
    np.testing.assert_array_equal(found.trained.filters.order, expected.trained.filters.order)
    assert found.summary() == expected.summary()


def share_paired(units: HiddenUnits) -> float:
    facts = units.summary()
    return float(facts["num_paired"] / facts["num_units"])


@pytest.mark.parametrize("layout", ["linen", "prelinen"])
def test_units_and_filters_are_the_columns_of_the_authors_kernels(layout: str) -> None:
    analysis = analyse_weights(GOLDEN / f"tiny_{layout}.npz")
    with np.load(GOLDEN / "tiny_linen.npz") as theirs:
        for index, units in enumerate(analysis.trained.units):
            kernel = theirs[f"MixerBlock_{index}/token_mixing/Dense_0/kernel"]  # (S, D_S)
            for unit in range(GOLDEN_CONFIG.tokens_mlp_dim):
                np.testing.assert_array_equal(units.pictures[unit], kernel[:, unit].reshape(4, 4))
        stem = theirs["stem/kernel"]  # (P, P, 3, C)
        np.testing.assert_array_equal(analysis.trained.filters.pictures[5], stem[..., 5].transpose(2, 0, 1))
    assert len(analysis.trained.units) == 3


def test_every_format_gives_the_same_pictures(tmp_path: Path) -> None:
    timm = write_timm_folder(tmp_path)  # under timm's names
    native = Checkpoint(
        description=tiny_description(config=NARROW_S32, class_names=tuple("abcde")), weights=random_weights(NARROW_S32)
    )
    expected = analyse_weights(native)
    for source in (
        as_arrays(native),
        save_checkpoint(native, tmp_path / "native"),
        str(timm),
        timm / "model.safetensors",
        FORMATS["google"].save(native, tmp_path / "google.npz"),
    ):
        assert_same(analyse_weights(source), expected)
    assert analyse_weights(native).config.grid == (2, 2)


def test_rows_and_columns_of_a_grid_that_is_not_square() -> None:
    checkpoint = tiny_checkpoint(image_size=(16, 32), tokens_mlp_dim=5)
    matrix = checkpoint.weights["blocks.1.token_mixing.fc1.weight"].numpy()
    analysis = analyse_weights(checkpoint)
    pictures = analysis.trained.units[1].pictures
    assert pictures.shape == analysis.untrained.units[1].pictures.shape == (5, 2, 4)
    assert pictures[3, 1, 2] == matrix[3, 1 * 4 + 2]  # tokens are numbered row by row


def with_units(checkpoint: Checkpoint, pictures: np.ndarray[Any, Any]) -> Checkpoint:
    weight = torch.from_numpy(pictures.reshape(len(pictures), -1))
    names = [f"blocks.{index}.token_mixing.fc1.weight" for index in range(checkpoint.config.num_blocks)]
    return checkpoint.replace(weights={**checkpoint.weights, **dict.fromkeys(names, weight)})


def test_planted_waves_stand_out_from_the_untrained_mixer() -> None:
    pictures, expected = planted(24, 8)
    plain = tiny_checkpoint(image_size=14 * 4, patch_size=4, tokens_mlp_dim=len(pictures))
    analysis = analyse_weights(with_units(plain, pictures))
    for trained, untrained in zip(analysis.trained.units, analysis.untrained.units, strict=True):
        assert {frozenset(pair) for pair in trained.pairs.pairs.tolist()} == expected
        assert share_paired(trained) == 48 / 56
        assert share_paired(untrained) < 0.1
        facts, control = trained.summary(), untrained.summary()
        assert facts["median_opposite_cosine"] < -0.9 < -0.3 < control["median_opposite_cosine"]
        assert facts["median_frequency"] < control["median_frequency"] - 0.05


def test_an_untrained_mixer_has_few_pairs_and_the_same_medians_as_another_one() -> None:
    config = tiny_checkpoint(image_size=224, patch_size=16, tokens_mlp_dim=384, num_blocks=1).config
    torch.manual_seed(5)
    model = MlpMixer(config)
    analysis = analyse_weights(Checkpoint.from_module(model, like=tiny_description(config=config)), seed=1)
    (given,), (untrained,) = analysis.trained.units, analysis.untrained.units
    assert share_paired(given) < 0.02 and share_paired(untrained) < 0.02
    assert given.summary()["median_frequency"] == pytest.approx(untrained.summary()["median_frequency"], abs=0.01)
    # The standard deviation of the initialisation, 1/sqrt(196), of 75,264 weights.
    assert untrained.pictures.std() == pytest.approx(1 / 14, rel=0.02)
    assert analysis.untrained.filters.pictures.std() == pytest.approx(1 / np.sqrt(3 * 16 * 16), rel=0.05)


def test_the_seed_draws_the_untrained_mixer_and_the_random_state_is_left_alone() -> None:
    checkpoint = tiny_checkpoint()
    before = torch.get_rng_state()
    first, again, other = (analyse_weights(checkpoint, seed=seed).untrained for seed in (0, 0, 1))
    assert torch.equal(torch.get_rng_state(), before)
    np.testing.assert_array_equal(first.units[0].pictures, again.units[0].pictures)
    assert (first.units[0].pictures != other.units[0].pictures).any()
    assert (first.filters.pictures != other.filters.pictures).any()


@pytest.mark.parametrize(
    ("num_blocks", "drawn"), [(1, (0,)), (2, (0, 1)), (3, (0, 1, 2)), (4, (0, 1, 2, 3)), (9, (0, 1, 2, 8))]
)
def test_the_first_three_blocks_and_the_last_are_drawn(num_blocks: int, drawn: tuple[int, ...]) -> None:
    assert analyse_weights(tiny_checkpoint(num_blocks=num_blocks)).drawn_blocks == drawn


def test_json_holds_the_medians_of_all_blocks_and_the_order_of_the_drawn_ones() -> None:
    analysis = analyse_weights(tiny_checkpoint(num_blocks=5, tokens_mlp_dim=9))
    values = json.loads(json.dumps(analysis.to_json_object(), allow_nan=False))
    assert [block["block"] for block in values["blocks"]] == [1, 2, 3, 4, 5]
    assert [block["block"] for block in values["drawn"]] == [1, 2, 3, 5]
    units = analysis.trained.units[4]
    last, medians = values["drawn"][3], values["blocks"][4]["trained"]
    listed = [each[key] for each in last["pairs"] for key in ("unit", "partner")] + last["unpaired"]
    assert sorted(listed) == list(range(9))
    assert medians["num_paired"] == 2 * len(last["pairs"]) and medians["num_units"] == 9
    assert medians["median_frequency"] == np.median(units.pairs.frequencies)
    assert values["filter_order"] == np.argsort(analysis.trained.filters.frequencies, kind="stable").tolist()
    assert values["model"]["image_size"] == [16, 16]


def test_a_mixer_without_pairs_has_no_median_of_them() -> None:
    analysis = analyse_weights(with_units(tiny_checkpoint(), np.ones((4, 4), np.float32)))
    facts = analysis.trained.units[0].summary()
    assert facts["num_paired"] == 0 and facts["median_pair_cosine"] is None
    json.dumps(analysis.to_json_object(), allow_nan=False)


def test_a_mixer_of_a_single_patch_is_refused() -> None:
    with pytest.raises(
        ConfigError, match=r"made by a test: an image of 8 × 8 pixels is a single patch.* a multiple of 8\."
    ):
        analyse_weights(tiny_checkpoint(image_size=8))


@pytest.mark.parametrize("seed", [-1, 1.5, "0", True, None, 2**63])
def test_what_is_no_seed_is_refused(seed: Any) -> None:
    with pytest.raises(ConfigError, match="expected a whole number from 0"):
        analyse_weights(tiny_checkpoint(), seed=seed)


def test_what_is_no_checkpoint_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("not weights")
    for source in (tmp_path / "notes.txt", tmp_path / "nothing"):
        with pytest.raises(CheckpointError, match=source.name):
            analyse_weights(source)
