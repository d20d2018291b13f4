"""Figure 4's permutations, as exact properties, and the sentence that follows from the figures."""

import base64
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from tests.studies.contexts import SmallContext

from allmlp.model import MlpMixer
from allmlp.studies.drawing import to_png
from allmlp.studies.learning.networks import make_network
from allmlp.studies.paper.permutations import NETWORKS, ORDERS, STUDY, _example, permutation, shuffled
from allmlp.studies.study import Arm, ArmResult, StudyOptions


@pytest.mark.parametrize("order", ORDERS)
def test_an_order_moves_every_pixel_once(order: str) -> None:
    pixels = permutation(order, (32, 32), 4)
    assert sorted(pixels) == list(range(32 * 32))
    assert np.array_equal(pixels, permutation(order, (32, 32), 4))
    assert (np.array_equal(pixels, np.arange(32 * 32))) == (order == ORDERS[0])


def test_patches_keep_their_pixels_in_one_order_for_all() -> None:
    pixels = permutation(ORDERS[1], (12, 8), 4)
    rows, columns = np.divmod(pixels.reshape(12, 8), 8)
    inner = set()
    for top in range(0, 12, 4):
        for left in range(0, 8, 4):
            patch = np.s_[top : top + 4, left : left + 4]
            assert len(set((rows[patch] // 4 * 2 + columns[patch] // 4).ravel())) == 1  # from one patch
            inner.add(tuple((rows[patch] % 4 * 4 + columns[patch] % 4).ravel()))
    assert len(inner) == 1


def test_a_mixer_with_permuted_weights_answers_the_same() -> None:
    """The invariance that section 3.4 states: the order of patches and of their pixels is a matter of the first weights."""
    torch.manual_seed(0)
    widths = dict(NETWORKS["Mixer"][1], num_blocks=2)
    network = make_network("mixer", seed=0, image_size=(32, 32), num_classes=10, widths=widths)
    assert isinstance(network, MlpMixer)
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    images = torch.randn(3, 3, 32, 32)
    expected = network(images)

    pixels = permutation(ORDERS[1], (32, 32), 4)
    first = pixels.reshape(8, 4, 8, 4).transpose(0, 2, 1, 3).reshape(64, 16)  # by patch
    rows, columns = np.divmod(first, 32)
    patches = torch.from_numpy((rows // 4 * 8 + columns // 4)[:, 0])
    inner = torch.from_numpy((rows % 4 * 4 + columns % 4)[0])
    state = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    for name, tensor in state.items():
        if name == "patch_projection.weight":  # (C, 3, P, P)
            state[name] = tensor.flatten(2)[:, :, inner].reshape(tensor.shape)
        elif name.endswith("token_mixing.fc1.weight"):  # (D_S, S)
            state[name] = tensor[:, patches]
        elif name.endswith(("token_mixing.fc2.weight", "token_mixing.fc2.bias")):  # (S, D_S) and (S,)
            state[name] = tensor[patches]
    network.load_state_dict(state)
    shuffled_images = shuffled(ORDERS[1], (32, 32), 4, device="cpu")(images)
    assert torch.allclose(network(shuffled_images), expected, rtol=1e-3, atol=1e-3)
    assert not torch.allclose(network(images), expected, atol=1e-2)


def _results(mixer: tuple[float, ...], resnet: tuple[float, ...], num_seeds: int = 2) -> list[ArmResult]:
    """Return results with these accuracies in each order, which seeds change by 0.1 points."""
    arms = STUDY.arms(StudyOptions(num_seeds=num_seeds))
    top1 = {("Mixer", order): value for order, value in zip(ORDERS, mixer, strict=True)}
    top1 |= {("ResNet", order): value for order, value in zip(ORDERS, resnet, strict=True)}
    return [
        ArmResult(arm, _figures(top1[arm.settings["network"], arm.settings["order"]] + 0.001 * arm.seed))
        for arm in arms
    ]


def _figures(top1: float) -> dict[str, Any]:
    square = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
    curve = [{"photos_seen": 1000 * n, "top1": top1 * n / 2, "train_loss": 1.0} for n in (1, 2)]
    return {"curve": curve, "top1": top1, "parameters": 1_000_000, "multiply_adds": 40_000_000, "example": square}


@pytest.mark.parametrize(
    ("mixer", "resnet", "num_seeds", "verdict"),
    [
        ((0.6, 0.6, 0.35), (0.7, 0.55, 0.3), 2, "Agrees with the paper"),
        ((0.6, 0.6, 0.55), (0.7, 0.55, 0.3), 2, "Agrees with the paper, though not in size"),
        ((0.6, 0.6, 0.35), (0.7, 0.55, 0.5), 2, "Agrees with the paper, though not in size"),
        ((0.6, 0.6, 0.45), (0.7, 0.55, 0.4), 1, "Points the same way"),
        ((0.6, 0.5, 0.45), (0.7, 0.55, 0.4), 2, "Does not agree"),  # the Mixer loses by shuffled patches
        ((0.6, 0.6, 0.45), (0.7, 0.7, 0.4), 2, "Does not agree"),  # the ResNet does not
        ((0.6, 0.6, 0.6), (0.7, 0.55, 0.4), 2, "Does not agree"),  # the Mixer sees through any order
        ((0.6, 0.5, 0.45), (0.7, 0.55, 0.4), 1, "Points the other way"),
        ((0.6, 0.6, 0.45), (0.7, 0.7, 0.4), 1, "Points the other way"),
    ],
)
def test_the_sentence_follows_from_the_figures(
    mixer: tuple[float, ...], resnet: tuple[float, ...], num_seeds: int, verdict: str
) -> None:
    assert STUDY.agreement(_results(mixer, resnet, num_seeds)).startswith(f"{verdict}: ")


def test_the_size_of_the_drops_is_next_to_the_papers() -> None:
    small = STUDY.agreement(_results((0.5, 0.5, 0.46), (0.5, 0.4, 0.35), num_seeds=3))
    assert (
        "Relative to its top-1, the Mixer loses 8 % and the ResNet loses 30 % by all pixels shuffled, in the paper about 45 "
        "and 75 %; after 2,000 photos, they reach 50.1 and 50.1 % without shuffling."
    ) in small
    large = STUDY.agreement(_results((0.8, 0.8, 0.4), (0.8, 0.5, 0.2)))
    assert "the Mixer loses 50 % and the ResNet loses 75 % by all" in large
    assert large.endswith("in the paper about 45 and 75 %.")


@pytest.mark.parametrize(
    ("mixer", "verdict"), [((0.6, 0.5, 0.45), "Points the other way"), ((0.6, 0.6, 0.45), "Points the same way")]
)
def test_noise_decides_nothing(mixer: tuple[float, ...], verdict: str) -> None:
    """Seeds that differ by 20 points hide what the Mixer loses by shuffled patches, and what the ResNet loses, too."""
    noisy = [
        ArmResult(arm, {**figures, "top1": figures["top1"] + 0.2 * arm.seed})
        for arm, figures in _results(mixer, (0.7, 0.55, 0.4))
    ]
    assert STUDY.agreement(noisy).startswith(verdict)


def test_the_noise_of_the_resnet_counts_too() -> None:
    """Its seeds differ by 20 points, the Mixer's do not."""
    noisy = [
        ArmResult(arm, {**figures, "top1": figures["top1"] + 0.2 * arm.seed * (arm.settings["network"] == "ResNet")})
        for arm, figures in _results((0.6, 0.6, 0.45), (0.7, 0.6, 0.4))
    ]
    assert STUDY.agreement(noisy).startswith("Points the same way")


def test_a_network_that_learnt_nothing_has_no_relative_change() -> None:
    rows = STUDY.table(_results((0.0, 0.0, 0.0), (0.0, 0.0, 0.0), num_seeds=1)).rows
    assert {row[5] for row in rows} == {""}


@pytest.mark.parametrize("num_photos", [1, 2, 3, 24])
def test_the_example_has_four_photos(num_photos: int, tmp_path: Path) -> None:
    photos = SmallContext(tmp_path).photos((32, 32))
    few = photos._replace(scored=photos.scored.subset(np.arange(num_photos)))
    picture = np.asarray(Image.open(io.BytesIO(base64.b64decode(_example(few, ORDERS[0])))))
    assert picture.shape == (64, 64, 3)
    assert np.array_equal(picture[:32, :32], few.scored.images[0])
    assert np.array_equal(picture[32:, 32:], few.scored.images[3 % num_photos])


def test_table_and_plot() -> None:
    results = _results((0.6, 0.6, 0.45), (0.7, 0.55, 0.4))
    table = STUDY.table(results)
    assert len(table.rows) == 6
    assert {len(row) for row in table.rows} == {len(table.columns)}
    assert ["ResNet", "all pixels", "1.00 M", "40 M", "40.1 ± 0.1", "-43 %", "2"] in [list(row) for row in table.rows]
    assert STUDY.figure is not None
    assert to_png(STUDY.figure(results)).startswith(b"\x89PNG")


def test_settings_are_json() -> None:
    for arm in STUDY.arms(StudyOptions(num_steps=5)):
        assert isinstance(arm, Arm)
        assert json.loads(json.dumps(dict(arm.settings))) == dict(arm.settings)
