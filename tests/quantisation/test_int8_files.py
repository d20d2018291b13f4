"""int8 files: exact arithmetic as the oracle of the engines' kernels, one photo's answer whatever its batch, and refusals."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.typing import NDArray
from tests.builders import tiny_checkpoint
from tests.quantisation.conftest import ENDINGS, NAMES

from allmlp import Checkpoint, CheckpointError, ConfigError, Embedder, Predictor, evaluate, export, open_model
from allmlp.exports import MAX_INPUT, MAX_WEIGHT, import_openvino, open_export
from allmlp.exports.onnx_model.quantised import layer_widths
from allmlp.hardware import processor
from allmlp.hardware.processor import has_exact_int8
from allmlp.inference import write_tuned
from allmlp.quantisation import ATTEMPTS, Int8Export, export_int8

ALL = [attempt.name for attempt in ATTEMPTS]
Exports = dict[tuple[str, str], Int8Export]


def random_images(number: int, mixer: Checkpoint) -> NDArray[np.float32]:
    return np.random.default_rng(1).uniform(-1, 1, (number, 3, *mixer.config.image_size)).astype(np.float32)


def exact_outputs(path: Path, images: NDArray[np.float32]) -> dict[str, NDArray[np.float32]]:
    """The graph as it is written: integers restored to float32, and no kernel for integers."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, {"images": images}), strict=True))


def test_pairs_of_products_cannot_saturate_with_7_bits_and_can_with_8() -> None:
    assert 2 * MAX_INPUT * MAX_WEIGHT[7] <= np.iinfo(np.int16).max < 2 * MAX_INPUT * MAX_WEIGHT[8]


@pytest.mark.parametrize("name", [*ALL, "8 bits"])
def test_weights_keep_to_their_bits(name: str, exports: Exports, mixer: Checkpoint) -> None:
    export = exports["onnx", name]
    graph = onnx.load(export.path).graph
    stored = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in graph.initializer}
    layers = [layer for layer in layer_widths(mixer.config) if f"{layer}.input.scale" in stored]
    assert (
        len(layers)
        == export.note.num_integer_layers
        == {"all layers": 9, "8 bits": 9, "weights only": 0}.get(name, 8 if "without" in name else 4)
    )
    limit = MAX_WEIGHT[8 if name == "8 bits" else 7]
    assert all(np.abs(stored[f"{layer}.weight"].astype(int)).max() == limit for layer in layers)
    assert export.note.needs_vnni is (name == "8 bits")


@pytest.mark.parametrize("backend", ["onnxruntime", "openvino"])
@pytest.mark.parametrize("name", ALL)
def test_engines_compute_what_the_graph_says(name: str, backend: str, exports: Exports, mixer: Checkpoint) -> None:
    images = random_images(33, mixer)
    path = exports["onnx", name].path
    expected = exact_outputs(path, images)
    scale = np.abs(expected["logits"]).max()
    # An input that is at the middle between two integers may be rounded to either, if it differs in its last bit.
    tolerance = 1e-5 if name == "weights only" else 0.03
    found = open_model(path, backend=backend).forward(images)
    assert np.abs(found - expected["logits"]).max() <= tolerance * scale
    assert np.median(np.abs(found - expected["logits"])) <= tolerance / 10 * scale
    features = open_model(path, backend=backend, output="features").forward(images)
    assert np.abs(features - expected["features"]).max() <= tolerance * np.abs(expected["features"]).max()


@pytest.mark.parametrize("name", ALL)
def test_openvinos_file_answers_as_the_onnx_file(name: str, exports: Exports, mixer: Checkpoint) -> None:
    images = random_images(17, mixer)
    files = [exports[to, name].path for to in ("onnx", "openvino")]
    logits = [open_model(path, backend="openvino").forward(images) for path in files]
    assert np.array_equal(*logits)


@pytest.mark.parametrize("name", [ALL[0], ALL[2]])
def test_contributions_sum_to_the_logits(name: str, exports: Exports, mixer: Checkpoint) -> None:
    outputs = exact_outputs(exports["onnx", name].path, random_images(3, mixer))
    bias = mixer.weights["head.bias"].float().numpy()
    assert np.allclose(outputs["contributions"].sum(axis=1) + bias, outputs["logits"], atol=1e-6)


@pytest.mark.parametrize("to, backend", [("onnx", "onnxruntime"), ("onnx", "openvino"), ("openvino", "openvino")])
@pytest.mark.parametrize("name", ALL)
def test_an_answer_does_not_depend_on_its_batch(
    name: str, to: str, backend: str, exports: Exports, mixer: Checkpoint
) -> None:
    forward = open_model(exports[to, name].path, backend=backend).forward
    images = random_images(33, mixer)
    together = forward(images)
    for size in (1, 2, 3, 16):
        parts = [forward(images[start : start + size]) for start in range(0, 33, size)]
        assert np.array_equal(np.concatenate(parts), together), size


