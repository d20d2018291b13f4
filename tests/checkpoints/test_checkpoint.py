"""`Checkpoint`: other image and patch sizes, with everything that belongs to them."""

from dataclasses import replace
from pathlib import Path

import pytest
from tests.builders import GOLDEN, GOLDEN_CONFIG, random_weights

from allmlp import ConfigError, Preprocessing, load_checkpoint, save_checkpoint


def test_a_checkpoint_at_another_size_is_whole_and_says_what_was_done(tmp_path: Path) -> None:
    checkpoint = load_checkpoint(GOLDEN / "tiny_linen.npz")
    block = checkpoint.at_resolution((64, 32), "block")
    assert block.preprocessing.image_size == block.config.image_size == (64, 32)
    assert block.config.tokens_mlp_dim == 24
    assert "from 32 × 32 to 64 × 32 pixels: token mixing by 'block' (as requested)" in block.source
    resampled = checkpoint.at_resolution(48)
    assert resampled.config.image_size == (48, 48)
    assert "'resample' (works for any size and was the better starting point where measured" in resampled.source
    assert "'resample' (as requested)" in checkpoint.at_resolution(64, "resample").source
    assert checkpoint.at_resolution(32) is checkpoint
    save_checkpoint(resampled, tmp_path / "r")
    assert load_checkpoint(tmp_path / "r").config == resampled.config


def test_a_width_beyond_any_mixer_is_refused_for_block() -> None:
    checkpoint = load_checkpoint(GOLDEN / "tiny_linen.npz")
    wide = replace(GOLDEN_CONFIG, image_size=(8, 8), num_blocks=1, tokens_mlp_dim=1 << 16)
    of_wide = checkpoint.replace(config=wide, weights=random_weights(wide), preprocessing=Preprocessing(image_size=8))
    with pytest.raises(ConfigError):
        of_wide.at_resolution(40, "block")  # 25 times as wide: no Mixer is
    assert of_wide.at_resolution(40).config.tokens_mlp_dim == wide.tokens_mlp_dim


def test_a_checkpoint_with_other_patches_keeps_its_tokens() -> None:
    checkpoint = load_checkpoint(GOLDEN / "tiny_linen.npz").at_patch_size(12)
    assert checkpoint.config.image_size == checkpoint.preprocessing.image_size == (48, 48)
    assert checkpoint.config.num_tokens == GOLDEN_CONFIG.num_tokens
    assert "patches of 12 instead of 8 pixels" in checkpoint.source


def test_a_method_that_does_not_exist_is_refused() -> None:
    with pytest.raises(ConfigError, match="method is 'bilinear'; expected 'auto', 'block' or 'resample'"):
        load_checkpoint(GOLDEN / "tiny_linen.npz").at_resolution(64, "bilinear")  # type: ignore[arg-type]


def test_a_checkpoint_is_shown_without_its_weights() -> None:
    shown = repr(load_checkpoint("starter"))
    assert "64" in shown and "tensor(" not in shown and len(shown) < 10_000
