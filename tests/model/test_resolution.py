"""Other image sizes: appendix C's mean of crops, exactly; the identity; smooth maps; refusals."""

import itertools
from dataclasses import replace

import pytest
import torch
from tests.builders import random_weights, tiny_config
from torch import Tensor

from allmlp.errors import ConfigError
from allmlp.model import MixerConfig, MlpMixer, at_patch_size, at_resolution

CONFIG = tiny_config(image_size=(32, 48), hidden_dim=24, tokens_mlp_dim=14, channels_mlp_dim=40, num_classes=7)


def logits(config: MixerConfig, weights: dict[str, Tensor], images: Tensor) -> Tensor:
    model = MlpMixer(config).eval()
    model.load_state_dict(weights)
    with torch.inference_mode():
        return model(images)


@pytest.mark.parametrize("factors", [(2, 2), (3, 3), (2, 1), (1, 2), (2, 3), (3, 2)])
def test_block_logits_are_the_mean_over_crops(factors: tuple[int, int]) -> None:
    """Appendix C; rounding in float32 is all that may differ."""
    (height, width), weights = CONFIG.image_size, random_weights(CONFIG)
    large, grown = at_resolution(CONFIG, weights, (factors[0] * height, factors[1] * width), method="block")
    assert large.tokens_mlp_dim == factors[0] * factors[1] * CONFIG.tokens_mlp_dim
    images = torch.randn(5, 3, *large.image_size, generator=torch.Generator().manual_seed(1))
    crops = [
        images[..., top : top + height, left : left + width]
        for top, left in itertools.product(range(0, large.image_size[0], height), range(0, large.image_size[1], width))
    ]
    wanted = torch.stack([logits(CONFIG, weights, crop) for crop in crops]).mean(0)
    torch.testing.assert_close(logits(large, grown, images), wanted, rtol=0, atol=1e-5 * wanted.abs().max().item())


@pytest.mark.parametrize("method", ["block", "resample"])
def test_the_same_size_changes_nothing(method: str) -> None:
    weights = random_weights(CONFIG)
    config, same = at_resolution(CONFIG, weights, CONFIG.image_size, method=method)
    assert config == CONFIG
    assert all(torch.equal(same[name], weights[name]) for name in weights)


def test_resampling_one_axis_by_one_is_exact_on_the_other() -> None:
    """A grid that keeps its width: every column is resampled by itself."""
    weights = random_weights(CONFIG)
    config, resampled = at_resolution(CONFIG, weights, (64, 48), method="resample")
    bias = weights["blocks.0.token_mixing.fc2.bias"].reshape(4, 6)
    expected = torch.nn.functional.interpolate(bias.T[None], size=8, mode="linear")[0].T
    torch.testing.assert_close(resampled["blocks.0.token_mixing.fc2.bias"].reshape(8, 6), expected)
    assert config.tokens_mlp_dim == CONFIG.tokens_mlp_dim


@pytest.mark.parametrize("image_size", [(64, 96), (40, 56), (24, 32), (16, 24), (48, 32), (8, 8)])
def test_resampled_maps_are_torch_s_antialiased_interpolation(image_size: tuple[int, int]) -> None:
    weights = random_weights(CONFIG)
    config, resampled = at_resolution(CONFIG, weights, image_size, method="resample")
    for index in range(CONFIG.num_blocks):
        name = f"blocks.{index}.token_mixing.fc2.weight"
        maps = weights[name].T.reshape(-1, 1, *CONFIG.grid)
        expected = torch.nn.functional.interpolate(maps, size=config.grid, mode="bilinear", antialias=True)
        torch.testing.assert_close(resampled[name], expected.reshape(-1, config.num_tokens).T, rtol=1e-5, atol=1e-6)


def wave(grid: tuple[int, int]) -> Tensor:
    """Return a smooth map (S,) on a grid: half a wave along each axis, sampled at cell centres."""
    rows, columns = ((torch.arange(side) + 0.5) / side for side in grid)
    return (torch.cos(torch.pi * rows)[:, None] + torch.sin(torch.pi * columns)[None]).flatten()


