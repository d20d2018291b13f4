"""An .npz for the authors' code: their names, axes and bits."""

import os
import subprocess
import sys
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.builders import GOLDEN, assert_same_weights, tiny_checkpoint, tiny_config
from tests.checkpoints.timm_folder import NARROW_S32
from tests.reference.peak_memory import PEAK_MEMORY

from allmlp import Checkpoint, ConfigError, load_checkpoint
from allmlp.checkpoints.formats.google import save_google
from allmlp.checkpoints.formats.registry import FORMATS
from allmlp.checkpoints.formats.timm import save_timm

NAMES = ("cat", "dog", "owl")


def make_checkpoint(dtype: torch.dtype = torch.float32, **changes: Any) -> Checkpoint:
    config = tiny_config(gelu="erf", **changes)
    return with_odd_numbers(tiny_checkpoint(config=config, dtype=dtype, class_names=NAMES[: config.num_classes]))


def with_odd_numbers(checkpoint: Checkpoint) -> Checkpoint:
    dtype = checkpoint.weights["pre_head_norm.bias"].dtype
    odd = torch.tensor([-0.0, torch.finfo(dtype).max, torch.finfo(dtype).tiny], dtype=dtype)
    checkpoint.weights["pre_head_norm.bias"][:3] = odd
    return checkpoint


def assert_same_bits(one: Checkpoint, other: Checkpoint) -> None:
    assert one.config == other.config
    assert_same_weights(one.weights, other.weights)


@pytest.mark.parametrize("layout", ["linen", "prelinen"])
def test_the_authors_file_is_written_as_they_did(layout: str, tmp_path: Path) -> None:
    checkpoint = load_checkpoint(GOLDEN / f"tiny_{layout}.npz")
    path = save_google(checkpoint, tmp_path / "tiny.npz")
    with np.load(path, allow_pickle=False) as written, np.load(GOLDEN / "tiny_linen.npz") as theirs:
        assert sorted(written.files) == sorted(theirs.files)
        for name in theirs.files:
            assert written[name].dtype == theirs[name].dtype
            assert np.array_equal(written[name], theirs[name])


def test_what_was_written_gives_the_authors_logits(tmp_path: Path) -> None:
    path = save_google(load_checkpoint(GOLDEN / "tiny_prelinen.npz"), tmp_path / "any name")
    with np.load(GOLDEN / "tiny_expected.npz") as expected:
        images, wanted = torch.from_numpy(expected["images"]).permute(0, 3, 1, 2), expected["logits"]
    with torch.inference_mode():
        logits = load_checkpoint(path).build()(images).numpy()
    assert np.abs(logits - wanted).max() <= 1e-5 * np.abs(wanted).max()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16, torch.float64])
def test_weights_come_back_bit_for_bit_from_every_form(dtype: torch.dtype, tmp_path: Path) -> None:
    checkpoint = with_odd_numbers(tiny_checkpoint(config=NARROW_S32, dtype=dtype))  # which timm's form can hold, too
    google = load_checkpoint(save_google(checkpoint, tmp_path / "one.npz"), gelu="erf")
    assert_same_bits(google, checkpoint)
    timm = load_checkpoint(save_timm(google, tmp_path / "timm"))
    assert_same_bits(timm, checkpoint)
    again = save_google(timm, tmp_path / "two.npz")
    assert again.read_bytes() == (tmp_path / "one.npz").read_bytes()


def test_bfloat16_is_stored_as_jax_stores_it(tmp_path: Path) -> None:
    checkpoint = make_checkpoint(torch.bfloat16)
    with np.load(save_google(checkpoint, tmp_path / "x.npz"), allow_pickle=False) as written:
        head = written["head/kernel"]
    assert head.dtype.str == "|V2"
    assert head.shape == (8, 3)
    # bfloat16 is the upper half of a float32.
    widened = (head.view(np.uint16).astype(np.uint32) << 16).view(np.float32)
    assert np.array_equal(widened, checkpoint.weights["head.weight"].float().numpy().T)


