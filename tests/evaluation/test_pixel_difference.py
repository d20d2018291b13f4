"""`verify_export` of files with the pixels inside: it goes through the graph's own pixels, and a fault in them is found."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from PIL import Image
from tests.builders import tiny_checkpoint

from allmlp import Checkpoint, ConfigError, Preprocessing, export, verify_export
from allmlp.evaluation.pixel_difference import PixelDifference
from allmlp.exports import parse_onnx


@pytest.fixture(scope="module")
def checkpoint() -> Checkpoint:
    preprocessing = Preprocessing(image_size=(32, 48), crop_fraction=0.8, mean=(0.4, 0.5, 0.6), std=(0.2, 0.3, 0.4))
    return tiny_checkpoint(image_size=(32, 48), preprocessing=preprocessing)


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("photos")
    generator = np.random.default_rng(0)
    for number in range(12):
        pixels = generator.integers(0, 256, (70 + 7 * number, 130 - 5 * number, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.png")
    return folder


@pytest.mark.parametrize("pixels", ["in", "exact"])
def test_pixels_that_differ_as_little_as_allowed_pass(
    pixels: str, checkpoint: Checkpoint, photos: Path, tmp_path: Path
) -> None:
    path = export(checkpoint, out=tmp_path / "x.onnx", pixels=pixels)
    result = verify_export(path, checkpoint, photos)
    assert result.problems == ()
    assert result.pixels is not None
    assert result.pixels.num_values == 12 * 3 * 32 * 48
    assert result.pixels.num_different == 0 or pixels == "in"
    assert result.pixels.largest <= (1 if pixels == "in" else 0)
    assert result.tolerance == (1e-2 if pixels == "in" else 1e-4)
    assert result.to_dict()["pixels"]["num_different"] == result.pixels.num_different


def torchs_bicubic(proto: onnx.ModelProto) -> None:
    (node,) = (node for node in proto.graph.node if node.op_type == "Resize")
    (attribute,) = (attribute for attribute in node.attribute if attribute.name == "cubic_coeff_a")
    attribute.f = -0.75


def other_mean(proto: onnx.ModelProto) -> None:
    (mean,) = (tensor for tensor in proto.graph.initializer if tensor.name == "pixels.constant.mean")
    mean.raw_data = np.array([0.4, 0.5, 0.61], np.float32).tobytes()


def other_filter(proto: onnx.ModelProto) -> None:
    (tensor,) = (tensor for tensor in proto.graph.initializer if tensor.name == "pixels.constant.double.2.5")
    tensor.raw_data = np.array(2.4999).tobytes()


@pytest.mark.parametrize(
    ("pixels", "fault", "allowed"),
    [
        ("in", torchs_bicubic, "allowed: 0.2%, by 2 levels"),
        ("in", other_mean, "allowed: 0.2%, by 2 levels"),
        ("exact", other_filter, "allowed: none"),
    ],
)
def test_a_fault_in_the_pixels_of_the_graph_is_found(
    pixels: str, fault: object, allowed: str, checkpoint: Checkpoint, photos: Path, tmp_path: Path
) -> None:
    path = export(checkpoint, out=tmp_path / "x.onnx", pixels=pixels)
    proto = onnx.load(path)
    fault(proto)  # type: ignore[operator]
    kept = [entry for entry in proto.metadata_props if entry.key != "allmlp_sha256"]
    del proto.metadata_props[:]
    proto.metadata_props.extend(kept)
    path.write_bytes(proto.SerializeToString())
    assert parse_onnx(path.read_bytes(), where="x").pixels == pixels  # all operators are ours
    result = verify_export(path, checkpoint, photos)
    assert result.pixels is not None and result.pixels.num_different > 0
    assert allowed in " ".join(result.problems)


def test_a_backend_that_does_not_run_the_pixels_cannot_verify_them(
    checkpoint: Checkpoint, photos: Path, tmp_path: Path
) -> None:
    path = export(checkpoint, out=tmp_path / "x.onnx", pixels="in")
    with pytest.raises(ConfigError, match=r"The backend openvino does not run the pixels .*; use 'onnxruntime'"):
        verify_export(path, checkpoint, photos, backend="openvino")


@pytest.mark.parametrize(
    ("different", "largest", "interpolation", "is_exact", "is_kept"),
    [
        (0, 0, "bicubic", True, True),
        (1, 1, "bicubic", True, False),
        (1, 0, "bicubic", True, False),  # rounding of the last bit
        (200, 2, "bicubic", False, True),
        (201, 1, "bicubic", False, False),
        (1, 3, "bicubic", False, False),
        (10_000, 2, "bilinear", False, True),
        (10_001, 1, "bilinear", False, False),
    ],
)
def test_a_largest_difference_and_a_largest_share_are_allowed(
    different: int, largest: int, interpolation: str, is_exact: bool, is_kept: bool
) -> None:
    difference = PixelDifference(num_values=100_000, num_different=different, largest=largest)
    preprocessing = Preprocessing(image_size=8, interpolation=interpolation)  # type: ignore[arg-type]
    assert (difference.problem(preprocessing, is_exact=is_exact) == "") == is_kept
