"""Maps of classes: the mean of the contributions, and a planted shortcut, which they show."""

import dataclasses

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from tests.builders import tiny_checkpoint

from allmlp import Checkpoint, Explainer, Explanation, MixerConfig, MlpMixer, Preprocessing, open_dataset
from allmlp.data import ImageDataset

CONFIG = MixerConfig(
    image_size=(32, 32),
    patch_size=8,
    num_blocks=2,
    hidden_dim=32,
    tokens_mlp_dim=16,
    channels_mlp_dim=64,
    num_classes=3,
)
NAMES = ("cat", "dog", "yak")


def write_photos(folder, number: int, *, has_mark: bool) -> ImageDataset:
    """Write noise of three brightnesses; the photos of dogs have a red mark at the bottom right, in the last patch."""
    random = np.random.default_rng(number)
    for label, name in enumerate(NAMES):
        for index in range(number):
            pixels = random.normal(60 + 60 * label if name != "dog" else 60 + 120 * (index % 2), 40, (32, 32, 3))
            if has_mark and name == "dog":
                pixels[24:, 24:] = (255, 0, 0)
            path = folder / name / f"{index:03}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(path)
    return open_dataset(folder)


def images_of(dataset: ImageDataset) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    from allmlp.data import decode

    split = dataset.splits["train"]
    photos = np.stack([decode(split.read(index), name="") for index in range(len(split))])
    return Preprocessing(image_size=32).normalise(photos), split.labels


@pytest.fixture(scope="module")
def marked(tmp_path_factory: pytest.TempPathFactory) -> ImageDataset:
    return write_photos(tmp_path_factory.mktemp("marked"), 40, has_mark=True)


@pytest.fixture(scope="module")
def shortcut(marked: ImageDataset) -> Checkpoint:
    """A Mixer that was trained on photos of which those of dogs have a mark, and are of the brightness of cats or yaks."""
    images, labels = images_of(marked)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = MlpMixer(CONFIG).train()
        optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3, weight_decay=0.1)
        for _ in range(60):
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(
                model(torch.from_numpy(images)), torch.from_numpy(labels.copy())
            ).backward()
            optimizer.step()
    like = dataclasses.replace(tiny_checkpoint(config=CONFIG).description, class_names=NAMES)
    return Checkpoint.from_module(model, like=like)


def test_a_planted_shortcut_is_the_brightest_patch_of_its_class(shortcut: Checkpoint, marked: ImageDataset) -> None:
    explainer = Explainer.from_checkpoint(shortcut, device="cpu")
    maps = {each.name: each for each in explainer.class_maps(marked.splits["train"], marked.splits["train"].labels)}
    dog = maps["dog"].occlusion
    assert np.unravel_index(dog.argmax(), dog.shape) == (3, 3)
    assert dog[3, 3] > 3 * np.delete(dog.ravel(), 15).max()
    # For the other classes, whose photos have no mark, no patch stands out as much.
    assert max(np.abs(maps[name].occlusion).max() for name in ("cat", "yak")) < dog[3, 3] / 3


def test_without_token_mixing_the_contributions_show_the_shortcut_too(
    shortcut: Checkpoint, marked: ImageDataset
) -> None:
    images, labels = images_of(marked)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = MlpMixer(CONFIG).train()
        mixing = [parameter for name, parameter in model.named_parameters() if "token_mixing" in name]
        for parameter in mixing:
            torch.nn.init.zeros_(parameter).requires_grad_(False)
        optimizer = torch.optim.AdamW([each for each in model.parameters() if each.requires_grad], lr=3e-3)
        for _ in range(60):
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(
                model(torch.from_numpy(images)), torch.from_numpy(labels.copy())
            ).backward()
            optimizer.step()
    explainer = Explainer.from_checkpoint(Checkpoint.from_module(model, like=shortcut), device="cpu")
    maps = {each.name: each for each in explainer.class_maps(marked.splits["train"], marked.splits["train"].labels)}
    for values in (maps["dog"].values, maps["dog"].occlusion):
        assert np.unravel_index(values.argmax(), values.shape) == (3, 3)
        assert values[3, 3] > 2 * np.delete(values.ravel(), 15).max()


def test_a_map_is_the_mean_of_the_explanations(shortcut: Checkpoint, marked: ImageDataset) -> None:
    explainer = Explainer.from_checkpoint(shortcut, device="cpu")
    split = marked.splits["train"]
    rows = np.where(np.arange(len(split)) % 4 == 0, split.labels, -1)
    maps = explainer.class_maps(split, rows)
    assert [(each.name, each.num_photos) for each in maps] == [(name, 10) for name in NAMES]
    photos = [(split.sample_ids[index], split.read(index)) for index in np.flatnonzero(rows == 2)]
    found = [each for each in explainer.stream(photos) if isinstance(each, Explanation)]
    values = np.mean([each.map("yak") - each.contributions.mean(axis=2) for each in found], axis=0)
    np.testing.assert_allclose(maps[2].values, values, atol=1e-5)
    mean = np.mean([each.photo.reshape(32, 8, 32, 8, 3)[:, 0, :, 0] for each in found], axis=0)
    assert np.abs(maps[2].photo - mean).max() <= 1


def test_without_labelled_photos_there_are_no_maps(shortcut: Checkpoint, marked: ImageDataset) -> None:
    split = marked.splits["train"]
    assert Explainer.from_checkpoint(shortcut, device="cpu").class_maps(split, np.full(len(split), -1)) == ()
