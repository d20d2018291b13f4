"""Messages about a checkpoint that does not exist."""

from pathlib import Path

import pytest
from tests.builders import tiny_checkpoint

from allmlp import CheckpointError, load_checkpoint, save_checkpoint


def words(source: str | Path) -> str:
    with pytest.raises(CheckpointError) as caught:
        load_checkpoint(source)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 1000
    return str(caught.value)


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(
    ("wrong", "right"),
    [
        ("runs/mien", "runs/mine"), ("run/mine", "runs/mine"), ("runs/Mine2", "runs/mine"), ("runs/minee", "runs/mine"),
        ("modell.npz", "model.npz"), ("runs/mine/checkpoint/best", "runs/mine/checkpoints/best"), ("b16-ilk", "b16-i1k"),
        ("startr", "starter"), ("runs/mein", "runs/mine"), ("S16-GSAMM", "s16-gsam"),
    ],
)  # fmt: skip
def test_a_similar_path_or_name_is_suggested(tmp_path: Path, wrong: str, right: str) -> None:
    (tmp_path / "runs" / "mine" / "checkpoints" / "best").mkdir(parents=True)
    (tmp_path / "model.npz").touch()
    message = words(wrong)
    assert "there is no such checkpoint. Did you mean " in message
    assert repr(right) in message
    assert "Hugging Face Hub" not in message


@pytest.mark.parametrize(
    ("wrong", "right"), [("B/15", "B/16"), ("L/61", "L/16"), ("s/33", "S/32"), ("H/15", "H/14"), ("h/41", "H/14")]
)
def test_a_size_that_is_nearly_right_is_helped(wrong: str, right: str) -> None:
    message = words(wrong)
    assert repr(right) in message
    assert "Hugging Face Hub" not in message


@pytest.mark.parametrize("path", ["~/mine", "../mine", "./mine", "-x/mine", "my runs/mine", "runs/mine?"])
def test_what_can_only_be_a_path_is_not_taken_for_a_repository(path: str) -> None:
    assert "Hugging Face Hub" not in words(path)
    assert "Did you mean hf:ann/mixer, a repository on the Hugging Face Hub?" in words("ann/mixer")


@pytest.mark.parametrize("size", ["B/16", "b/32", "h/14", "S/8"])
def test_a_size_is_not_a_checkpoint_and_its_weights_are_named(size: str) -> None:
    assert "size of the paper's table 1, without weights" in words(size)


@pytest.mark.parametrize(
    ("name", "what"),
    [
        ("gmixer_24_224", "a gMixer"), ("resmlp_12_224.fb_in1k", "a ResMLP"), ("convmixer_768_32", "a ConvMixer"),
        ("swin_tiny_patch4_window7_224", "a Swin Transformer"), ("owl-vit", "an OWL-ViT"), ("owlv2-base", "an OWL-ViT"),
        ("vit_base_patch16_224", "a Vision Transformer"), ("timm/resnet50.a1_in1k", "a ResNet"), ("ConvNeXt", "a ConvNeXt"),
        ("deit3_base", "a Vision Transformer"), ("gmlp_s16_224", "a gMLP"), ("swinv2_base", "a Swin"), ("yolov8n", "a conv"),
        ("efficientnet_b0", "an EfficientNet"), ("CLIP", "a model of images and text"),
    ],
)  # fmt: skip
def test_the_name_of_another_model_is_known(name: str, what: str) -> None:
    assert f"This is the name of {what}" in words(name)


@pytest.mark.parametrize(
    "address",
    [
        "https://example.com/mixer.npz", "http://host/x", "HTTPS://HOST/x", "ftp://host/x.pth", "s3://bucket/key", "gs://b/k",
        "file:///etc/passwd", "www.example.com/x.npz", "data://x",
    ],
)  # fmt: skip
@pytest.mark.parametrize("kind", [str, Path])
def test_an_address_is_not_read(address: str, kind: type) -> None:
    assert "Addresses are not read; download it first" in words(kind(address))


@pytest.mark.parametrize(
    "page", ["https://huggingface.co/ann/mixer", "huggingface.co/ann/mixer/", "https://hf.co/ann/mixer"]
)
def test_a_page_of_the_hub_is_translated(page: str) -> None:
    assert "For this repository, give hf:ann/mixer." in words(page)


@pytest.mark.parametrize(
    "name",
    [
        "a\0b",
        "a\nb",
        "\x1b[2J",
        "a\u202eb",
        "x/\0",
        "\udce9",
        "a\r\nallmlp: forged",
        "x" * 100_000,
        "hf:\x1b/\n/\0",
        "hf:\n",
    ],
)
def test_a_name_that_cannot_be_printed_is_escaped(name: str) -> None:
    words(name)


@pytest.mark.parametrize("prefix", ["hf:", "hf-hub:", "hf_hub:"])
def test_the_hubs_prefixes_of_timm_are_known(prefix: str) -> None:
    assert "expected hf:OWNER/NAME" in words(f"{prefix}b16")
    with pytest.raises(CheckpointError, match="hf:-a/b: not a repository name"):
        load_checkpoint(f"{prefix}-a/b")


@pytest.mark.parametrize("name", ["starter", Path("starter")])
def test_starter_is_a_name_also_as_a_path(name: str | Path) -> None:
    assert load_checkpoint(name).config.num_classes == 200


def test_a_path_named_starter_that_exists_is_that_path(tmp_path: Path) -> None:
    save_checkpoint(tiny_checkpoint(num_classes=7), tmp_path / "starter")
    assert load_checkpoint(Path("starter")).config.num_classes == 7