def test_a_file_of_8_bits_is_refused_without_vnni(exports: Exports, monkeypatch: pytest.MonkeyPatch) -> None:
    path = exports["onnx", "8 bits"].path
    monkeypatch.setattr(processor, "processor_flags", lambda: frozenset({"avx2", "fma"}))
    for backend in ("onnxruntime", "openvino"):
        with pytest.raises(ConfigError, match=r"its 8-bit weights need a processor with VNNI.*--portable"):
            open_model(path, backend=backend)
        open_model(exports["onnx", ALL[0]].path, backend=backend)
    monkeypatch.setattr(processor, "processor_flags", lambda: frozenset({"avx2", "avx_vnni"}))
    open_model(path)


@pytest.mark.parametrize("to, backend", [("onnx", "onnxruntime"), ("onnx", "openvino"), ("openvino", "openvino")])
def test_float32_is_refused_only_where_integers_are_multiplied(
    to: str, backend: str, exports: Exports, mixer: Checkpoint
) -> None:
    for name in ALL[:-1]:
        with pytest.raises(ConfigError, match=r"an int8 export, which multiplies integers.*'float32'"):
            open_model(exports[to, name].path, backend=backend, precision="float32")
    images = random_images(3, mixer)
    models = [open_model(exports[to, ALL[-1]].path, backend=backend, precision=each) for each in ("float32", "auto")]
    assert np.array_equal(*(model.forward(images) for model in models))


