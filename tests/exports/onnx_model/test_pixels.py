"""The pixels in the graph: bit for bit those of `Preprocessing` and of Pillow, or near them; oracles: both."""

import io
import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.typing import NDArray
from PIL import Image
from tests.builders import tiny_checkpoint
from tests.exports.onnx_model.test_file import Reached, set_json

from allmlp import CheckpointError, ConfigError, DataError, Embedder, Predictor, Preprocessing, export, open_model
from allmlp.checkpoints import as_arrays
from allmlp.data import open_dataset
from allmlp.exports import import_openvino, onnx_bytes, open_export, parse_onnx
from allmlp.exports.onnx_model.graph import OPERATORS
from allmlp.exports.onnx_model.pixels import PIXEL_OPERATORS

# (height, width): reduced, enlarged, equal, a pixel wide or high, extreme aspect ratios.
SIZES = [
    (64, 64),
    (1, 1),
    (1, 50),
    (50, 1),
    (3, 400),
    (30, 40),
    (200, 133),
    (33, 21),
    (12, 9),
    (16, 24),
    (24, 16),
    (97, 311),
]
# With "crop", the scaled area exceeds 16 images: only what is kept is resized.
LONG = [(400, 3), (700, 1), (1, 700), (900, 33)]
CASES = list(
    itertools.product(("allmlp", "timm"), (("crop", 0.875), ("squash", 0.9), ("pad", 1.0)), ("bicubic", "bilinear"))
)
AUTHORS = [
    ("big_vision", ("crop", 0.875), "bilinear"),
    ("big_vision", ("crop", 1.0), "bilinear"),
    ("big_vision", ("squash", 0.9), "bilinear"),
    ("vit_jax", ("squash", 1.0), "bilinear"),
]


def photo_of(height: int, width: int, seed: int = 0) -> NDArray[np.uint8]:
    """Return a photo with edges, smooth parts and noise."""
    generator = np.random.default_rng([seed, height, width])
    coarse = generator.integers(0, 256, (max(1, height // 6), max(1, width // 6), 3), dtype=np.uint8)
    smooth = np.asarray(Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)).astype(int)
    return np.clip(smooth + generator.integers(-20, 21, smooth.shape), 0, 255).astype(np.uint8)


def preprocessing_of(law: str, fit: tuple[str, float], interpolation: str, **changes: Any) -> Preprocessing:
    settings = {"mean": (0.4, 0.5, 0.6), "std": (0.2, 0.3, 0.4), "image_size": (16, 24), **changes}
    return Preprocessing(law=law, fit=fit[0], crop_fraction=fit[1], interpolation=interpolation, **settings)  # type: ignore[arg-type]


def content_of(preprocessing: Preprocessing, pixels: str) -> bytes:
    checkpoint = tiny_checkpoint(image_size=preprocessing.image_size, num_blocks=1, preprocessing=preprocessing)
    return onnx_bytes(as_arrays(checkpoint), pixels=pixels)  # type: ignore[arg-type]


def session_of(content: bytes) -> Any:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])


def images_of(content: bytes) -> Callable[[NDArray[np.uint8]], NDArray[np.float32]]:
    """Return the pixel part of a graph as a function of a photo."""
    session = session_of(parse_onnx(content, where="x").graph("images"))
    return lambda photo: session.run(["images"], {"photos": photo[None]})[0][0]


@pytest.mark.parametrize(("law", "fit", "interpolation"), CASES)
@pytest.mark.parametrize("image_size", [(16, 24), pytest.param((32, 32), marks=pytest.mark.slow)])
def test_exact_pixels_are_those_of_allmlp_bit_for_bit(
    law: str, fit: tuple[str, float], interpolation: str, image_size: tuple[int, int]
) -> None:
    preprocessing = preprocessing_of(law, fit, interpolation, image_size=image_size)
    prepare = images_of(content_of(preprocessing, "exact"))
    for size in [*SIZES, *LONG]:
        photo = photo_of(*size)
        np.testing.assert_array_equal(prepare(photo), preprocessing(photo), err_msg=str(size))


