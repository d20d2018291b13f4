"""Synthetic weights of the real shapes in every published form: what they are is read off them, to the bit.

timm's network is the oracle of what they compute: with its own erf GELU for the hub's weights, with the tanh GELU for Google's.
"""

import json
import math
import os
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file
from tests.builders import GOLDEN
from tests.reference.other_layouts import linen_name, pre_linen_name, timm_name
from tests.reference.peak_memory import PEAK_MEMORY
from timm.models.mlp_mixer import MlpMixer as TimmMixer
from torch import Tensor, nn

from allmlp import Checkpoint, MixerConfig, load_checkpoint
from allmlp.checkpoints import CATALOG, PublishedModel
from allmlp.model import parameter_shapes

# Of the largest logit: two float32 programs that add in another order.
TOLERANCE = 1e-5

Form = tuple[bool, MixerConfig]


def form_of(published: PublishedModel) -> Form:
    """Return what decides the file and the computation: whether it is a folder of the hub's, and the configuration."""
    return published.hub_repository is not None, published.config


FORMS: dict[Form, list[str]] = {}  # names whose files differ in nothing but the tag
for _name, _published in CATALOG.items():
    FORMS.setdefault(form_of(_published), []).append(_name)


def drawn(published: PublishedModel) -> dict[str, NDArray[np.float32]]:
    """Return weights by our names, of the size that training leaves them; each a part of the same random numbers."""
    numbers, start = np.random.default_rng(0).standard_normal(2_999_999, np.float32), 0
    twice = np.tile(numbers, 2)
    weights = {}
    for name, shape in parameter_shapes(published.config).items():
        size = math.prod(shape)
        part = twice[start : start + len(numbers)]
        z = part[:size].reshape(shape) if size <= len(part) else np.resize(part, shape)  # a large classifier
        start = (start + size) % len(numbers)
        weights[name] = z / np.float32(np.sqrt(np.prod(shape[1:]))) if len(shape) > 1 else 0.1 * z + ("norm.w" in name)
    return weights


def write_npz(path: Path, weights: dict[str, NDArray[np.float32]], *, pre_linen: bool = False) -> None:
    arrays = {}
    for name, array in weights.items():
        theirs = array.transpose({4: (2, 3, 1, 0), 2: (1, 0), 1: (0,)}[array.ndim])
        if pre_linen and "mixing" in name:
            theirs = theirs[None] if theirs.ndim == 2 else theirs[None, None]
        arrays[pre_linen_name(name) if pre_linen else linen_name(name)] = theirs
    np.savez(path, **arrays)


def write_hub(folder: Path, weights: dict[str, NDArray[np.float32]]) -> None:
    tensors = {timm_name(name): torch.from_numpy(array) for name, array in weights.items()}
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})


def write_hub_config(folder: Path, published: PublishedModel) -> None:
    """Write config.json as it is on the hub; its fields are those of timm's own upload."""
    assert published.timm_name is not None
    architecture, _, tag = published.timm_name.partition(".")
    preprocessing, num_classes = published.preprocessing, published.config.num_classes
    pretrained = {
        "tag": tag,
        "custom_load": False,
        "input_size": [3, 224, 224],
        "fixed_input_size": True,
        "interpolation": preprocessing.interpolation,
        "crop_pct": 0.875,
        "crop_mode": "center",
        "mean": list(preprocessing.mean),
        "std": list(preprocessing.std),
        "num_classes": num_classes,
        "pool_size": None,
        "first_conv": "stem.proj",
        "classifier": "head",
    }
    config = {
        "architecture": architecture,
        "num_classes": num_classes,
        "num_features": 768,
        "pretrained_cfg": pretrained,
    }
    (folder / "config.json").write_text(json.dumps(config))


def timm_logits(published: PublishedModel, weights: dict[str, NDArray[np.float32]], images: Tensor) -> Tensor:
    config = published.config
    with torch.device("meta"):
        model = TimmMixer(
            img_size=config.image_size,
            patch_size=config.patch_size,
            num_blocks=config.num_blocks,
            embed_dim=config.hidden_dim,
            num_classes=config.num_classes,
            act_layer=partial(nn.GELU, approximate="tanh") if config.gelu == "tanh" else nn.GELU,
        )
    state = {timm_name(name): torch.from_numpy(array) for name, array in weights.items()}
    model.load_state_dict(state, assign=True)
    with torch.inference_mode():
        logits: Tensor = model.eval()(images)
    return logits


def slow_if_large(name: str) -> Any:
    return pytest.param(name, marks=pytest.mark.slow if name.startswith("l16") else ())


