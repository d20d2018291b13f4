"""What a source is: a name, a folder, the file that was named, or nothing that can be read."""

import json
from pathlib import Path

import pytest
import torch
from tests.builders import tiny_checkpoint, tiny_config
from tests.checkpoints.timm_folder import timm_weights, write_timm_folder

from allmlp import CheckpointError, load_checkpoint, save_checkpoint


def test_an_empty_name_is_not_the_current_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_checkpoint(tiny_checkpoint(), tmp_path)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(CheckpointError, match="name is empty"):
        load_checkpoint("")


def test_a_name_that_is_nearly_right_is_helped() -> None:
    with pytest.raises(CheckpointError, match=r"b16-ilk: there is no such checkpoint\. Did you mean 'b16-i1k'"):
        load_checkpoint("b16-ilk")
    with pytest.raises(CheckpointError, match=r"Did you mean hf:someone/flowers, a repository"):
        load_checkpoint("someone/flowers")
    with pytest.raises(CheckpointError, match=r"hf:b16: expected hf:OWNER/NAME"):
        load_checkpoint("hf:b16")


def test_what_is_on_this_machine_goes_before_a_published_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    save_checkpoint(tiny_checkpoint(num_classes=7), "b16-i1k")
    assert load_checkpoint("b16-i1k").config.num_classes == 7


def test_the_file_that_was_named_is_the_one_that_is_read(tmp_path: Path) -> None:
    write_timm_folder(tmp_path)
    torch.save(timm_weights(seed=1), tmp_path / "pytorch_model.bin")
    for name, seed in (("model.safetensors", 0), ("pytorch_model.bin", 1), ("config.json", 0)):
        loaded = load_checkpoint(tmp_path / name)
        assert torch.equal(loaded.weights["head.bias"], timm_weights(seed)["head.bias"])
        assert loaded.class_names == tuple("abcde")


def test_our_own_configuration_does_not_describe_other_weights(tmp_path: Path) -> None:
    save_checkpoint(tiny_checkpoint(), tmp_path)
    assert load_checkpoint(tmp_path / "model.safetensors").config == tiny_config()
    torch.save(timm_weights(), tmp_path / "pytorch_model.bin")
    with pytest.raises(
        CheckpointError, match=r"pytorch_model\.bin: the config\.json next to it describes only model\.safetensors"
    ):
        load_checkpoint(tmp_path / "pytorch_model.bin")


@pytest.mark.parametrize("target", ["../outside.safetensors", "/etc/passwd", "model-00001-of-00002.safetensors"])
def test_weights_in_several_files_are_refused_and_nothing_outside_is_opened(target: str, tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    write_timm_folder(folder)
    (folder / "model.safetensors").rename(tmp_path / "outside.safetensors")
    index = {"metadata": {}, "weight_map": {"head.bias": target}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(CheckpointError, match=r"index\.json: these weights are in several files \(shards\)"):
        load_checkpoint(folder)


@pytest.mark.parametrize(
    ("files", "what"),
    [
        (["_CHECKPOINT_METADATA", "default/manifest.ocdbt"], "an Orbax checkpoint"),
        (["manifest.ocdbt", "d/0"], "an Orbax checkpoint"),
        (["saved_model.pb", "variables/variables.index"], "a TensorFlow SavedModel"),
        (["checkpoint", "model.ckpt.index", "model.ckpt.data-00000-of-00001"], "a TensorFlow checkpoint"),
        (["__0_0.distcp", ".metadata"], "a distributed checkpoint of torch"),
    ],
)
def test_a_folder_of_another_framework_is_named(files: list[str], what: str, tmp_path: Path) -> None:
    for name in files:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    with pytest.raises(CheckpointError, match=rf"this is {what}, of which allmlp reads no weights; save them as"):
        load_checkpoint(tmp_path)


def test_a_run_that_was_stopped_before_its_first_validation_is_not_taken_for_another_folder(tmp_path: Path) -> None:
    (tmp_path / "recipe.json").write_text("{}")
    with pytest.raises(
        CheckpointError, match=r"this run has no checkpoints/best yet.*allmlp train --resume "
    ) as refusal:
        load_checkpoint(tmp_path)
    assert str(refusal.value).endswith(f"allmlp train --resume {tmp_path}")