@pytest.mark.parametrize("seed", range(3))
def test_exact_pixels_are_those_of_pillow(seed: int) -> None:
    """A photo that is not tall is resized by Pillow width first, in a single call, whatever its version."""
    generator = np.random.default_rng(seed)
    for interpolation, kind in (("bicubic", Image.Resampling.BICUBIC), ("bilinear", Image.Resampling.BILINEAR)):
        preprocessing = preprocessing_of("allmlp", ("squash", 1.0), interpolation, mean=(0, 0, 0), std=(1, 1, 1))
        prepare = images_of(content_of(preprocessing, "exact"))
        for _ in range(15):
            height = int(generator.integers(1, 150))
            photo = photo_of(height, int(generator.integers(height, 300)), seed)
            levels = np.asarray(Image.fromarray(photo).resize((24, 16), kind)).transpose(2, 0, 1)
            np.testing.assert_array_equal(prepare(photo), levels.astype(np.float32) / np.float32(255))


@pytest.mark.parametrize(("law", "fit", "interpolation"), CASES)
def test_pixels_by_the_operator_resize_are_near_those_of_allmlp(
    law: str, fit: tuple[str, float], interpolation: str
) -> None:
    """Within 1 level for ordinary shapes. At simple ratios, many values of bilinear are exactly between two levels."""
    preprocessing = preprocessing_of(law, fit, interpolation, image_size=(40, 40))
    prepare = images_of(content_of(preprocessing, "in"))
    levels = []
    for size in [(64, 64), (91, 123), (200, 133), (97, 161), (133, 300), (23, 29), (31, 17), (40, 40), (375, 250)]:
        photo = photo_of(*size)
        difference = (prepare(photo) - preprocessing(photo)) * np.array(preprocessing.std).reshape(3, 1, 1) * 255
        levels.append(np.abs(np.rint(difference)))
    assert np.max(levels) <= 1
    assert np.mean(np.array(levels) > 0) <= (0.0005 if interpolation == "bicubic" else 0.02)


@pytest.mark.parametrize("fit", [("crop", 0.875), ("squash", 1.0), ("pad", 1.0)])
def test_extreme_shapes_stay_within_two_levels(fit: tuple[str, float]) -> None:
    preprocessing = preprocessing_of("allmlp", fit, "bicubic")
    prepare = images_of(content_of(preprocessing, "in"))
    for size in (*SIZES, *LONG):
        photo = photo_of(*size)
        difference = (prepare(photo) - preprocessing(photo)) * np.array(preprocessing.std).reshape(3, 1, 1) * 255
        assert np.abs(difference).max() < 2.5, size


@pytest.mark.parametrize("pixels", ["in", "exact"])
def test_the_graph_is_valid_and_says_where_its_pixels_are(pixels: str) -> None:
    for law, fit, interpolation in [*CASES, *AUTHORS]:
        content = content_of(preprocessing_of(law, fit, interpolation), pixels)
        proto = onnx.load_from_string(content)
        onnx.checker.check_model(proto, full_check=True)
        assert content == content_of(preprocessing_of(law, fit, interpolation), pixels)
        (photos,) = proto.graph.input
        assert (photos.name, photos.type.tensor_type.elem_type) == ("photos", onnx.TensorProto.UINT8)
        dims = photos.type.tensor_type.shape.dim
        assert [dim.dim_param or dim.dim_value for dim in dims] == ["batch", "height", "width", 3]
        assert [value.name for value in proto.graph.output] == ["logits", "features", "contributions"]
        names = [node.name for node in proto.graph.node]
        assert len(set(names)) == len(names)
        inner = {node.op_type for node in proto.graph.node if not node.name.startswith(("pixels.", "images"))}
        assert inner == OPERATORS
        assert {node.op_type for node in proto.graph.node} - OPERATORS <= PIXEL_OPERATORS
        export = parse_onnx(content, where="x")
        assert export.pixels == pixels
        for output in ("images", "logits", "features"):
            onnx.checker.check_model(onnx.load_from_string(export.graph(output)), full_check=True)


