"""What a Mixer computes: the authors' outputs, equation 1 in NumPy, and timm's port with the same weights."""

import json
import zlib
from collections.abc import Callable, Iterator

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from tests.builders import GOLDEN, GOLDEN_CONFIG, tiny_config
from tests.reference import mixer_numpy
from tests.reference.other_layouts import linen_name, load_authors, pre_linen_name, timm_name, to_oracle
from torch import Tensor

from allmlp import VARIANTS, MlpMixer, create

# float32 carries 7 digits and a small Mixer loses about one of them; the authors' README expects the same.
SMALL = 1e-5
# The large variants sum thousands of terms in 8 to 32 layers, in another order than XLA does.
LARGE = 1e-4


@pytest.fixture(autouse=True)
def fixed_seed() -> Iterator[None]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield


def assert_close(ours: Tensor, expected: NDArray[np.floating], tolerance: float) -> None:
    """Compare relative to the largest expected value, which is what decides a prediction."""
    assert ours.shape == expected.shape
    difference = np.abs(ours.detach().double().numpy() - expected).max()
    assert difference <= tolerance * np.abs(expected).max()


def randomise(model: torch.nn.Module) -> None:
    """Move every weight, the zero ones and the norms' too, so that each of them shows in the output."""
    for parameter in model.parameters():
        parameter.data += 0.2 * torch.randn(parameter.shape) / max(parameter[0].numel(), 4) ** 0.5


def intermediate_outputs(model: MlpMixer, images: Tensor) -> dict[str, Tensor]:
    outputs: dict[str, Tensor] = {}

    def keep(name: str) -> Callable[..., None]:
        return lambda module, inputs, output: outputs.__setitem__(name, output.detach())

    parts = {"stem": model.patch_projection, "pre_head": model.pre_head_norm}
    parts |= {f"block_{index}": block for index, block in enumerate(model.blocks)}
    handles = [module.register_forward_hook(keep(name)) for name, module in parts.items()]
    with torch.no_grad():
        outputs["logits"] = model(images)
        outputs["features"] = model.features(images)
    for handle in handles:
        handle.remove()
    return outputs


@pytest.mark.parametrize(("layout", "name_of"), [("linen", linen_name), ("prelinen", pre_linen_name)])
def test_every_layer_equals_the_authors_code(layout: str, name_of: Callable[[str], str]) -> None:
    expected = np.load(GOLDEN / "tiny_expected.npz")
    arrays = np.load(GOLDEN / f"tiny_{layout}.npz")
    model = MlpMixer(GOLDEN_CONFIG).eval()
    load_authors(model, lambda name, shape: arrays[name_of(name)].reshape(shape))  # drops extra axes of length 1
    assert sorted(map(name_of, model.state_dict())) == sorted(arrays.files)

    outputs = intermediate_outputs(model, torch.from_numpy(expected["images"]).permute(0, 3, 1, 2))
    for name in ("stem", "block_0", "block_1", "block_2", "pre_head", "logits"):
        assert_close(outputs[name], expected[name].reshape(outputs[name].shape), SMALL)
    assert_close(outputs["features"], expected["pre_head"].mean(axis=1), SMALL)


SLOW = [pytest.param(variant, marks=pytest.mark.slow) for variant in ("L/16", "H/14")]


@pytest.mark.parametrize("variant", [*(name for name in VARIANTS if name not in ("L/16", "H/14")), *SLOW])
def test_variants_equal_the_authors_code(variant: str) -> None:
    expected = json.loads((GOLDEN / "variants_expected.json").read_text())[variant]
    with torch.device("meta"):  # no time for weights that are replaced
        model = create(variant)
    model = model.to_empty(device="cpu").eval()

    def draw(name: str, shape: tuple[int, ...]) -> NDArray[np.float32]:
        key = linen_name(name)
        z = np.random.default_rng(zlib.crc32(f"allmlp/{variant}/{key}".encode())).standard_normal(shape, np.float32)
        if key.endswith("kernel"):
            z /= np.float32(np.sqrt(np.prod(shape[:-1])))
            return z
        return (1 + 0.1 * z if key.endswith("scale") else 0.1 * z).astype(np.float32)

    load_authors(model, draw)
    images = np.random.default_rng(zlib.crc32(b"allmlp/x224")).uniform(-1, 1, (2, 224, 224, 3)).astype(np.float32)
    with torch.inference_mode():
        features = model.features(torch.from_numpy(images).permute(0, 3, 1, 2))
        logits = model.head(features)
    largest = expected["logits_abs_max"]
    # Relative to the largest logit, as the golden files' README says; 1,000 errors of either sign sum to about 30.
    np.testing.assert_allclose(logits[:, :8], expected["logits"], rtol=0, atol=LARGE * largest)
    np.testing.assert_allclose(features[:, :8], expected["features"], rtol=0, atol=LARGE * largest)
    np.testing.assert_allclose(logits.double().sum(dim=1), expected["logits_sum"], rtol=0, atol=30 * LARGE * largest)
    assert float(logits.abs().max()) == pytest.approx(largest, rel=LARGE)


