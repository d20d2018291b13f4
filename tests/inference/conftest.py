import numpy as np
import pytest
import torch

from allmlp import Checkpoint, MixerConfig, MlpMixer, Preprocessing

SMALL = MixerConfig(
    image_size=(16, 24),
    patch_size=8,
    num_blocks=2,
    hidden_dim=16,
    tokens_mlp_dim=16,
    channels_mlp_dim=32,
    num_classes=7,
)


def build_checkpoint(config: MixerConfig = SMALL) -> Checkpoint:
    """Random weights, the classifier's too: a fresh one is zero and would answer all photos alike."""
    torch.manual_seed(5)
    model = MlpMixer(config)
    assert model.head is not None
    torch.nn.init.normal_(model.head.weight)
    return Checkpoint(
        config=config,
        weights=model.state_dict(),
        preprocessing=Preprocessing(image_size=config.image_size),
        class_names=tuple(f"class {index}" for index in range(config.num_classes)),
        source="random weights",
    )


@pytest.fixture
def checkpoint() -> Checkpoint:
    return build_checkpoint()


@pytest.fixture
def checkpoint_of():
    return build_checkpoint


@pytest.fixture
def photos() -> list[np.ndarray]:
    random = np.random.default_rng(1)
    return [
        random.integers(0, 256, (height, width, 3), dtype=np.uint8)
        for height, width in ((16, 24), (40, 30), (9, 70), (33, 33), (16, 24), (1, 1), (50, 20))
    ]
