"""The table of parameters says what the module has."""

from dataclasses import replace

import pytest
import torch
from tests.builders import tiny_config

from allmlp.model import VARIANTS, MixerConfig, MlpMixer, parameter_shapes

ODD = tiny_config(image_size=(16, 24), hidden_dim=5, tokens_mlp_dim=7, channels_mlp_dim=11)


@pytest.mark.parametrize("config", [*VARIANTS.values(), ODD, replace(ODD, num_classes=0)])
def test_names_and_shapes_are_the_modules(config: MixerConfig) -> None:
    with torch.device("meta"):
        state = MlpMixer(config).state_dict()
    assert parameter_shapes(config) == {name: tuple(weight.shape) for name, weight in state.items()}
