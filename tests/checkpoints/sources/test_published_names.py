"""A published name from end to end: downloaded, checked, read, and recognised by its content wherever it is stored."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from huggingface_hub import constants
from safetensors.torch import save_file
from tests.builders import assert_same_weights, random_weights, tiny_description
from tests.reference.other_layouts import timm_name
from tests.servers.files import FileServer
from tests.servers.mirror import mirror, new_home

from allmlp import Checkpoint, CheckpointError, load_checkpoint
from allmlp.checkpoints import load_for_size
from allmlp.checkpoints.formats.google import save_google
from allmlp.checkpoints.sources.catalog import CATALOG
from allmlp.data import label_names
from allmlp.model import parameter_shapes

S32, S16 = CATALOG["s32-gsam"], CATALOG["s16-gsam"]


@pytest.fixture(scope="module")
def weights() -> dict[str, torch.Tensor]:
    return random_weights(S32.config, dtype=torch.float16)  # published in float32; half the bytes show as much


@pytest.fixture(scope="module")
def content(weights: dict[str, torch.Tensor], tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """What the authors' file would hold, with other numbers."""
    checkpoint = Checkpoint(description=tiny_description(config=S32.config), weights=weights)
    return save_google(checkpoint, tmp_path_factory.mktemp("published") / "weights.npz").read_bytes()


@pytest.fixture
def server(content: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FileServer]:
    new_home(tmp_path, monkeypatch)
    with mirror({str(S32.url_path): content}, monkeypatch) as server:
        yield server


def test_a_published_name_is_a_whole_checkpoint_and_its_file_is_known_elsewhere(
    server: FileServer, content: bytes, weights: dict[str, torch.Tensor], tmp_path: Path
) -> None:
    loaded = load_checkpoint("s32-gsam")
    assert loaded.config == S32.config
    assert loaded.config.gelu == "tanh"
    assert loaded.preprocessing == S32.preprocessing
    assert loaded.class_names == label_names("imagenet-1k")
    assert loaded.source == "s32-gsam: ImageNet-1k from scratch, GSAM; Google's gsam/Mixer-S_32.npz"
    assert_same_weights(loaded.weights, weights)

    copy = tmp_path / "any name"
    copy.write_bytes(content)
    known = load_checkpoint(copy)
    assert known.class_names == loaded.class_names
    assert known.source == f"{copy}: s32-gsam by its SHA-256: ImageNet-1k from scratch, GSAM"
    assert len(server.requests) == 1
    assert load_checkpoint("s32-gsam", gelu="erf").config.gelu == "erf"
    with pytest.raises(CheckpointError, match="these weights are for images of 224 × 224"):
        load_checkpoint("s32-gsam", image_size=448)

    # Another model by mistake at the place of this one's.
    server.files[str(S16.url_path)] = content
    with pytest.raises(CheckpointError, match=r"for s32-gsam\. The file is not s16-gsam"):
        load_checkpoint("s16-gsam")


def test_the_weights_of_another_model_are_refused_by_their_shapes(
    server: FileServer, content: bytes, tmp_path: Path
) -> None:
    server.files[str(S16.url_path)] = content
    pattern = r"(?s)Mixer-S_16\.npz: .*patch_size=32, .*, expected .*patch_size=16, .*not s16-gsam\. Delete the file"
    with pytest.raises(CheckpointError, match=pattern):
        load_checkpoint("s16-gsam")
    # Nothing is left that would speak against the right ones, or for the wrong name.
    copy = tmp_path / "copy.npz"
    copy.write_bytes(content)
    assert "unknown origin; fits s32-gsam" in load_checkpoint(copy).source
    assert load_checkpoint("s32-gsam").config == S32.config


def test_the_misnamed_tag_is_a_remark_for_whoever_asks_for_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From the hub's cache, which is laid out by hand."""
    commit = "0" * 40
    repository = tmp_path / "models--timm--mixer_b16_224.goog_in21k_ft_in1k"
    snapshot = repository / "snapshots" / commit
    snapshot.mkdir(parents=True)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(commit)
    (snapshot / "config.json").write_text('{"architecture": "mixer_b16_224"}')
    (snapshot / "model.safetensors").write_bytes(b"{}")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))  # read from HF_HOME at its import
    monkeypatch.setenv("ALLMLP_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("ALLMLP_OFFLINE", "1")
    with pytest.raises(CheckpointError, match=r"(?s)model\.safetensors: .*not b16-i1k-timm\. .*@main\."):
        load_checkpoint("mixer_b16_224")
    shapes = parameter_shapes(CATALOG["b16-i1k-timm"].config)
    zeros = {timm_name(name): torch.zeros(shape, dtype=torch.float16) for name, shape in shapes.items()}
    save_file(zeros, snapshot / "model.safetensors")
    for name in ("mixer_b16_224", "hf:timm/mixer_b16_224.goog_in21k_ft_in1k"):
        (remark,) = load_checkpoint(name).remarks
        assert "despite its name, this is the ImageNet-1k model" in remark
    assert load_for_size("b16-i1k-timm", (224, 224)).remarks == (remark,)
