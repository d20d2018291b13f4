"""Configurations: table 1, and clear answers to those that cannot be."""

from typing import Any

import pytest
import torch

from allmlp import VARIANTS, ConfigError, MixerConfig, create
from allmlp.errors import did_you_mean
from allmlp.model import variant_config

SMALL: dict[str, Any] = {
    "image_size": 32,
    "patch_size": 8,
    "num_blocks": 2,
    "hidden_dim": 8,
    "tokens_mlp_dim": 8,
    "channels_mlp_dim": 8,
}

# Table 1 of the paper: N, P, C, S, D_C, D_S at 224 pixels.
TABLE_1 = {
    "S/32": (8, 32, 512, 49, 2048, 256),
    "S/16": (8, 16, 512, 196, 2048, 256),
    "B/32": (12, 32, 768, 49, 3072, 384),
    "B/16": (12, 16, 768, 196, 3072, 384),
    "L/32": (24, 32, 1024, 49, 4096, 512),
    "L/16": (24, 16, 1024, 196, 4096, 512),
    "H/14": (32, 14, 1280, 256, 5120, 640),
}


def test_variants_are_table_1() -> None:
    assert {
        name: (c.num_blocks, c.patch_size, c.hidden_dim, c.num_tokens, c.channels_mlp_dim, c.tokens_mlp_dim)
        for name, c in VARIANTS.items()
    } == TABLE_1
    assert all(c.image_size == (224, 224) and c.num_classes == 1000 and c.gelu == "tanh" for c in VARIANTS.values())


def test_create_takes_any_field() -> None:
    model = create("S/32", num_classes=10, image_size=(64, 96), num_blocks=1, gelu="erf")
    assert model.config.grid == (2, 3)
    assert model(torch.zeros(2, 3, 64, 96)).shape == (2, 10)


def test_create_costs_no_memory_on_the_meta_device() -> None:
    with torch.device("meta"):
        model = create("H/14", num_classes=10, image_size=448)
    assert all(tensor.is_meta for tensor in model.state_dict().values())
    assert model(torch.zeros(2, 3, 448, 448, device="meta")).shape == (2, 10)


@pytest.mark.parametrize("variant", ["B16", "b/16", "B-16", "B/61"])
def test_an_unknown_variant_names_the_nearest(variant: str) -> None:
    with pytest.raises(ConfigError, match=r"Did you mean.*'B/16'.*S/32, S/16.*H/14"):
        create(variant)


def test_an_unknown_field_names_the_nearest() -> None:
    with pytest.raises(ConfigError, match=r"'num_clases'\. Did you mean 'num_classes'"):
        create("B/16", num_clases=10)


@pytest.mark.parametrize(
    ("image_size", "nearest"),
    [(230, "224, 240"), ((224, 250), "224, 240, 256"), ((230, 250), "224, 240, 256"), (10, "16"), ((16, 17), "16, 32")],
)
def test_an_image_size_that_patches_do_not_fill_names_the_nearest(image_size: Any, nearest: str) -> None:
    with pytest.raises(ConfigError, match=rf"not a multiple of patch_size 16\. Nearest valid sides: {nearest}\."):
        variant_config("B/16", image_size=image_size)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *((field, value) for field in list(SMALL)[1:] for value in (0, -1, 2.0, True, "8", None, 10**30)),
        *(("image_size", value) for value in (0, (32,), (32, 0), (32, 32.0), "32", None, True, (10**30, 8), (1, 2, 3))),
        *(("num_classes", value) for value in (-1, 2.5, False, None, 10**30)),
        *(
            (field, value)
            for field in ("stochastic_depth", "dropout")
            for value in (-0.1, 1.0, float("nan"), "0", None)
        ),
        ("gelu", "relu"),
        ("gelu", ["tanh"]),
    ],
)
def test_an_impossible_value_is_named(field: str, value: Any) -> None:
    with pytest.raises(ConfigError, match=field):
        MixerConfig(**{**SMALL, field: value})


def test_an_int_is_a_square_image() -> None:
    assert MixerConfig(**SMALL) == MixerConfig(**{**SMALL, "image_size": (32, 32)})
    assert MixerConfig(**{**SMALL, "image_size": [32, 64]}).image_size == (32, 64)


def test_nearest_names_ignore_case_and_may_be_none() -> None:
    assert did_you_mean("LEARNING_rate", ["learning_rate", "seed"]) == " Did you mean 'learning_rate'?"
    assert did_you_mean("zzz", ["learning_rate", "seed"]) == ""
