"""`allmlp export`, and the commands that take an export in place of a checkpoint: the same answers, without torch."""

import json
import re
import shutil
import subprocess
import sys
import typing
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from PIL import Image
from tests.builders import tiny_checkpoint
from tests.evaluation.test_verification import tampered
from tests.exports.conftest import FILE_FORMATS
from tests.exports.test_writing import hide
from tests.exports.web_page.packages import pack, write_package
from tests.forks import run_python
from tests.test_readme import ROOT, commands_of

from allmlp import save_checkpoint
from allmlp.cli.arguments.checkpoint import BackendName
from allmlp.cli.commands.other_tools.export import ExportTarget, PixelPlace
from allmlp.exports import ENGINES, EXPORT_FORMATS, PIXELS, requirements
from allmlp.inference import BACKENDS

CLASSES = ("cat", "owl", "yak")


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory, write_photo: Callable[..., Path]) -> Path:
    folder = tmp_path_factory.mktemp("photos")
    for index, name in enumerate(CLASSES * 5):
        write_photo(folder / name / f"{index}.png", seed=index)
    return folder


@pytest.fixture(scope="module")
def exports(saved_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    from allmlp import export

    folder = tmp_path_factory.mktemp("exports")
    endings = {to: EXPORT_FORMATS[to].ending for to in FILE_FORMATS}
    return {to: export(saved_checkpoint, to=to, out=folder / f"x{ending}") for to, ending in endings.items()}


def test_the_choices_are_those_of_the_tables():
    assert typing.get_args(ExportTarget) == tuple(EXPORT_FORMATS)
    assert typing.get_args(BackendName) == ("auto", *BACKENDS)
    assert typing.get_args(PixelPlace) == PIXELS


@pytest.mark.parametrize(
    ("to", "name"),
    [("onnx", "saved.onnx"), ("openvino", "saved.xml"), ("torch", "saved.pt2"), ("litert", "saved.tflite")],
)
def test_an_export_is_written_and_verified(to, name, allmlp, saved_checkpoint, photos, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    outcome = allmlp("export", saved_checkpoint, "--to", to, "--verify", photos)
    assert (outcome.code, outcome.err) == (0, "")
    assert outcome.out.startswith(f"Wrote {name}")
    for words in (
        "float32, 6 classes, 16 × 16 pixels",
        "15 of 15 photos (100.00%)",
        "top-1 of the export",
        "95% interval",
    ):
        assert words in outcome.out
    assert f"allmlp predict {name} PHOTO.jpg" in outcome.out
    again = allmlp("export", saved_checkpoint, "--to", to, "--verify", photos)
    assert again.code == 2 and "nothing is overwritten" in again.err


def test_a_mixer_without_a_classifier_computes_features(allmlp, tmp_path):
    saved = save_checkpoint(tiny_checkpoint(num_classes=0, class_names=()), tmp_path / "saved")
    outcome = allmlp("export", saved, "--to", "litert", "-o", tmp_path / "x.tflite")
    assert outcome.code == 0 and "allmlp embed" in outcome.out
    assert "allmlp predict" not in outcome.out and "--verify" not in outcome.out


@pytest.mark.skipif(sys.platform == "win32", reason="limits of the size of files are POSIX's")
@pytest.mark.parametrize("to", FILE_FORMATS)
def test_without_space_nothing_is_left(to, saved_checkpoint, tmp_path):
    path = tmp_path / f"x{EXPORT_FORMATS[to].ending}"
    code = (
        "import resource, signal, sys\nfrom allmlp.cli.main import main\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\nresource.setrlimit(resource.RLIMIT_FSIZE, (8192, 8192))\n"
        "main(sys.argv[1:])\n"
    )
    run = run_python(code, "export", saved_checkpoint, "--to", to, "-o", path)
    assert run.returncode not in (0, 1) and len(run.stderr.splitlines()) == 1, run.stderr
    assert not list(tmp_path.iterdir())


def test_json_holds_the_file_and_the_verification(allmlp, saved_checkpoint, photos, tmp_path):
    path = tmp_path / "new" / "x.onnx"
    outcome = allmlp("export", saved_checkpoint, "--out", path, "--verify", photos, "--json")
    values = json.loads(outcome.out)
    assert (outcome.code, outcome.err) == (0, "")
    assert (values["export"], values["to"], values["bytes"]) == (str(path), "onnx", path.stat().st_size)
    assert values["verification"]["num_same"] == 15
    assert "verification" not in json.loads(allmlp("export", saved_checkpoint, "-o", tmp_path / "y.onnx", "--json").out)


def test_pixels_in_the_graph_are_verified_from_the_bytes_of_photos_to_the_label(
    allmlp, saved_checkpoint, photos, tmp_path
):
    path = tmp_path / "x.onnx"
    outcome = allmlp("export", saved_checkpoint, "-o", path, "--pixels", "exact", "--verify", photos)
    assert (outcome.code, outcome.err) == (0, "")
    assert "16 × 16 pixels from photos of any size, pixels exact" in outcome.out
    assert "values of the images that differ" in outcome.out and "0 of 11,520, by up to 0 grey levels" in outcome.out
    assert allmlp("predict", path, photos).out == allmlp("predict", saved_checkpoint, photos).out
    assert allmlp("evaluate", path, photos).code == 0
    assert json.loads(allmlp("inspect", path, "--json").out)["export"]["pixels"] == "exact"
    proto = onnx.load(path)
    (half,) = (tensor for tensor in proto.graph.initializer if tensor.name == "pixels.constant.double.0.5")
    half.raw_data = np.array(0.6).tobytes()
    kept = [entry for entry in proto.metadata_props if entry.key != "allmlp_sha256"]
    del proto.metadata_props[:]
    proto.metadata_props.extend(kept)
    onnx.save(proto, path)
    outcome = allmlp("export", saved_checkpoint, "--against", path, "--verify", photos)
    assert outcome.code == 6
    assert "values of the graph's pixels" in outcome.err and "allowed: none" in outcome.err


def test_the_printed_verification_has_the_options_of_the_export(allmlp, saved_checkpoint, photos, tmp_path):
    path = tmp_path / "x.onnx"
    options = ("--mean", "0.4", "--law", "timm")
    outcome = allmlp("export", saved_checkpoint, "--out", path, *options)
    (line,) = (line for line in outcome.out.splitlines() if "--verify PHOTOS" in line)
    arguments = line.partition("#")[0].split()[1:]
    assert allmlp(*arguments[:-1], photos).code == 0
    assert (
        allmlp("export", saved_checkpoint, "--against", path, "--verify", photos).code == 6
    )  # the fault: without them


@pytest.mark.parametrize("keep_digest", [True, False])
def test_an_artefact_that_was_tampered_with_exits_with_6(
    keep_digest, allmlp, saved_checkpoint, photos, tmp_path, exports
):
    path = tmp_path / "x.onnx"
    path.write_bytes(exports["onnx"].read_bytes())
    assert allmlp("export", saved_checkpoint, "--against", path, "--verify", photos).code == 0
    tampered(path, lambda values: values["preprocessing"].update(mean=[0, 0, 0]), keep_digest=keep_digest)
    before = path.read_bytes()
    outcome = allmlp("export", saved_checkpoint, "--against", path, "--verify", photos)
    assert outcome.code == 6
    assert (
        "changed since it was written" if keep_digest else "another pre-processing: mean is [0.0, 0.0, 0.0]"
    ) in outcome.err
    assert len(outcome.err.splitlines()) == 1
    assert path.read_bytes() == before


def test_a_tolerance_of_nothing_exits_with_6_and_says_what_differs(allmlp, saved_checkpoint, photos, tmp_path):
    outcome = allmlp("export", saved_checkpoint, "-o", tmp_path / "x.onnx", "--verify", photos, "--tolerance", "0")
    assert outcome.code == 6
    assert "A logit differs by" in outcome.err and "stays; do not use it" in outcome.err


def test_nothing_is_written_if_it_cannot_be_verified(allmlp, saved_checkpoint, photos, tmp_path, monkeypatch):
    out = ("-o", tmp_path / "x.onnx", "--verify")
    outcome = allmlp("export", saved_checkpoint, *out, tmp_path / "nowhere")
    assert outcome.code == 3 and "nowhere" in outcome.err
    hide("onnxruntime", monkeypatch)
    hide("openvino", monkeypatch)
    outcome = allmlp("export", saved_checkpoint, *out, photos)
    assert outcome.code == 5 and "pip install 'allmlp[onnxruntime]'" in outcome.err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--against", "x.onnx"), "add --verify PHOTOS"),
        (("--against", "x.onnx", "--verify", "p", "--to", "onnx", "-o", "y"), "--to and --out with --against"),
        (("--against", "x.onnx", "--verify", "p", "--pixels", "in"), "--pixels with --against"),
        (("--pixels", "in", "--to", "openvino"), "openvino files cannot have"),
        (("--tolerance", "0.1"), "--tolerance without --verify"),
        (("--verify", "p", "--tolerance", "2"), "--tolerance is 2.0"),
        (("--out", "x.xml"), "expected a name that ends in .onnx"),
    ],
)
def test_options_that_cannot_take_effect_are_usage_errors(
    options, words, allmlp, saved_checkpoint, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    outcome = allmlp("export", saved_checkpoint, *options)
    assert outcome.code == 2 and words in outcome.err
    assert not list(tmp_path.iterdir())


def test_another_image_size_and_pre_processing_are_those_of_the_export(allmlp, saved_checkpoint, photos, tmp_path):
    path = tmp_path / "x.onnx"
    options = ("--image-size", "16x24", "--mean", "0.1")
    assert allmlp("export", saved_checkpoint, "-o", path, *options, "--verify", photos).code == 0
    assert [dim.dim_value for dim in onnx.load(path).graph.input[0].type.tensor_type.shape.dim[1:]] == [3, 16, 24]
    expected = allmlp("predict", saved_checkpoint, photos, *options)
    assert allmlp("predict", path, photos).out == expected.out


@pytest.mark.parametrize("to", FILE_FORMATS)
def test_predict_evaluate_and_embed_give_the_checkpoints_answers(
    to, allmlp, saved_checkpoint, exports, photos, tmp_path
):
    assert (
        allmlp("predict", exports[to], photos, "--flip").out
        == allmlp("predict", saved_checkpoint, photos, "--flip").out
    )
    scores = [json.loads(allmlp("evaluate", model, photos, "--json").out) for model in (saved_checkpoint, exports[to])]
    assert scores[0]["top1"] == scores[1]["top1"]
    assert abs(scores[0]["loss"] - scores[1]["loss"]) < 1e-5
    features = []
    for name, model in (("a", saved_checkpoint), ("b", exports[to])):
        assert allmlp("embed", model, photos, "-o", tmp_path / f"{name}.npz").code == 0
        features.append(np.load(tmp_path / f"{name}.npz")["features"])
    np.testing.assert_allclose(features[1], features[0], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    "backend", [pytest.param(name, marks=pytest.mark.slow if name == "compiled" else ()) for name in BACKENDS]
)
def test_a_backend_may_be_chosen_for_a_checkpoint(backend, allmlp, saved_checkpoint, photos, tmp_path):
    expected = allmlp("predict", saved_checkpoint, photos)
    outcome = allmlp("predict", saved_checkpoint, photos, "--backend", backend)
    assert (outcome.code, outcome.out) == (0, expected.out)
    written = allmlp("predict", saved_checkpoint, photos, "--backend", backend, "-o", tmp_path / "x.csv")
    assert f"--backend {backend}" in written.out  # the next commands use the same engine
    assert allmlp("evaluate", saved_checkpoint, photos, "--backend", backend).code == 0


def test_what_an_export_cannot_do_says_what_can(allmlp, exports, photos, tmp_path):
    outcome = allmlp("predict", exports["onnx"], photos, "--image-size", "32")
    assert outcome.code == 2 and "an export has one image size, here 16 × 16" in outcome.err
    assert allmlp("predict", exports["onnx"], photos, "--image-size", "16").code == 0
    assert (
        allmlp("predict", exports["onnx"], photos, "--mean", "0.1").out
        != allmlp("predict", exports["onnx"], photos).out
    )
    outcome = allmlp("predict", exports["onnx"], photos, "--backend", "eager")
    assert outcome.code == 2 and "The backend eager cannot open" in outcome.err
    outcome = allmlp("predict", exports["openvino"], photos, "--backend", "onnxruntime")
    assert outcome.code == 2 and "The backend onnxruntime cannot open" in outcome.err
    for command in (("convert", exports["onnx"], tmp_path / "x", "--to", "timm"), ("export", exports["onnx"])):
        outcome = allmlp(*command)
        assert outcome.code == 4 and "take those that `allmlp export` wrote" in outcome.err


@pytest.mark.parametrize("to", FILE_FORMATS)
def test_inspect_describes_an_export_as_its_checkpoint(to, allmlp, saved_checkpoint, exports):
    found = json.loads(allmlp("inspect", exports[to], "--json").out)
    expected = json.loads(allmlp("inspect", saved_checkpoint, "--json").out)
    assert found.pop("export")["precision"] == "float32"
    del expected["speed"]
    assert found == expected
    outcome = allmlp("inspect", exports[to], "--image-size", "99")
    assert outcome.code == 2 and "an export has one image size, here 16 × 16" in outcome.err
    text = allmlp("inspect", exports[to], "--mean", "0.125").out
    assert "0.125" in text and "weights_sha256" in text


def loading_torch(*commands: tuple[object, ...]) -> list[tuple[object, ...]]:
    """Run commands one after the other in a fresh process, and return the first that imported torch, and those behind it."""
    code = (
        "import json, sys\nfrom allmlp.cli.main import main\n"
        "for words in json.loads(sys.argv[1]):\n"
        "    try:\n        main(words)\n"
        "    except SystemExit as stop:\n        print(stop.code, 'torch' in sys.modules, file=sys.stderr)\n"
    )
    words = json.dumps([list(map(str, command)) for command in commands])
    run = subprocess.run([sys.executable, "-c", code, words], capture_output=True, text=True, check=True, timeout=120)
    lines = [line.split() for line in run.stderr.splitlines() if line.split()[-1:] in (["True"], ["False"])]
    assert [status for status, _ in lines] == ["0"] * len(commands), run.stderr
    return [command for command, (_, loaded) in zip(commands, lines, strict=True) if loaded == "True"]


@pytest.mark.parametrize("to", ENGINES)
def test_torch_is_imported_neither_to_export_nor_to_run_an_export(to, exports, saved_checkpoint, photos, tmp_path):
    commands = (
        ("predict", exports[to], photos / "cat"),
        ("embed", exports[to], photos / "cat", "-o", tmp_path / "features.npz"),
        ("evaluate", exports[to], photos, "--report", tmp_path / "report.html"),
        ("inspect", exports[to]),
        ("export", saved_checkpoint, "--to", to, "-o", (tmp_path / "new").with_suffix(exports[to].suffix)),
    )
    assert not loading_torch(*commands)
    assert ENGINES[to] in (tmp_path / "report.html").read_text()


@pytest.mark.parametrize("backend", [name for name, entry in BACKENDS.items() if entry.modules != ("torch",)])
def test_torch_is_not_imported_for_a_checkpoint_in_another_engine(backend, saved_checkpoint, photos, tmp_path):
    commands = (
        ("predict", saved_checkpoint, photos / "cat"),
        ("embed", saved_checkpoint, photos / "cat", "-o", tmp_path / "x.npz"),
    )
    assert not loading_torch(*((*words, "--backend", backend) for words in commands))


def test_torch_writes_files_in_bfloat16_and_says_what_it_lacks(allmlp, saved_checkpoint, photos, tmp_path):
    path = tmp_path / "x.pt2"
    options = ("--to", "torch", "--precision", "bfloat16", "--verify", photos)
    outcome = allmlp("export", saved_checkpoint, "-o", path, *options, "--json")
    assert outcome.code == 0, outcome.err
    verified = json.loads(outcome.out)["verification"]
    assert (verified["tolerance"], verified["min_agreement"]) == (None, 0.997)
    assert json.loads(allmlp("inspect", path, "--json").out)["export"]["precision"] == "bfloat16"
    refused = allmlp("export", saved_checkpoint, "--against", path, "--verify", photos, "--tolerance", "0.1")
    assert refused.code == 2 and "a bfloat16 export" in refused.err
    less = allmlp("export", saved_checkpoint, "-o", tmp_path / "less.pt2", *options, "--agreement", "0.5", "--json")
    assert less.code == 0 and json.loads(less.out)["verification"]["min_agreement"] == 0.5
    (tmp_path / "less.pt2").unlink()
    for words, said in {
        (
            "--precision",
            "int8",
            "--calibrate",
            photos,
        ): "--precision int8 is for onnx, openvino and web, not for 'torch'",
        ("--pixels", "in"): "torch files cannot have",
        ("--requirements", tmp_path / "r.txt"): "a .pt2 file runs in PyTorch",
        ("--out", tmp_path / "x.onnx"): "expected a name that ends in .pt2",
    }.items():
        outcome = allmlp("export", saved_checkpoint, "--to", "torch", *words)
        assert outcome.code == 2 and said in outcome.err and len(outcome.err.splitlines()) == 1
    refused = allmlp("export", saved_checkpoint, "--to", "onnx", "--precision", "bfloat16")
    assert refused.code == 2 and "which onnx files do not have. An engine computes in it" in refused.err
    refused = allmlp(
        "export", saved_checkpoint, "--to", "litert", "--precision", "bfloat16"
    )  # no engine for it has bfloat16
    assert refused.code == 2 and refused.err.rstrip().endswith(
        "litert files do not have. Export in float32, or to torch."
    )
    assert [file.name for file in tmp_path.iterdir()] == ["x.pt2"]


def test_int8_shows_its_attempts_and_is_verified_by_its_agreement(allmlp, saved_checkpoint, photos, tmp_path):
    path = tmp_path / "x.onnx"
    int8 = ("--precision", "int8", "--calibrate", photos, "--agreement", "0", "--out")
    outcome = allmlp("export", saved_checkpoint, *int8, path)
    assert outcome.code == 0, outcome.err
    assert re.search(r"same class +same class, clear photos", outcome.out)
    assert re.search(r"all layers +\d+\.\d\d% of 10 ", outcome.out) and "MB, int8" in outcome.out.replace("kB", "MB")
    assert "Calibrating on 5 photos; 10 others judge." in outcome.err
    inspected = json.loads(allmlp("inspect", path, "--format", "json").out)["export"]
    assert (inspected["precision"], inspected["attempt"], inspected["needs_vnni"]) == ("int8", "all layers", False)
    verified = allmlp("export", saved_checkpoint, "--against", path, "--verify", photos, "--format", "json")
    assert verified.code == 0 and json.loads(verified.out)["verification"]["tolerance"] is None
    refused = allmlp("export", saved_checkpoint, "--against", path, "--verify", photos, "--tolerance", "0.1")
    assert refused.code == 2 and "an int8 export" in refused.err
    written = json.loads(allmlp("export", saved_checkpoint, *int8, tmp_path / "y.onnx", "--format", "json").out)
    assert written["int8"]["attempts"][0]["attempt"] == written["int8"]["note"]["attempt"] == "all layers"
    assert (tmp_path / "y.onnx").read_bytes() == path.read_bytes()


def test_int8_with_the_pixels_in_the_graph_is_verified_by_its_agreement_and_its_pixels(
    allmlp, saved_checkpoint, photos, tmp_path
):
    path = tmp_path / "x.onnx"
    int8 = ("--precision", "int8", "--calibrate", photos, "--agreement", "0")
    outcome = allmlp("export", saved_checkpoint, *int8, "--pixels", "exact", "--verify", photos, "-o", path)
    assert outcome.code == 0, outcome.err
    assert "int8, 6 classes, 16 × 16 pixels from photos of any size, pixels exact" in outcome.out
    assert "0 of 11,520, by up to 0 grey levels" in outcome.out
    inspected = json.loads(allmlp("inspect", path, "--json").out)["export"]
    assert (inspected["precision"], inspected["pixels"]) == ("int8", "exact")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--precision", "int8"), "needs --calibrate"),
        (("--precision", "bfloat16"), "--backend openvino --precision bfloat16"),
        (
            ("--precision", "int8", "--calibrate", "x", "--to", "openvino", "--pixels", "in"),
            "openvino files cannot have",
        ),
        (("--precision", "int9"), "Did you mean 'int8'"),
        (("--no-portable",), "--portable would have no effect in float32"),
        (
            ("--to", "torch", "--precision", "bfloat16", "--agreement", "0.5"),
            "without --verify would have no effect in",
        ),
        (
            ("--to", "torch", "--precision", "bfloat16", "--agreement", "2", "--verify", "x"),
            "--agreement is 2.0; expected",
        ),
        (("--precision", "int8", "--calibrate", "x", "--tolerance", "0.1", "--verify", "x"), "give --agreement"),
        (("--precision", "int8", "--against", "x.onnx", "--verify", "x"), "--precision with --against"),
        (("--calibrate", "x", "--against", "x.onnx", "--verify", "x"), "--calibrate with --against"),
        (("--no-portable", "--against", "x.onnx", "--verify", "x"), "--portable with --against"),
    ],
)
def test_options_of_int8_that_do_not_fit_are_usage_errors(words, message, allmlp, saved_checkpoint):
    outcome = allmlp("export", saved_checkpoint, *words)
    assert outcome.code == 2 and message in outcome.err


