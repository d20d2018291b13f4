"""int8 files with the pixels in the graph: the parts are those of the files that have only one of both."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from PIL import Image
from tests.quantisation.conftest import NAMES

from allmlp import Checkpoint, CheckpointError, ConfigError, Predictor, evaluate, export, open_model, verify_export
from allmlp.exports import open_export
from allmlp.quantisation import ATTEMPTS, export_int8

PLACES = ("out", "in", "exact")


@pytest.fixture(scope="module")
def larger_photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Photos of several sizes, all to be reduced to 16 x 24."""
    folder = tmp_path_factory.mktemp("larger")
    generator = np.random.default_rng(0)
    for number in range(30):
        path = folder / NAMES[number % 3] / f"{number}.png"
        path.parent.mkdir(exist_ok=True)
        noise = generator.integers(-60, 60, (40 + number, 90 - number, 3))
        colours = generator.integers(0, 256, 3)
        Image.fromarray((colours + noise).clip(0, 255).astype(np.uint8)).save(path)
    return folder


@pytest.fixture(scope="module")
def files(mixer: Checkpoint, larger_photos: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """An int8 export for each way of preparing photos, calibrated on the same ones."""
    folder = tmp_path_factory.mktemp("files")
    return {
        place: export_int8(
            mixer, larger_photos, out=folder / f"{place}.onnx", pixels=place, agreement=0.0, attempts=ATTEMPTS[:1]
        ).path
        for place in PLACES
    }


@pytest.mark.parametrize("backend", ["onnxruntime", "openvino"])
def test_the_mixer_is_that_of_the_file_without_pixels(backend: str, files: dict[str, Path], mixer: Checkpoint) -> None:
    images = np.random.default_rng(0).uniform(-1, 1, (5, 3, *mixer.config.image_size)).astype(np.float32)
    expected, *found = (open_model(files[place], backend=backend).forward(images) for place in PLACES)
    for logits in found:
        np.testing.assert_array_equal(logits, expected)


@pytest.mark.parametrize("place", PLACES[1:])
def test_the_pixels_are_those_of_the_float32_file(
    place: str, files: dict[str, Path], mixer: Checkpoint, larger_photos: Path, tmp_path: Path
) -> None:
    plain = export(mixer, out=tmp_path / "x.onnx", pixels=place)
    ours, theirs = (open_model(path, backend="onnxruntime").preparation for path in (files[place], plain))
    for path in list(larger_photos.rglob("*.png"))[:4]:
        photo = np.asarray(Image.open(path))
        np.testing.assert_array_equal(ours.resize(photo), theirs.resize(photo))
    info = open_export(files[place]).info
    assert (info.precision, info.pixels) == ("int8", place)


def test_an_engine_alone_runs_the_whole_file(files: dict[str, Path], larger_photos: Path) -> None:
    photo = np.asarray(Image.open(next(larger_photos.rglob("*.png"))))
    session = onnxruntime.InferenceSession(files["exact"], providers=["CPUExecutionProvider"])
    (logits,) = session.run(["logits"], {"photos": photo[None]})
    model = open_model(files["exact"], backend="onnxruntime")
    expected = model.forward(model.preparation.normalise(model.preparation.resize(photo)[None]))
    # An input at the middle between two integers may be rounded to either, if it differs in its last bit.
    np.testing.assert_allclose(logits, expected, atol=0.03 * np.abs(expected).max())


def test_predictions_and_scores_go_through_the_graph(files: dict[str, Path], larger_photos: Path) -> None:
    photo = next(larger_photos.rglob("*.png"))
    found, expected = (Predictor(open_model(files[place])).predict(photo) for place in ("exact", "out"))
    assert found == expected
    scores = [evaluate(open_model(files[place]), larger_photos).predictions for place in ("exact", "out")]
    np.testing.assert_array_equal(*scores)


def _edited(path: Path, target: Path, edit: Callable[[onnx.GraphProto], object]) -> Path:
    """A copy without its digest, as somebody makes it who wants to be believed."""
    model = onnx.load(path)
    edit(model.graph)
    kept = [entry for entry in model.metadata_props if entry.key != "allmlp_sha256"]
    del model.metadata_props[:]
    model.metadata_props.extend(kept)
    onnx.save(model, target)
    return target


@pytest.mark.parametrize("place", PLACES[1:])
def test_answers_are_judged_by_agreement_and_pixels_by_their_own_limits(
    place: str, files: dict[str, Path], mixer: Checkpoint, larger_photos: Path, tmp_path: Path
) -> None:
    result = verify_export(files[place], mixer, larger_photos)
    assert result.problems == () and (result.tolerance, result.min_agreement) == (None, 0.0)
    assert result.pixels is not None and (place == "in" or result.pixels.num_different == 0)

    def brighten(graph: onnx.GraphProto) -> None:
        (scale,) = (tensor for tensor in graph.initializer if tensor.name == "pixels.constant.255")
        scale.raw_data = np.float32(250).tobytes()

    changed = _edited(files[place], tmp_path / "x.onnx", brighten)
    (problem,) = verify_export(changed, mixer, larger_photos).problems
    assert "values of the graph's pixels" in problem
    with pytest.raises(ConfigError, match="an int8 export, whose logits differ by design"):
        verify_export(files[place], mixer, larger_photos, tolerance=1e-2)
    with pytest.raises(ConfigError, match="The backend openvino does not run the pixels"):
        verify_export(files[place], mixer, larger_photos, backend="openvino")


def test_each_part_has_only_its_own_operators_and_types(files: dict[str, Path], tmp_path: Path) -> None:
    def integers_in_pixels(graph: onnx.GraphProto) -> None:
        graph.node.add(op_type="QuantizeLinear", name="pixels.more", input=["images"], output=["x"])

    def pixels_in_mixer(graph: onnx.GraphProto) -> None:
        graph.node.add(op_type="Resize", name="more", input=["images"], output=["x"])

    def int8_in_pixels(graph: onnx.GraphProto) -> None:
        graph.initializer.append(onnx.numpy_helper.from_array(np.zeros(3, np.int8), "pixels.more"))

    def doubles_in_mixer(graph: onnx.GraphProto) -> None:
        graph.initializer.append(onnx.numpy_helper.from_array(np.zeros(3), "more"))

    for number, (edit, message) in enumerate(
        [
            (integers_in_pixels, "the operator 'QuantizeLinear'"),
            (pixels_in_mixer, "the operator 'Resize'"),
            (int8_in_pixels, "a weight of ONNX's type 3"),
            (doubles_in_mixer, "a weight of ONNX's type 11"),
        ]
    ):
        with pytest.raises(CheckpointError, match=message):
            open_export(_edited(files["in"], tmp_path / f"{number}.onnx", edit))


def test_pixels_that_no_graph_has_are_refused_before_photos_are_read(mixer: Checkpoint, tmp_path: Path) -> None:
    nowhere = tmp_path / "nowhere"
    with pytest.raises(ConfigError, match=r"openvino files cannot have.*to='onnx'"):
        export(mixer, to="openvino", pixels="in", precision="int8", calibrate=nowhere)
