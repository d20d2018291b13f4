"""The model card: its header by a YAML reader, its text by what must be in it."""

from typing import Any

import pytest
import torch
import yaml
from huggingface_hub import ModelCard
from tests.builders import tiny_checkpoint

from allmlp import Checkpoint, Preprocessing
from allmlp.checkpoints.publish.model_card import MAX_NAMES, NOT_EVALUATED, CardScore, model_card_text

MEASURED = "91.2% (1,094 of 1,200; 95% interval 89.4% to 92.7%)"


def make_checkpoint(names: tuple[str, ...], source: str = "random weights") -> Checkpoint:
    return tiny_checkpoint(
        num_classes=len(names),
        dtype=torch.bfloat16,
        preprocessing=Preprocessing(image_size=(16, 16), crop_fraction=0.875),
        class_names=names,
        source=source,
    )


def card(checkpoint: Checkpoint, **changes: Any) -> str:
    settings: dict[str, Any] = {
        "repository": "ann/mixer",
        "revision": "main",
        "form": "allmlp",
        "license_id": None,
        "evaluations": (),
    }
    return model_card_text(checkpoint, **settings | changes)


def test_the_header_is_what_the_hub_reads() -> None:
    _, header, text = card(make_checkpoint(("cat", "dog"))).split("---\n", 2)
    values = yaml.safe_load(header)
    assert values["library_name"] == "allmlp"
    assert values["pipeline_tag"] == "image-classification"
    assert {"image-classification", "mlp-mixer", "allmlp"} <= set(values["tags"])
    assert "license" not in values
    assert text.strip().startswith("# mixer")
    assert "| weights | bfloat16 |" in text
    assert "| fit | crop, crop fraction 0.875 |" in text
    assert "random weights" in text


def test_a_licence_stands_in_the_header_when_it_is_given() -> None:
    header = card(make_checkpoint(("a", "b")), license_id="cc-by-4.0").split("---\n")[1]
    assert yaml.safe_load(header)["license"] == "cc-by-4.0"


def test_timms_form_says_how_timm_and_transformers_load_it() -> None:
    text = card(make_checkpoint(("a", "b")), form="timm", revision="new")
    assert yaml.safe_load(text.split("---\n")[1])["library_name"] == "timm"
    assert 'timm.create_model("hf-hub:ann/mixer@new", pretrained=True)' in text
    assert 'pipeline("image-classification", "ann/mixer", revision="new")' in text
    assert "allmlp predict hf:ann/mixer@new PHOTO.jpg" in text
    assert "timm" not in card(make_checkpoint(("a", "b")))


@pytest.mark.parametrize(
    "name", ["<script>alert(1)</script>", "[a](javascript:x)", "a|b`c*d_e", "x\n# heading", "\u202egnp"]
)
def test_foreign_names_stay_text(name: str) -> None:
    text = card(make_checkpoint((name, "dog"), source=name))
    assert name not in text
    assert "<script" not in text
    assert "\n# heading" not in text


def test_long_lists_of_classes_are_cut_and_counted() -> None:
    names = tuple(f"class {index}" for index in range(MAX_NAMES + 1_900))
    text = card(make_checkpoint(names))
    assert "class 99 and 1,900 more, listed in `config.json`." in text


def test_a_temperature_is_said_where_the_files_hold_it() -> None:
    checkpoint = make_checkpoint(("cat", "dog")).replace(temperature=1.5)
    assert "| temperature | 1.5 |" in card(checkpoint)
    assert "temperature" not in card(checkpoint, form="timm")
    assert "temperature" not in card(make_checkpoint(("cat", "dog")))


def test_what_was_measured_is_said_or_that_nothing_was() -> None:
    assert NOT_EVALUATED in card(make_checkpoint(("a", "b")))
    text = card(make_checkpoint(("a", "b")), evaluations=[CardScore("test", 0.912, MEASURED)])
    assert f"- Top-1 accuracy on the test photos of its run: {MEASURED}." in text
    assert NOT_EVALUATED not in text


def test_the_hub_reads_what_was_measured_from_the_header() -> None:
    text = card(make_checkpoint(("a", "b")), evaluations=[CardScore("test", 0.912, MEASURED)])
    data = ModelCard(text).data
    (result,) = data.eval_results
    assert data.model_name == "mixer"
    assert (result.task_type, result.dataset_split) == ("image-classification", "test")
    assert (result.metric_type, result.metric_value) == ("accuracy", 0.912)
    assert result.metric_name == f"top-1 accuracy: {MEASURED}"
    assert ModelCard(card(make_checkpoint(("a", "b")))).data.eval_results is None