@pytest.mark.parametrize("pixels", ["in", "exact"])
def test_photos_of_one_size_may_share_a_batch(pixels: str) -> None:
    for fit in (("crop", 0.875), ("pad", 1.0)):
        session = session_of(content_of(preprocessing_of("allmlp", fit, "bicubic"), pixels))
        photos = np.stack([photo_of(50, 31, seed) for seed in range(3)])
        together = session.run(["logits"], {"photos": photos})[0]
        alone = [session.run(["logits"], {"photos": photo[None]})[0][0] for photo in photos]
        np.testing.assert_allclose(together, alone, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("pixels", ["in", "exact"])
def test_predictor_and_embedder_use_the_pixels_of_the_file(pixels: str, tmp_path: Path) -> None:
    checkpoint = tiny_checkpoint(
        image_size=(16, 24), preprocessing=preprocessing_of("allmlp", ("crop", 0.875), "bicubic")
    )
    path = export(checkpoint, out=tmp_path / "x.onnx", pixels=pixels)
    assert open_export(path).info.pixels == pixels
    photos = [photo_of(*size) for size in SIZES]
    whole = session_of(path.read_bytes())
    features = np.concatenate([whole.run(["features"], {"photos": photo[None]})[0] for photo in photos])
    np.testing.assert_allclose(Embedder.from_checkpoint(path).embed(photos), features, rtol=1e-5, atol=1e-6)
    found, expected = (Predictor.from_checkpoint(source).predict(photos, flip=True) for source in (path, checkpoint))
    assert [answer.label for answer in found] == [answer.label for answer in expected]
    model = open_model(path)
    assert model.pixels is not None
    assert open_model(path, preprocessing={"mean": (0, 0, 0)}).pixels is None  # which the graph does not have
    openvino = open_model(
        path, backend="openvino"
    )  # ignores antialiasing in Resize, so that allmlp prepares the photos
    assert openvino.pixels is None
    images = checkpoint.preprocessing.normalise(np.stack([checkpoint.preprocessing.resize(photo) for photo in photos]))
    np.testing.assert_allclose(openvino.forward(images), model.forward(images), rtol=1e-4, atol=1e-5)


def test_a_photo_that_would_be_scaled_to_gigabytes_is_refused_and_exact_pixels_need_not(tmp_path: Path) -> None:
    strip = np.zeros((9000, 1, 3), np.uint8)
    checkpoint = tiny_checkpoint(image_size=256, patch_size=64, num_blocks=1)
    path = export(checkpoint, out=tmp_path / "in.onnx", pixels="in")
    with pytest.raises(
        DataError, match=r"1 × 9,000 pixels: .* would scale it to 256 × 2,304,000 pixels .* Crop the photo"
    ):
        Predictor.from_checkpoint(path).predict(strip)
    exact = export(checkpoint, out=tmp_path / "exact.onnx", pixels="exact")
    assert len(Predictor.from_checkpoint(exact).predict(strip)) == 1


def test_onnx_runtime_alone_gives_the_labels_of_predict(tmp_path: Path) -> None:
    """As a user's program would: Pillow decodes, the file does the rest."""
    path = export("starter", out=tmp_path / "starter.onnx", pixels="in")
    split = open_dataset("clothing").splits["test"]
    files = [split.read(index) for index in range(0, len(split), len(split) // 20)][:20]
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    labels = []
    for content in files:
        photo = np.asarray(Image.open(io.BytesIO(content)).convert("RGB"))
        logits = session.run(["logits"], {"photos": photo[None]})[0]
        labels.append(int(logits[0].argmax()))
    for source in ("starter", path):
        predictor = Predictor.from_checkpoint(source)
        expected = [answer.label for answer in predictor.predict(files)]
        assert [predictor.class_names[label] for label in labels] == expected
    assert len(set(labels)) > 3


def test_openvino_ignores_antialiasing_so_that_its_pixels_are_not_used() -> None:
    preprocessing = preprocessing_of("allmlp", ("squash", 1.0), "bicubic")
    graph = parse_onnx(content_of(preprocessing, "in"), where="x").graph("images")
    core = import_openvino().Core()
    photo = photo_of(97, 161)
    found = core.compile_model(core.read_model(graph), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})([photo[None]])[0][0]
    levels = np.abs(found - preprocessing(photo)) * np.array(preprocessing.std).reshape(3, 1, 1) * 255
    assert levels.max() > 20  # if this fails, OpenVINO may be allowed to run them


@pytest.mark.parametrize(("law", "fit", "interpolation"), AUTHORS)
@pytest.mark.parametrize("image_size", [(16, 24), pytest.param((32, 32), marks=pytest.mark.slow)])
def test_the_authors_pixels_are_those_of_allmlp_bit_for_bit(
    law: str, fit: tuple[str, float], interpolation: str, image_size: tuple[int, int]
) -> None:
    """Without antialiasing, "in" is as exact as "exact"."""
    preprocessing = preprocessing_of(law, fit, interpolation, image_size=image_size)
    assert content_of(preprocessing, "in").count(b"authors") > 20
    for pixels in ("in", "exact"):
        prepare = images_of(content_of(preprocessing, pixels))
        for size in [*SIZES, *LONG, (64, 96), (448, 448), (375, 500), (1, 3000)]:
            photo = photo_of(*size)
            np.testing.assert_array_equal(prepare(photo), preprocessing(photo), err_msg=str(size))
        flat = np.full((91, 57, 3), (0, 100, 255), np.uint8)  # whose levels a rounding error would move
        np.testing.assert_array_equal(prepare(flat), preprocessing(flat))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"pixels": "inn"}, "pixels is 'inn'; expected one of out, in, exact. Did you mean 'in'"),
        ({"pixels": True}, "pixels is True; expected one of"),
        ({"pixels": "in", "to": "openvino"}, "openvino files cannot have. OpenVINO ignores antialiasing"),
        (
            {"pixels": "exact", "to": "openvino"},
            "export with to='onnx' and run it in ONNX Runtime, or use pixels='out'",
        ),
    ],
)
def test_pixels_that_a_file_cannot_have_are_config_errors(options: dict[str, Any], words: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=words):
        export(tiny_checkpoint(), out=tmp_path / ("x.xml" if "to" in options else "x.onnx"), **options)
    assert not list(tmp_path.iterdir())