@pytest.mark.parametrize("name", [slow_if_large(names[0]) for names in FORMS.values()])
def test_each_form_is_recognised_and_read_bit_for_bit(name: str, tmp_path: Path) -> None:
    published = CATALOG[name]
    weights = drawn(published)
    same_file = [CATALOG[other] for other in FORMS[form_of(published)]]
    if published.hub_repository is None:
        path = tmp_path / "weights.bin"  # a name that says nothing
        write_npz(path.with_suffix(".npz"), weights)
        path.with_suffix(".npz").rename(path)
        checkpoint = load_checkpoint(path)
        for other in same_file:
            check_description(checkpoint, other)
    else:
        write_hub(tmp_path, weights)
        for other in same_file:
            write_hub_config(tmp_path, other)
            checkpoint = load_checkpoint(tmp_path)
            check_description(checkpoint, other)
    assert checkpoint.weights.keys() == weights.keys()
    assert all(np.array_equal(weight.numpy(), weights[key]) for key, weight in checkpoint.weights.items())


# The authors' own outputs stand for B/16, B/32, S/16 and S/32 with their GELU: tests/model/test_mixer.py.
@pytest.mark.parametrize("name", [*map(slow_if_large, ("s8-gsam", "b16-i1k-timm", "l16-i1k", "l16-i1k-timm"))])
def test_the_catalogues_configuration_computes_what_timms_code_computes(name: str) -> None:
    published = CATALOG[name]
    weights = drawn(published)
    checkpoint = Checkpoint(
        config=published.config,
        weights={name: torch.from_numpy(array) for name, array in weights.items()},
        preprocessing=published.preprocessing,
        class_names=tuple(map(str, range(published.config.num_classes))),
        source="drawn",
    )
    images = torch.randn(1, 3, 224, 224, generator=torch.Generator().manual_seed(1))
    expected = timm_logits(published, weights, images)
    with torch.inference_mode():
        logits = checkpoint.build()(images)
    assert (logits - expected).abs().max() < TOLERANCE * expected.abs().max()


def check_description(checkpoint: Checkpoint, published: PublishedModel) -> None:
    assert checkpoint.config == published.config
    assert len(checkpoint.class_names) == published.config.num_classes
    assert "unknown origin; fits " in checkpoint.source
    fitting = checkpoint.source.partition("fits ")[2].split(", ")
    assert published.name in fitting
    assert all(CATALOG[name].variant == published.variant for name in fitting)
    if published.hub_repository is not None:
        assert checkpoint.preprocessing == published.preprocessing
        assert not checkpoint.class_names[0].isdigit()  # its tag says which ImageNet


def test_every_published_name_has_a_form() -> None:
    assert sorted(name for names in FORMS.values() for name in names) == sorted(CATALOG)


def test_reading_b16_is_quick_and_takes_little_more_memory_than_the_file(tmp_path: Path) -> None:
    """Under 1 s of the processor and 1.3 x the file's size; S/16's older layout, too.

    Other programs do not take the processor's time, and the kernel's time for new memory, up to a second on some virtual
    machines, is not counted.
    """
    program = f"""
{PEAK_MEMORY}
import json, os, resource, sys
import torch
from allmlp import load_checkpoint
load_checkpoint(sys.argv[1])  # imports what reading needs
for path in sys.argv[2:]:
    checkpoint = None
    forget_peak_memory()
    before = peak_memory()
    start = resource.getrusage(resource.RUSAGE_SELF).ru_utime
    checkpoint = load_checkpoint(path)
    seconds = resource.getrusage(resource.RUSAGE_SELF).ru_utime - start
    grown = peak_memory() - before
    print(json.dumps(dict(path=path, seconds=seconds, times=grown / os.path.getsize(path))))
"""
    paths = [tmp_path / "linen.npz", tmp_path / "pre-linen.npz"]
    write_npz(paths[0], drawn(CATALOG["b16-i1k"]))
    write_npz(paths[1], drawn(CATALOG["s16-gsam"]), pre_linen=True)
    for path in paths:
        path.read_bytes()  # warm, and not in the process whose peak is measured
    # A fixed threshold: else malloc keeps memory of what was read before.
    environment = os.environ | {"MALLOC_MMAP_THRESHOLD_": "131072"}
    command = [sys.executable, "-c", program, GOLDEN / "tiny_linen.npz", *paths]
    outcome = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120, env=environment)
    runs = [json.loads(line) for line in outcome.stdout.splitlines()]
    assert [run["path"] for run in runs] == [str(path) for path in paths]
    for run in runs:
        assert run["seconds"] < 1, runs
        assert 0.9 < run["times"] < 1.3, runs
