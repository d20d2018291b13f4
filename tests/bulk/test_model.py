"""The model of a plan: what its options change, and what is reported of that."""

import pytest
from tests.builders import TINY, tiny_checkpoint, unknown_rule

from allmlp import save_checkpoint
from allmlp.bulk import ModelOptions, PreprocessingOptions, load_model


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (ModelOptions(device="cpu"), None),
        (ModelOptions(device="cpu", image_size=TINY.image_size), None),
        (ModelOptions(device="cpu", image_size=(32, 32)), "images of another size"),
        (
            ModelOptions(device="cpu", preprocessing=PreprocessingOptions(law="timm")),
            "photos with another pre-processing",
        ),
    ],
)
def test_a_threshold_of_unknown_holds_for_the_pixels_it_was_fitted_on_only(options, reason, tmp_path):
    path = save_checkpoint(tiny_checkpoint().replace(unknown=unknown_rule(TINY.hidden_dim)), tmp_path / "model")
    lines: list[str] = []
    model = load_model(str(path), options, report=lines.append).open("logits")
    assert (model.description.unknown is None) == (reason is not None)
    assert [line.partition(", and")[0] for line in lines] == (
        [f'The threshold of "unknown" was dropped: it was fitted on {reason}'] if reason else []
    )