def test_what_was_tuned_in_float32_does_not_choose_the_engine_of_int8(
    exports: Exports, mixer: Checkpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ALLMLP_HOME", str(tmp_path))
    write_tuned(mixer.config, {"openvino": 0.001, "onnxruntime": 0.002})
    plain = export(mixer, out=tmp_path / "x.onnx")
    assert open_model(plain).remark.startswith("Backend openvino: the fastest here")
    assert "fastest" not in open_model(exports["onnx", ALL[0]].path).remark


def test_processors_with_exact_int8() -> None:
    for flag in ("avx512_vnni", "avx_vnni", "amx_int8"):
        assert has_exact_int8(frozenset({"avx2", flag}), "x86_64")
    assert not has_exact_int8(frozenset({"avx2", "avx512f", "avx512bw"}), "x86_64")
    assert not has_exact_int8(frozenset(), "AMD64")
    assert has_exact_int8(frozenset({"asimd"}), "aarch64") and has_exact_int8(frozenset(), "arm64")


def _changed(path: Path, target: Path, *, needs_vnni: bool | None = None, edit: object = None) -> Path:
    """A copy without its digest, as somebody makes it who wants to be believed."""
    model = onnx.load(path)
    entries = {entry.key: entry for entry in model.metadata_props}
    model.metadata_props.remove(entries["allmlp_sha256"])
    values = json.loads(entries["allmlp"].value)
    if needs_vnni is not None:
        values["quantisation"]["needs_vnni"] = needs_vnni
    if edit is not None:
        edit(model, values)  # type: ignore[operator]
    entries["allmlp"].value = json.dumps(values)
    onnx.save(model, target)
    return target


def test_a_file_of_8_bits_cannot_claim_to_be_portable(exports: Exports, tmp_path: Path) -> None:
    path = _changed(exports["onnx", "8 bits"].path, tmp_path / "x.onnx", needs_vnni=False)
    with pytest.raises(
        CheckpointError, match="says that it runs without VNNI, but has weights of over 7 bits: patch_proj"
    ):
        open_export(path)


def _renamed(model: onnx.ModelProto, _: object) -> None:
    """Give scales and zero points names that say nothing."""
    new = {tensor.name: f"c{index}" for index, tensor in enumerate(model.graph.initializer) if ".input." in tensor.name}
    for tensor in model.graph.initializer:
        tensor.name = new.get(tensor.name, tensor.name)
    for node in model.graph.node:
        node.input[:] = [new.get(name, name) for name in node.input]


def _transposed(model: onnx.ModelProto, values: object) -> None:
    """Put a transposition, which engines move, between the quantised input of a layer and its product."""
    _renamed(model, values)
    index, node = next((i, node) for i, node in enumerate(model.graph.node) if node.name == "patch_projection")
    moved = onnx.helper.make_node("Transpose", [node.input[0]], ["moved"], name="moved", perm=[0, 1, 2])
    node.input[0] = "moved"
    model.graph.node.insert(index, moved)


def _unsigned(model: onnx.ModelProto, _: object) -> None:
    """Store a weight without a sign."""
    for name in ("patch_projection.weight", "patch_projection.weight.zero_point"):
        tensor = next(each for each in model.graph.initializer if each.name == name)
        tensor.data_type = onnx.TensorProto.UINT8
        tensor.raw_data = bytes((value + 128) % 256 for value in tensor.raw_data)


@pytest.mark.parametrize(
    ("edit", "words"),
    [(_renamed, "over 7 bits: patch_proj"), (_transposed, "over 7 bits: patch_proj"), (_unsigned, "in uint8")],
)
def test_names_and_types_do_not_hide_a_file_of_8_bits(
    edit: Callable[[onnx.ModelProto, object], None], words: str, exports: Exports, tmp_path: Path
) -> None:
    path = _changed(exports["onnx", "8 bits"].path, tmp_path / "x.onnx", edit=edit, needs_vnni=False)
    with pytest.raises(CheckpointError, match=words):
        open_export(path)
    true = _changed(exports["onnx", ALL[0]].path, tmp_path / "y.onnx", edit=_renamed)
    assert open_export(true).info.quantisation is not None


@pytest.mark.parametrize("large", [64, -64, 127, -128])
def test_an_openvino_file_of_8_bits_cannot_claim_to_be_portable(large: int, exports: Exports, tmp_path: Path) -> None:
    path = exports["openvino", ALL[0]].path
    xml = re.sub(r"<allmlp_sha256 [^>]*>", "", path.read_text())  # as somebody writes it who wants to be believed
    (tmp_path / "x.xml").write_text(xml)
    content = bytearray(path.with_suffix(".bin").read_bytes())
    start = int(re.search(r'name="blocks.1.channel_mixing.fc2.weight".*?offset="(\d+)"', xml, re.DOTALL)[1])  # type: ignore[index]
    assert max(map(abs, np.frombuffer(content[start : start + 16], np.int8).astype(int))) <= MAX_WEIGHT[7]
    (tmp_path / "x.bin").write_bytes(content)
    open_export(tmp_path / "x.xml")
    content[start + 5] = large % 256
    (tmp_path / "x.bin").write_bytes(content)
    with pytest.raises(CheckpointError, match=r"has weights of over 7 bits: blocks\.1\.channel_mixing.fc2"):
        open_export(tmp_path / "x.xml")


def test_an_openvino_file_in_float32_has_no_integers(exports: Exports, tmp_path: Path) -> None:
    path = exports["openvino", "weights only"].path
    (tmp_path / "x.bin").write_bytes(path.with_suffix(".bin").read_bytes())
    xml = re.sub(r"<allmlp_sha256 [^>]*>", "", path.read_text())
    xml = re.sub(r"&quot;quantisation&quot;:\{.*?\},", "", xml).replace("&quot;int8&quot;", "&quot;float32&quot;")
    (tmp_path / "x.xml").write_text(xml)
    with pytest.raises(CheckpointError, match="a weight of the type 'i8'"):
        open_export(tmp_path / "x.xml")


def test_other_operators_and_claims_are_refused(exports: Exports, tmp_path: Path) -> None:
    path = exports["onnx", ALL[0]].path

    def dynamic(model: onnx.ModelProto, _: dict[str, object]) -> None:
        model.graph.node.add(op_type="DynamicQuantizeLinear", input=["images"], output=["a", "b", "c"])

    def large(model: onnx.ModelProto, _: dict[str, object]) -> None:
        model.graph.initializer.append(onnx.numpy_helper.from_array(np.zeros((200, 9), np.int8), "blocks.0.more"))

    def in_float(_: onnx.ModelProto, values: dict[str, object]) -> None:
        values.pop("quantisation")
        values["precision"] = "float32"

    def without_note(_: onnx.ModelProto, values: dict[str, object]) -> None:
        values.pop("quantisation")

    def with_9_bits(_: onnx.ModelProto, values: dict[str, dict[str, object]]) -> None:
        values["quantisation"]["weight_bits"] = 9

    def as_text(_: onnx.ModelProto, values: dict[str, dict[str, object]]) -> None:
        values["quantisation"]["agreement"] = "most"

    for number, (edit, message) in enumerate(
        [
            (dynamic, "the operator 'DynamicQuantizeLinear'"),
            (large, "the unknown weights blocks.0.more"),
            (in_float, "the operator 'QuantizeLinear'|a weight of ONNX's type 3|the operator 'DequantizeLinear'"),
            (without_note, '"quantisation" belongs to int8'),
            (with_9_bits, "weight_bits"),
            (as_text, "agreement"),
        ]
    ):
        with pytest.raises(CheckpointError, match=message):
            open_export(_changed(path, tmp_path / f"{number}.onnx", edit=edit))


def test_the_note_says_how_and_names_no_path(exports: Exports, photos: Path) -> None:
    export = exports["onnx", ALL[0]]
    info = open_export(export.path).info
    assert info.precision == "int8" and info.quantisation == export.note
    assert (export.note.num_calibration_photos, export.note.num_judging_photos) == (20, 40)
    assert export.note.agreement == export.judged[0].agreement
    assert str(photos).encode() not in export.path.read_bytes()
    assert open_export(exports["openvino", ALL[0]].path).info.quantisation is not None


def test_a_note_without_splits_is_read(exports: Exports, tmp_path: Path) -> None:
    """As earlier versions wrote it."""

    def earlier(_: onnx.ModelProto, values: dict[str, dict[str, object]]) -> None:
        assert (values["quantisation"].pop("calibration_split"), values["quantisation"].pop("judging_split")) == (
            "train",
            "train",
        )

    note = open_export(_changed(exports["onnx", ALL[0]].path, tmp_path / "x.onnx", edit=earlier)).info.quantisation
    assert note is not None and (note.calibration_split, note.judging_split) == ("", "")


@pytest.mark.parametrize("backend", ["onnxruntime", "openvino"])
def test_the_python_interface_takes_int8_files(backend: str, exports: Exports, photos: Path) -> None:
    model = open_model(exports["onnx", ALL[0]].path, backend=backend)
    photo = next(photos.rglob("*.png"))
    assert Predictor(model).predict(photo)[0].label in NAMES
    features = open_model(exports["onnx", ALL[0]].path, backend=backend, output="features")
    assert Embedder(features).embed([photo]).shape == (1, 16)
    assert len(evaluate(model, photos).predictions) == 60
    with pytest.raises(ConfigError, match="int8 is in the file"):
        open_model(exports["onnx", ALL[0]].path, backend=backend, precision="int8")


@pytest.fixture(scope="module")
def weights_only(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Files of a Mixer that is large enough for the kernels in which engines would round its inputs."""
    mixer = tiny_checkpoint(
        image_size=(16, 24), class_names=NAMES, hidden_dim=64, channels_mlp_dim=128, tokens_mlp_dim=32
    )
    folder = tmp_path_factory.mktemp("weights_only")
    found = {}
    for to, name in ENDINGS.items():
        written = export_int8(mixer, photos, to=to, out=folder / name, agreement=0.0, attempts=ATTEMPTS[-1:])
        found[to] = written.path
    return found


def test_int8_weights_are_multiplied_in_float32_by_engines_without_options(weights_only: dict[str, Path]) -> None:
    """Fault: ONNX Runtime rounded the inputs of such layers to 8 bits, unless a session option forbade it."""
    images = np.random.default_rng(1).uniform(-1, 1, (7, 3, 16, 24)).astype(np.float32)
    expected = exact_outputs(weights_only["onnx"], images)["logits"]
    plain = onnxruntime.InferenceSession(weights_only["onnx"], providers=["CPUExecutionProvider"])
    compiled = (
        import_openvino()
        .Core()
        .compile_model(
            weights_only["openvino"],
            "CPU",
            {"INFERENCE_PRECISION_HINT": "f32"},  # the default is bfloat16 where it is fast
        )
    )
    for found in (plain.run(["logits"], {"images": images})[0], compiled([images])["logits"]):
        assert np.abs(found - expected).max() <= 1e-5 * np.abs(expected).max()


def test_files_of_earlier_versions_are_read(weights_only: dict[str, Path], tmp_path: Path) -> None:
    """They restore the weights with DequantizeLinear."""

    def earlier(model: onnx.ModelProto, _: object) -> None:
        constants = {tensor.name: tensor for tensor in model.graph.initializer}
        for node in list(model.graph.node):
            if node.op_type != "Cast":
                continue
            name = node.input[0]
            (product,) = (each for each in model.graph.node if node.output[0] in each.input)
            step = onnx.numpy_helper.to_array(constants[f"{name}.step"]).reshape(-1)
            zeros = np.zeros(len(step), np.int8)
            for part, values in (("scale", step), ("zero_point", zeros)):
                model.graph.initializer.append(onnx.numpy_helper.from_array(values, f"{name}.{part}"))
            model.graph.initializer.remove(constants[f"{name}.step"])
            inputs = [name, f"{name}.scale", f"{name}.zero_point"]
            axis = int(name != "head.weight")
            restored = onnx.helper.make_node("DequantizeLinear", inputs, [product.output[0]], axis=axis)
            model.graph.node.insert(list(model.graph.node).index(node), restored)
            model.graph.node.remove(node)
            model.graph.node.remove(product)

    path = _changed(weights_only["onnx"], tmp_path / "x.onnx", edit=earlier)
    images = np.random.default_rng(1).uniform(-1, 1, (7, 3, 16, 24)).astype(np.float32)
    for backend in ("onnxruntime", "openvino"):
        found, expected = (open_model(each, backend=backend).forward(images) for each in (path, weights_only["onnx"]))
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