def test_an_empty_name_is_refused_and_bad_photos_get_advice_that_export_can_follow(
    allmlp, saved_checkpoint, photos, tmp_path
):
    outcome = allmlp("export", saved_checkpoint, "--out", "")
    assert outcome.code == 2 and "--out is empty: a shell variable may be unset" in outcome.err
    shutil.copytree(photos, tmp_path / "photos")
    (tmp_path / "photos" / "cat" / "broken.jpg").write_text("no photo")
    for words in (("--verify", tmp_path / "photos"), ("--precision", "int8", "--calibrate", tmp_path / "photos")):
        outcome = allmlp("export", saved_checkpoint, *words, "-o", tmp_path / f"{len(words)}.onnx")
        assert outcome.code == 3 and "photos cannot be used. Replace or remove them:" in outcome.err
    assert [path.name for path in tmp_path.iterdir()] == ["photos"]  # so that the command can be repeated


@pytest.mark.parametrize(("out", "words"), [(".", ".: this is a folder"), ("", "--out is empty")])
@pytest.mark.parametrize("to", FILE_FORMATS)
def test_a_name_that_is_none_is_one_line(to, out, words, allmlp, saved_checkpoint, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    outcome = allmlp("export", saved_checkpoint, "--to", to, "--out", out)
    assert outcome.code == 2 and words in outcome.err and len(outcome.err.splitlines()) == 1
    assert not list(tmp_path.iterdir())


def test_requirements_are_written_next_to_an_export(allmlp, saved_checkpoint, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    outcome = allmlp("export", saved_checkpoint, "-o", "x.onnx", "--requirements", "my list.txt")
    assert outcome.code == 0 and "Wrote my list.txt: what runs it without PyTorch, for pip" in outcome.out
    assert "pip install --no-deps /path/to/allmlp -r 'my list.txt'" in outcome.out
    assert Path("my list.txt").read_bytes() == requirements("onnx")
    for words, message in (
        (("-o", "y.onnx", "--requirements", "my list.txt"), "my list.txt"),
        (("-o", "z.onnx", "--requirements", "z.onnx"), "--requirements and --out are the same file, z.onnx"),
        (
            ("--against", "x.onnx", "--verify", ".", "--requirements", "r.txt"),
            "--requirements with --against would have no",
        ),
    ):
        outcome = allmlp("export", saved_checkpoint, *words)
        assert outcome.code == 2 and message in outcome.err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["my list.txt", "x.onnx"]


def test_the_commands_and_the_python_of_the_page_run_in_their_order(
    allmlp, saved_checkpoint, write_photo, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    shutil.copytree(saved_checkpoint, "runs/mine")
    write_photo(Path("photo.jpg"))
    for index, name in enumerate(CLASSES * 3):
        write_photo(Path("PHOTOS") / name / f"{index}.png", seed=index)
        write_photo(Path("photos") / f"{index}.png", seed=index)
    pack(write_package(tmp_path / "npm"), Path("onnxruntime-web-1.30.0.tgz"))
    page = ROOT / "docs" / "export.md"
    commands = [words for words in commands_of(page) if words[0] == "allmlp"]
    assert len(commands) == 16
    for _, *words in commands:
        outcome = allmlp(*words)
        assert outcome.code == 0, outcome.err
    for block in re.findall(r"^```python\n(.*?)^```", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL):
        exec(block, {})


@pytest.mark.parametrize("to", EXPORT_FORMATS)
def test_the_next_lines_make_a_small_environment(to, allmlp, saved_checkpoint, tmp_path):
    """allmlp is on no package index: the command takes a checkout, which has the list."""
    runtime = ("--runtime", write_package(tmp_path / "npm")) if to == "web" else ()
    outcome = allmlp("export", saved_checkpoint, "--to", to, "-o", tmp_path / f"x{EXPORT_FORMATS[to].ending}", *runtime)
    assert outcome.code == 0, outcome.err
    found = re.findall(r"pip install --no-deps /path/to/allmlp -r /path/to/allmlp/(\S+)", outcome.out)
    assert len(found) == (to in ENGINES)
    assert all((ROOT / path).read_bytes() == requirements(to) for path in found)


def test_an_export_that_could_not_be_verified_is_said_to_stay(allmlp, saved_checkpoint, photos, tmp_path):
    """A photo so long that the graph refuses it, though it can be decoded."""
    shutil.copytree(photos, tmp_path / "photos")
    Image.new("RGB", (1, 30_000)).save(tmp_path / "photos" / "cat" / "long.png")
    path = tmp_path / "x.onnx"
    outcome = allmlp(
        "export", saved_checkpoint, "--image-size", "128", "-o", path, "--pixels", "in", "--verify", tmp_path / "photos"
    )
    assert outcome.code == 3 and path.exists()
    assert f"{path} stays, but it was not verified." in " ".join(outcome.err.split())