@pytest.mark.parametrize("gelu", ["tanh", "erf"])
@pytest.mark.parametrize("image_size", [(16, 16), (16, 24), (24, 8)])
def test_every_layer_equals_equation_1(gelu: mixer_numpy.Gelu, image_size: tuple[int, int]) -> None:
    config = tiny_config(
        image_size=image_size, hidden_dim=10, tokens_mlp_dim=7, channels_mlp_dim=13, num_classes=5, gelu=gelu
    )
    model = MlpMixer(config).eval()
    randomise(model)
    images = torch.randn(3, 3, *image_size)
    outputs = intermediate_outputs(model, images)
    weights = to_oracle(model.state_dict())
    expected = [mixer_numpy.mixer(image, weights, gelu) for image in images.double().numpy()]
    assert_close(outputs["stem"], np.stack([each.stem for each in expected]), SMALL)
    for index in range(config.num_blocks):
        assert_close(outputs[f"block_{index}"], np.stack([each.layers[index] for each in expected]), SMALL)
    assert_close(outputs["pre_head"], np.stack([each.pre_head for each in expected]), SMALL)
    assert_close(outputs["features"], np.stack([each.features for each in expected]), SMALL)
    assert_close(outputs["logits"], np.stack([each.logits for each in expected]), SMALL)


def test_layer_norm_epsilon_is_flaxs() -> None:
    # Tokens that hardly vary: with torch's 1e-5 in place of 1e-6 the features would be off by half.
    model = MlpMixer(GOLDEN_CONFIG).eval()
    randomise(model)
    model.patch_projection.weight.data *= 1e-3
    model.patch_projection.bias.data *= 1e-3
    for block in model.blocks:
        for mlp in (block.token_mixing, block.channel_mixing):
            mlp.fc2.weight.data *= 1e-3
            mlp.fc2.bias.data *= 1e-3
    images = torch.randn(1, 3, 32, 32)
    expected = mixer_numpy.mixer(images[0].double().numpy(), to_oracle(model.state_dict()), "tanh")
    assert expected.layers[-1].var(axis=1).max() < 1e-5
    assert_close(model(images)[0], expected.logits, SMALL)


def test_logits_equal_timms_with_the_erf_gelu() -> None:
    from timm.models.mlp_mixer import MlpMixer as TimmMixer

    config = tiny_config(
        image_size=(48, 48),
        num_blocks=3,
        hidden_dim=32,
        tokens_mlp_dim=16,
        channels_mlp_dim=128,
        num_classes=11,
        gelu="erf",
    )
    model = MlpMixer(config).eval()
    randomise(model)
    theirs = TimmMixer(
        num_classes=11, img_size=48, patch_size=8, num_blocks=3, embed_dim=32, mlp_ratio=(0.5, 4.0)
    ).eval()
    theirs.load_state_dict({timm_name(name): weight for name, weight in model.state_dict().items()})
    images = torch.randn(4, 3, 48, 48)
    with torch.no_grad():
        assert_close(model(images), theirs(images).numpy(), SMALL)
        assert_close(model.features(images), theirs.forward_features(images).mean(dim=1).numpy(), SMALL)


def test_without_classes_a_mixer_returns_its_features() -> None:
    model = MlpMixer(GOLDEN_CONFIG).eval()
    headless = create("S/32", **{**vars(GOLDEN_CONFIG), "num_classes": 0}).eval()
    headless.load_state_dict({k: v for k, v in model.state_dict().items() if not k.startswith("head.")})
    images = torch.randn(2, 3, 32, 32)
    assert headless(images).shape == (2, 24)
    assert torch.equal(headless(images), model.features(images))


def test_logits_do_not_depend_on_the_batch() -> None:
    model = MlpMixer(GOLDEN_CONFIG).eval()
    randomise(model)
    images = torch.randn(9, 3, 32, 32)
    with torch.no_grad():
        together = model(images)
        alone = torch.cat([model(image[None]) for image in images])
        beside_others = model(torch.cat([images[:2], 1e3 * torch.randn(5, 3, 32, 32)]))[:2]
    # A matrix library may add in another order for another shape: the last bits differ, never more.
    assert_close(together, alone.numpy(), 2e-6)
    assert_close(beside_others, alone[:2].numpy(), 2e-6)
    assert model(images[:0]).shape == (0, 7)


@pytest.mark.parametrize("shape", [(3, 32, 32), (1, 32, 32, 3), (1, 3, 32, 40), (1, 1, 32, 32)])
def test_images_of_another_shape_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"takes \(B, 3, 32, 32\)"):
        MlpMixer(GOLDEN_CONFIG)(torch.zeros(shape))


def test_a_template_is_refused() -> None:
    """Its number of classes may be open, and would silently give a Mixer without a classifier."""
    with pytest.raises(TypeError, match="with_num_classes"):
        MlpMixer(GOLDEN_CONFIG.as_template())  # type: ignore[arg-type]
