"""The program of a Mixer, made by torch.export.

Shapes as in model/mixer.py: B images, S tokens, C channels, K classes.
"""

import io
import json
import warnings
import zipfile
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from allmlp.checkpoints import ArrayCheckpoint
from allmlp.errors import CheckFailedError
from allmlp.exports.metadata import ExportInfo, info_text, weights_digest
from allmlp.exports.torch_program.archive import DESCRIPTION, DIGEST, PROGRAM, ROOT, archive_digest
from allmlp.model import MixerConfig, MlpMixer

__all__ = ["checked_program", "program_bytes"]


class _Program(nn.Module):
    """The layers of a Mixer by their names, and all outputs of an export.

    With bfloat16, matrices and their products have it. Norms and sums keep float32, and so does the classifier, so that the
    contributions still sum to the logits.
    """

    def __init__(self, mixer: MlpMixer, precision: str) -> None:
        super().__init__()
        for name, layer in mixer.named_children():
            setattr(self, name, layer)
        self._config = mixer.config
        if precision == "bfloat16":
            for layer in mixer.modules():
                if not isinstance(layer, nn.LayerNorm) and layer is not mixer.head:
                    for parameter in layer.parameters(recurse=False):
                        parameter.data = parameter.data.to(torch.bfloat16)

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """Return `features` (B, C), and with a classifier `logits` (B, K) and `contributions` (B, S, K), in float32."""
        (rows, columns), P = self._config.grid, self._config.patch_size
        x = images.reshape(-1, 3, rows, P, columns, P).permute(0, 2, 4, 1, 3, 5)  # (B, H/P, W/P, 3, P, P)
        x = x.reshape(-1, rows * columns, 3 * P * P)
        projection: Any = self.patch_projection
        x = _linear(x, projection.weight.flatten(1), projection.bias)  # (B, S, C)
        blocks: Any = self.blocks
        for block in blocks:
            x = x + self._mlp(block.token_norm(x).transpose(1, 2), block.token_mixing).transpose(1, 2)
            x = x + self._mlp(block.channel_norm(x), block.channel_mixing)
        norm: Any = self.pre_head_norm
        tokens = norm(x)
        features = tokens.mean(dim=1)
        if not self._config.num_classes:
            return {"features": features}
        head: Any = self.head
        # The mean over tokens and the classifier are linear, so that every patch has its share of each logit.
        return {
            "logits": _linear(features, head.weight, head.bias),
            "features": features,
            "contributions": _linear(tokens, head.weight, None) / (rows * columns),
        }

    def _mlp(self, x: Tensor, mlp: Any) -> Tensor:
        x = F.linear(x.to(mlp.fc1.weight.dtype), mlp.fc1.weight, mlp.fc1.bias)
        return _linear(F.gelu(x, approximate=mlp.gelu), mlp.fc2.weight, mlp.fc2.bias)


def _linear(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    return F.linear(x.to(weight.dtype), weight, bias).float()


def program_bytes(model: ArrayCheckpoint, precision: str = "float32") -> bytes:
    """Return a .pt2 file with the description inside; the same checkpoint gives the same bytes.

    Input: `images`, float32 (B, 3, H, W), pre-processed, for any B from 1. Output: a dict of float32 tensors: `logits` (B, K),
    `features` (B, C), and `contributions` (B, S, K) of each patch; a Mixer without a classifier has only `features`. With the
    precision "bfloat16", all matrices but that of the classifier, and their products, have that type.
    """
    info = ExportInfo(description=model.description, precision=precision, weights_sha256=weights_digest(model.weights))
    return _archive(_exported(model.description.config, model.weights, precision), info_text(info))


def checked_program(
    info: ExportInfo,
    weights: Mapping[str, NDArray[np.float32]],
    content: bytes,
    *,
    where: str,
    with_features: bool = False,
) -> Callable[[NDArray[np.float32]], NDArray[np.float32]]:
    """Return the program of an export that was read, from images (B, 3, H, W) to logits or features.

    With `with_features`, it gives logits and features next to each other.
    Its `content` is not run: it is compared with the program that is written here, which then has its weights.

    Raises:
        CheckFailedError: they differ.
    """
    program = _exported(info.description.config, weights, info.precision)
    with zipfile.ZipFile(io.BytesIO(_archive(program, info_text(info)))) as archive:
        written = archive.read(f"{ROOT}{PROGRAM}")
    if _without_version(written) != _without_version(content):
        raise CheckFailedError(
            f"{where}: its program is not the one that torch {torch.__version__} makes of this Mixer: it was changed, or "
            "another version wrote it. It is not run. Export the checkpoint again."
        )
    module = program.module()
    names = ["logits"] if info.description.config.num_classes else ["features"]
    if with_features and names != ["features"]:
        names.append("features")

    def compute(images: NDArray[np.float32]) -> NDArray[np.float32]:
        with torch.inference_mode():
            outputs = module(torch.from_numpy(images))
            joined: NDArray[np.float32] = torch.cat([outputs[name] for name in names], dim=1).numpy()
        return joined

    return compute


def _exported(config: MixerConfig, weights: Mapping[str, NDArray[np.float32]], precision: str) -> Any:
    """Return the program as torch's ExportedProgram, without what names files of this machine."""
    mixer = MlpMixer(config)
    mixer.load_state_dict({name: torch.from_numpy(np.array(weight, np.float32)) for name, weight in weights.items()})
    module = _Program(mixer, precision).eval().requires_grad_(False)
    shape = (3, *config.image_size)
    batch = torch.export.Dim("batch", min=1)
    # Two images, because torch takes a size of 0 or 1 as fixed.
    program = torch.export.export(module, (torch.zeros(2, *shape),), dynamic_shapes=({0: batch},))
    for node in program.graph.nodes:  # its meta has stack traces, with the paths of source files
        node.meta = {name: value for name, value in node.meta.items() if name in ("val", "tensor_meta")}
    program.example_inputs = ((torch.zeros(1, 1, 1, 1).expand(2, *shape),), {})  # which takes no space in the file
    return program


def _archive(program: Any, text: str) -> bytes:
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of torch, on its own features
        torch.export.save(program, buffer, extra_files={DESCRIPTION: text})
    with zipfile.ZipFile(buffer, "a") as archive:
        digest = archive_digest({name: archive.read(name) for name in archive.namelist()})
        archive.writestr(zipfile.ZipInfo(f"{ROOT}{DIGEST}"), digest)
    return buffer.getvalue()


def _without_version(program: bytes) -> Any:
    try:
        values = json.loads(program)
    except (ValueError, RecursionError):
        return None
    return {**values, "torch_version": ""} if isinstance(values, dict) else None
