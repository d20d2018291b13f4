"""Options of checkpoints in printed commands: they mean what the user gave, to the last digit."""

import pytest

from allmlp.cli.arguments.checkpoint import changed_preprocessing, option_words


@pytest.mark.parametrize(
    ("mean", "shown"),
    [
        ("0.48145466,0.4578275,0.40821073", "0.48145466,0.4578275,0.40821073"),
        ("0.5", "0.5,0.5,0.5"),
        ("0,1,0.125", "0,1,0.125"),
        ("1e-7,0.1234567890123,0.3", "1e-07,0.1234567890123,0.3"),
    ],
)
def test_a_printed_command_repeats_the_preprocessing_exactly(mean: str, shown: str) -> None:
    changes = changed_preprocessing(mean, None, "bicubic", "pad")
    words = option_words("64x96", changes)
    assert words == ("--image-size", "64x96", "--mean", shown, "--interpolation", "bicubic", "--fit", "pad")
    assert changed_preprocessing(shown, None, "bicubic", "pad") == changes


def test_a_law_is_changed_and_printed_like_the_others() -> None:
    changes = changed_preprocessing(None, None, None, None, "vit_jax")
    assert changes == {"law": "vit_jax"}
    assert option_words(None, changes) == ("--law", "vit_jax")
