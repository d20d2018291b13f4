"""Contestants of others: timm's Mixer, eager, compiled, and in other engines, and the authors'. Imported on first use."""

import functools
import importlib
import importlib.util
import tempfile
import warnings
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from allmlp.bench.contestants import Contestant, Images, Opened
from allmlp.hardware.num_compute_threads import num_compute_threads
from allmlp.model import MixerConfig, num_parameters

__all__ = ["PEERS", "peer_contestants", "timm_model"]


def peer_contestants(
    config: MixerConfig, precisions: Sequence[str], names: Collection[str] | None
) -> Iterator[Contestant | tuple[str, str]]:
    """Yield the peers in `names` (None: all) that are installed, in these precisions; for the others what is missing."""
    for name, (modules, known, make) in PEERS.items():
        if names is not None and name not in names:
            continue
        if missing := [module for module in modules if importlib.util.find_spec(module) is None]:
            yield name, f"{', '.join(missing)} {'is' if len(missing) == 1 else 'are'} not installed"
            continue
        for precision in precisions:
            if precision == "int8":  # of exports of ours; timm in float32 is its reference
                continue
            if precision not in known:
                yield f"{name}, {precision}", "it lacks this precision"
                continue
            yield Contestant(
                name=name,
                precision=precision,
                is_peer=True,
                is_compiled=name == "timm-compiled",
                open=partial(_open, make, config, precision),
            )


def _open(make: "_Make", config: MixerConfig, precision: str, batch_size: int) -> Opened:
    return Opened(make(config, precision, batch_size), {"num_threads": num_compute_threads()})


def timm_model(config: MixerConfig) -> Any:
    """Return timm's Mixer of a configuration, with random weights, in evaluation mode.

    Raises:
        ValueError: timm's has another number of parameters, as with hidden widths that its ratios cannot express.
    """
    import torch

    timm_mixer = importlib.import_module("timm.models.mlp_mixer")
    activation = partial(torch.nn.GELU, approximate="tanh" if config.gelu == "tanh" else "none")
    ratios = (config.tokens_mlp_dim / config.hidden_dim, config.channels_mlp_dim / config.hidden_dim)
    model = timm_mixer.MlpMixer(
        num_classes=config.num_classes,
        img_size=config.image_size,
        patch_size=config.patch_size,
        num_blocks=config.num_blocks,
        embed_dim=config.hidden_dim,
        mlp_ratio=ratios,
        act_layer=activation,
    )
    if sum(parameter.numel() for parameter in model.parameters()) != num_parameters(config):
        raise ValueError("timm's Mixer has another number of parameters")
    return model.eval()


def _torch_call(model: Any, precision: str) -> Callable[[Images], Any]:
    import torch

    def call(images: Images) -> Any:
        with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=precision == "bfloat16"):
            return model(torch.from_numpy(images)).float().numpy()

    return call


def _timm_eager(config: MixerConfig, precision: str, _: int) -> Callable[[Images], Any]:
    return _torch_call(timm_model(config), precision)


def _timm_compiled(config: MixerConfig, precision: str, _: int) -> Callable[[Images], Any]:
    import torch

    compiled = torch.compile(timm_model(config), dynamic=False, options={"freezing": True})
    return _torch_call(compiled, precision)


@functools.lru_cache(maxsize=1)  # two engines and two precisions take the same
def _timm_onnx(config: MixerConfig, batch_size: int) -> bytes:
    """Return timm's Mixer as torch exports it, for one batch size."""
    import torch

    images = torch.zeros(batch_size, 3, *config.image_size)
    is_new = importlib.util.find_spec("onnxscript") is not None
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the older exporter announces its end
        path = Path(folder) / "timm.onnx"
        torch.onnx.export(
            timm_model(config), (images,), path, dynamo=is_new, input_names=["images"], external_data=False
        )
        return path.read_bytes()


def _timm_onnx_runtime(config: MixerConfig, _: str, batch_size: int) -> Callable[[Images], Any]:
    from allmlp.exports import import_onnxruntime

    runtime = import_onnxruntime()
    options = runtime.SessionOptions()
    options.intra_op_num_threads = num_compute_threads()
    session = runtime.InferenceSession(_timm_onnx(config, batch_size), options, providers=["CPUExecutionProvider"])
    return lambda images: session.run(None, {"images": images})[0]


def _timm_openvino(config: MixerConfig, precision: str, batch_size: int) -> Callable[[Images], Any]:
    from allmlp.exports import import_openvino

    core = import_openvino().Core()
    settings = {
        "INFERENCE_PRECISION_HINT": "bf16" if precision == "bfloat16" else "f32",
        "INFERENCE_NUM_THREADS": num_compute_threads(),
        "PERFORMANCE_HINT": "LATENCY",
    }
    compiled = core.compile_model(core.read_model(_timm_onnx(config, batch_size)), "CPU", settings)
    return lambda images: compiled([images])[0]


class _Patches(NamedTuple):
    """How the authors' Mixer takes its patch size."""

    size: tuple[int, int]


def _vit_jax(config: MixerConfig, _: str, batch_size: int) -> Callable[[Images], Any]:
    """The authors' Mixer (google-research/vision_transformer, vit_jax/models_mixer.py), compiled by jax.jit."""
    if config.gelu != "tanh":
        raise ValueError("the authors' Mixer has the tanh GELU, and this one the erf GELU")
    jax = importlib.import_module("jax")
    authors = importlib.import_module("vit_jax.models_mixer")
    model = authors.MlpMixer(
        patches=_Patches((config.patch_size, config.patch_size)),
        num_classes=config.num_classes,
        num_blocks=config.num_blocks,
        hidden_dim=config.hidden_dim,
        tokens_mlp_dim=config.tokens_mlp_dim,
        channels_mlp_dim=config.channels_mlp_dim,
    )
    images = jax.numpy.zeros((batch_size, *config.image_size, 3))  # it takes (B, H, W, 3)
    variables = model.init(jax.random.PRNGKey(0), images, train=False)
    forward = jax.jit(lambda variables, images: model.apply(variables, images.transpose(0, 2, 3, 1), train=False))
    return lambda images: forward(variables, images).block_until_ready()


_Make = Callable[[MixerConfig, str, int], Callable[[Images], Any]]
PEERS: Mapping[str, tuple[tuple[str, ...], tuple[str, ...], _Make]] = {
    "timm-eager": (("timm",), ("float32", "bfloat16"), _timm_eager),
    "timm-compiled": (("timm",), ("float32", "bfloat16"), _timm_compiled),
    "timm-onnxruntime": (("timm", "onnx", "onnxruntime"), ("float32",), _timm_onnx_runtime),
    "timm-openvino": (("timm", "onnx", "openvino"), ("float32", "bfloat16"), _timm_openvino),
    "vit_jax": (("vit_jax", "flax", "jax", "einops"), ("float32",), _vit_jax),
}
"""By name: the modules it needs, its precisions, and the function that opens it."""