@pytest.mark.parametrize("sides", [(12, 12), (10, 14), (16, 16), (7, 9), (6, 8)])
def test_a_smooth_map_keeps_its_hidden_activations(sides: tuple[int, int]) -> None:
    config = replace(CONFIG, image_size=(64, 64))
    weights = random_weights(config)
    large, resampled = at_resolution(config, weights, (sides[0] * 8, sides[1] * 8), method="resample")
    name = "blocks.1.token_mixing.fc1.weight"
    before, after = weights[name] @ wave(config.grid), resampled[name] @ wave(large.grid)
    assert (after - before).norm() < 0.06 * before.norm()  # linear interpolation of a wave of 16 cells; 5 % seen
    constant = resampled[name].sum(1)  # a constant map
    torch.testing.assert_close(constant, weights[name].sum(1), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("patch_size", [9, 12, 16])
def test_an_enlarged_patch_gives_the_same_token(patch_size: int) -> None:
    """Whose pixels are the smaller patch's, interpolated: the pseudo-inverse undoes that exactly."""
    weights = random_weights(CONFIG)
    config, resized = at_patch_size(CONFIG, weights, patch_size)
    assert config.grid == CONFIG.grid
    patch = torch.randn(1, 3, 8, 8, generator=torch.Generator().manual_seed(2))
    enlarged = torch.nn.functional.interpolate(patch, size=patch_size, mode="bilinear")
    name = "patch_projection.weight"
    torch.testing.assert_close(
        (resized[name] * enlarged).sum((1, 2, 3)), (weights[name] * patch).sum((1, 2, 3)), rtol=1e-4, atol=1e-4
    )


def test_the_same_patch_size_changes_nothing() -> None:
    weights = random_weights(CONFIG)
    config, same = at_patch_size(CONFIG, weights, CONFIG.patch_size)
    assert config == CONFIG
    assert all(torch.equal(same[name], weights[name]) for name in weights)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_the_type_of_the_weights_stays(dtype: torch.dtype) -> None:
    weights = {name: weight.to(dtype) for name, weight in random_weights(CONFIG).items()}
    for method in ("block", "resample"):
        _, changed = at_resolution(CONFIG, weights, (64, 96), method=method)
        assert {weight.dtype for weight in changed.values()} == {dtype}
    assert at_patch_size(CONFIG, weights, 12)[1]["patch_projection.weight"].dtype == dtype


def test_a_size_that_is_no_multiple_of_the_patch_names_the_nearest() -> None:
    with pytest.raises(ConfigError, match=r"100 × 96 is not a multiple of patch_size 8.*: 96, 104"):
        at_resolution(CONFIG, random_weights(CONFIG), (100, 96), method="resample")


def test_block_refuses_fractions_and_names_the_nearest() -> None:
    with pytest.raises(
        ConfigError, match=r"80 × 72 is not a multiple of 32 × 48.* heights: 64 or 96; nearest widths: 48 or 96"
    ):
        at_resolution(CONFIG, random_weights(CONFIG), (80, 72), method="block")


@pytest.mark.parametrize(("method", "side"), [("block", 2048), ("resample", 65536)])
def test_weights_beyond_the_machines_memory_are_refused_before_any_is_made(method: str, side: int) -> None:
    config = replace(CONFIG, image_size=(64, 64), patch_size=1, tokens_mlp_dim=256, num_blocks=1)
    weights = {"head.bias": torch.zeros(7)}  # none of the others is reached
    with pytest.raises(
        ConfigError, match=rf"{side} × {side} with method '{method}'.* GB, more than half of the .* GB of memory"
    ) as caught:
        at_resolution(config, weights, (side, side), method=method)
    assert ("'resample' needs less" in str(caught.value)) == (method == "block")


def test_patches_beyond_the_memory_of_the_machine_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"with patches of 10000 × 10000: the weights would take [0-9,]+ GB"):
        at_patch_size(CONFIG, {name: weight.double() for name, weight in random_weights(CONFIG).items()}, 10_000)