def test_a_mixer_without_classifier_has_no_head(tmp_path: Path) -> None:
    with np.load(save_google(make_checkpoint(num_classes=0), tmp_path / "x.npz")) as written:
        assert not [name for name in written.files if name.startswith("head/")]
        assert "pre_head_layer_norm/scale" in written.files


def test_arrays_are_stored_whole_and_the_date_is_not(tmp_path: Path) -> None:
    with zipfile.ZipFile(save_google(make_checkpoint(), tmp_path / "x.npz")) as archive:
        members = archive.infolist()
        assert archive.testzip() is None
    assert {member.compress_type for member in members} == {zipfile.ZIP_STORED}
    assert {member.date_time[:3] for member in members} == {(1980, 1, 1)}
    assert "MixerBlock_0/token_mixing/Dense_0/kernel.npy" in {member.filename for member in members}


def test_an_old_file_stays_when_the_disk_is_full(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"old")
    with pytest.raises(ConfigError, match=r"file/x\.npz: could not be written"):
        save_google(make_checkpoint(), tmp_path / "file" / "x.npz")
    assert (tmp_path / "file").read_bytes() == b"old"


def test_a_width_that_numpy_does_not_have_is_refused(tmp_path: Path) -> None:
    checkpoint = make_checkpoint()
    weights = {name: weight.to(torch.float8_e4m3fn) for name, weight in checkpoint.weights.items()}
    narrow = replace(checkpoint, weights=weights)
    with pytest.raises(ConfigError, match=r"NumPy has no torch\.float8_e4m3fn"):
        save_google(narrow, tmp_path / "x.npz")
    assert not (tmp_path / "x.npz").exists()


def test_what_is_lost_is_said() -> None:
    assert len(FORMATS["google"].lost(tiny_checkpoint(gelu="tanh", num_classes=0))) == 3  # GELU, pre-processing, source
    lost = "\n".join(FORMATS["google"].lost(make_checkpoint(image_size=(16, 24), dropout=0.1)))
    for words in ("--gelu erf", "--image-size 16x24", "3 classes", "bicubic", "dropout", "made by a test"):
        assert words in lost


def test_a_grid_that_would_be_taken_for_a_square_is_said_with_the_call_that_reads_it(tmp_path: Path) -> None:
    checkpoint = make_checkpoint(image_size=(8, 32))  # 1 × 4 tokens, or 2 × 2
    lost = "\n".join(FORMATS["google"].lost(checkpoint))
    assert "--image-size 8x32 or load_checkpoint(path, image_size=(8, 32))" in lost
    assert_same_bits(
        load_checkpoint(save_google(checkpoint, tmp_path / "x.npz"), image_size=(8, 32), gelu="erf"), checkpoint
    )


MEASURE = f"""
{PEAK_MEMORY}
import sys
import torch, numpy.lib.format
from allmlp import VARIANTS, Checkpoint, Preprocessing
from allmlp.checkpoints.formats.google import save_google
from allmlp.model import parameter_shapes

config = VARIANTS["S/32"]
weights = {{name: torch.ones(shape) for name, shape in parameter_shapes(config).items()}}
names = tuple(map(str, range(1000)))
preprocessing = Preprocessing(image_size=224)
checkpoint = Checkpoint(config=config, weights=weights, preprocessing=preprocessing, class_names=names, source="ones")
before = peak_memory()
save_google(checkpoint, sys.argv[1])
print(peak_memory() - before)
"""


def test_writing_takes_the_memory_of_one_weight(tmp_path: Path) -> None:
    # A fixed threshold: else malloc keeps what large arrays gave back, now none, now one or two of 4 MB.
    environment = os.environ | {"MALLOC_MMAP_THRESHOLD_": "131072"}
    command = [sys.executable, "-c", MEASURE, tmp_path / "x.npz"]
    outcome = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120, env=environment)
    size = (tmp_path / "x.npz").stat().st_size
    assert size > 70e6
    assert int(outcome.stdout) < size / 3  # the largest weight is 6 MB, its chunks 16 MB
