"""Eager PyTorch, and what holds for every backend: a photo gets the same bits in any batch, on any device that is here."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from tests.builders import tiny_checkpoint
from tests.inference.backends.engines import EVERY, PRECISIONS, skip_without_bfloat16

from allmlp import Checkpoint, ConfigError, MixerConfig
from allmlp.inference import eager_forward, open_model

# Widths of powers of two; an odd number of tokens (as S/32 has 49); and odd widths, for which matrix kernels are known to
# round differently at different places of one product, so that only photo by photo is independent of the batch.
CONFIGS = {
    "even": {"image_size": 32, "patch_size": 8, "hidden_dim": 64, "tokens_mlp_dim": 32, "channels_mlp_dim": 128},
    "49 tokens": {"image_size": 28, "patch_size": 4, "hidden_dim": 32, "tokens_mlp_dim": 16, "channels_mlp_dim": 64},
    "odd": {"image_size": (24, 40), "patch_size": 8, "hidden_dim": 45, "tokens_mlp_dim": 21, "channels_mlp_dim": 99},
    "one token": {"image_size": 16, "patch_size": 16, "hidden_dim": 31, "tokens_mlp_dim": 7, "channels_mlp_dim": 65},
}


def random_images(number: int, config: MixerConfig, seed: int = 0) -> NDArray[np.float32]:
    return np.random.default_rng(seed).standard_normal((number, 3, *config.image_size), dtype=np.float32)


@pytest.mark.parametrize(("backend", "precision"), PRECISIONS)
@pytest.mark.parametrize("widths", CONFIGS.values(), ids=CONFIGS)
def test_a_photo_gets_the_same_bits_in_any_batch(backend: str, precision: str, widths: dict[str, Any]) -> None:
    """No backend and no precision is an exception on a CPU."""
    skip_without_bfloat16(backend, precision)
    config = MixerConfig(num_blocks=2, num_classes=10, **widths)
    forward = open_model(tiny_checkpoint(config=config), backend=backend, device="cpu", precision=precision).forward
    images = random_images(65, config)
    reference = forward(images)
    assert len(np.unique(reference.round(3), axis=0)) > 60  # the photos do differ
    for batch_size, number in ((1, 9), (2, 9), (3, 10), (7, 30), (15, 31), (64, 65)):
        batches = [forward(images[start : start + batch_size]) for start in range(0, number, batch_size)]
        np.testing.assert_array_equal(np.concatenate(batches)[:number], reference[:number])
    order = np.random.default_rng(1).permutation(65)
    np.testing.assert_array_equal(forward(images[order]), reference[order])


@pytest.mark.parametrize("backend", EVERY)
def test_logits_are_the_models(backend: str, checkpoint: Checkpoint) -> None:
    images = random_images(5, checkpoint.config)
    logits = open_model(checkpoint, backend=backend, device="cpu").forward(images)
    with torch.no_grad():
        expected = checkpoint.build()(torch.from_numpy(images)).numpy()
    assert logits.dtype == np.float32
    # The batch is another, so sums may be taken in another order: float32 rounding, not more.
    np.testing.assert_allclose(logits, expected, rtol=1e-5, atol=1e-5 * np.abs(expected).max())


def test_bfloat16_is_near_float32_and_gives_float32(checkpoint: Checkpoint) -> None:
    images = random_images(5, checkpoint.config)
    exact = eager_forward(checkpoint, device="cpu")(images)
    narrow = eager_forward(checkpoint, device="cpu", precision="bfloat16")(images)
    assert narrow.dtype == np.float32
    # bfloat16 keeps 8 bits: a relative 0.4 % for each of the dozen products in a row.
    assert 0 < np.abs(narrow - exact).max() < 0.05 * np.abs(exact).max()


def test_an_empty_batch_gives_no_logits(checkpoint: Checkpoint) -> None:
    logits = eager_forward(checkpoint, device="cpu")(random_images(0, checkpoint.config))
    assert logits.shape == (0, 7)


def test_a_model_without_classifier_gives_features(checkpoint: Checkpoint) -> None:
    from dataclasses import replace

    headless = replace(
        checkpoint,
        config=replace(checkpoint.config, num_classes=0),
        weights={name: weight for name, weight in checkpoint.weights.items() if not name.startswith("head.")},
        class_names=(),
    )
    features = eager_forward(headless, device="cpu")(random_images(3, checkpoint.config))
    assert features.shape == (3, checkpoint.config.hidden_dim)


def test_read_only_images_are_taken_and_left_alone(checkpoint: Checkpoint) -> None:
    images = random_images(2, checkpoint.config)
    before = images.copy()
    images.setflags(write=False)
    eager_forward(checkpoint, device="cpu")(images)
    np.testing.assert_array_equal(images, before)


def test_images_of_another_size_are_refused_with_both_shapes(checkpoint: Checkpoint) -> None:
    forward = eager_forward(checkpoint, device="cpu")
    with pytest.raises(ValueError, match=r"\(2, 3, 24, 16\).*\(B, 3, 16, 24\)"):
        forward(np.zeros((2, 3, 24, 16), np.float32))


def test_the_checkpoint_is_not_changed_by_running_it(checkpoint: Checkpoint) -> None:
    before = {name: weight.clone() for name, weight in checkpoint.weights.items()}
    eager_forward(checkpoint, device="cpu")(random_images(3, checkpoint.config))
    assert all(torch.equal(weight, before[name]) for name, weight in checkpoint.weights.items())


@pytest.mark.parametrize("device", ["cuda", "mps"])
def test_a_device_that_is_not_there_is_a_config_error(device: str, checkpoint: Checkpoint) -> None:
    there = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if there[device]:
        pytest.skip(f"{device} is here")
    with pytest.raises(ConfigError, match=f"{device} is not available"):
        eager_forward(checkpoint, device=device)


def test_unknown_device_and_precision_are_config_errors(checkpoint: Checkpoint) -> None:
    with pytest.raises(ConfigError, match=r"cudaa.*cuda"):
        eager_forward(checkpoint, device="cudaa")
    with pytest.raises(ConfigError, match=r"float16.*bfloat16"):
        eager_forward(checkpoint, precision="float16")


def test_compiling_without_a_compiler_is_refused(checkpoint: Checkpoint, tmp_path: Path) -> None:
    import torch._inductor.config as inductor

    with (
        inductor.patch({"cpp.cxx": (None, str(tmp_path / "g++"))}),
        pytest.raises(ConfigError, match=r"backend compiled needs a C\+\+ compiler.*CXX.*'eager'"),
    ):
        open_model(checkpoint, backend="compiled", device="cpu")


@pytest.mark.parametrize("backend", EVERY)
def test_every_backend_is_exact_on_request_which_changes_nothing_on_a_cpu(backend: str, checkpoint: Checkpoint) -> None:
    images = random_images(5, checkpoint.config)
    forwards = [open_model(checkpoint, backend=backend, device="cpu", exact=exact).forward for exact in (False, True)]
    np.testing.assert_array_equal(forwards[0](images), forwards[1](images))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_gives_the_processors_logits_and_those_of_any_batch_on_request(checkpoint: Checkpoint) -> None:
    images = random_images(70, checkpoint.config)
    expected = eager_forward(checkpoint, device="cpu")(images)
    for exact in (False, True):
        # Other kernels: float32 rounding, not more.
        logits = eager_forward(checkpoint, device="cuda", exact=exact)(images)
        np.testing.assert_allclose(logits, expected, rtol=1e-4, atol=1e-4)
    exact_forward = eager_forward(checkpoint, device="cuda", exact=True)
    np.testing.assert_array_equal(exact_forward(images[:3]), exact_forward(images)[:3])