def rename(old: str, **changes: str) -> Callable[[onnx.ModelProto], None]:
    """Change fields of the node with this name."""

    def edit(proto: onnx.ModelProto) -> None:
        (node,) = (node for node in proto.graph.node if node.name == old)
        for field, value in changes.items():
            setattr(node, field, value)

    return edit


def big_constant(proto: onnx.ModelProto) -> None:
    proto.graph.initializer.append(onnx.numpy_helper.from_array(np.zeros(9999), "pixels.constant.big"))


def foreign_type(proto: onnx.ModelProto) -> None:
    proto.graph.initializer.append(onnx.numpy_helper.from_array(np.zeros(2), "weights"))


def float_input(proto: onnx.ModelProto) -> None:
    proto.graph.input[0].name = "images"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (rename("pixels.planes", op_type="Loop"), "the operator 'Loop'"),
        (rename("pixels.planes", op_type="Gelu"), "the operator 'Gelu'"),
        (rename("patches", op_type="Resize"), "the operator 'Resize'"),  # outside of the pixel part
        (rename("pixels.planes", name="planes", op_type="Where"), "the operator 'Where'"),
        (rename("pixels.planes", domain="evil"), "an operator of 'evil'"),
        (big_constant, "the unknown weights pixels.constant.big"),
        (foreign_type, "a weight of ONNX's type 11"),
        (float_input, "its inputs are images"),
        (lambda proto: proto.graph.value_info.pop(), "it does not state the shape of images"),
        (set_json(lambda values: values.update(pixels="some")), "pixels: 'some' is not one of out, in, exact"),
        (set_json(lambda values: values.pop("pixels")), "the operator 'Shape'"),
    ],
)
@pytest.mark.parametrize("pixels", ["in", "exact"])
def test_what_allmlp_does_not_write_is_not_run(
    change: Callable[[onnx.ModelProto], object],
    words: str,
    pixels: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(*arguments: object, **options: object) -> None:
        raise Reached

    monkeypatch.setattr("allmlp.inference.backends.onnx_runtime._session", refuse)
    proto = onnx.load_from_string(content_of(preprocessing_of("allmlp", ("crop", 0.875), "bicubic"), pixels))
    change(proto)
    kept = [entry for entry in proto.metadata_props if entry.key != "allmlp_sha256"]
    del proto.metadata_props[:]
    proto.metadata_props.extend(kept)
    path = tmp_path / "changed.onnx"
    path.write_bytes(proto.SerializeToString())
    with pytest.raises(CheckpointError) as caught:
        open_model(path)
    assert words in str(caught.value)
