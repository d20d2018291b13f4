"""The folder of `allmlp export --to web`: what is in it, and what it refuses."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from tests.builders import tiny_checkpoint
from tests.exports.web_page.packages import FILES, pack, write_package

from allmlp import CheckpointError, ConfigError, MissingExtraError, Predictor, export, open_model
from allmlp.exports import read_browser_runtime

PAGE = ("index.html", "app.js", "answers.js", "pixels.js", "photos.js", "style.css", "icon.svg")
ALL = {
    *PAGE,
    "LICENSE-onnxruntime-web.txt",
    "description.json",
    "model.onnx",
    "ort.wasm.bundle.min.js",
    "ort-wasm-simd-threaded.wasm",
}


@pytest.fixture
def package(tmp_path: Path) -> Path:
    return write_package(tmp_path / "npm" / "package")


@pytest.fixture
def page(package: Path, tmp_path: Path) -> Path:
    return export(tiny_checkpoint(temperature=1.5), to="web", out=tmp_path / "page", runtime=package)


def test_the_folder_holds_all_that_a_browser_needs_and_nothing_else(page: Path) -> None:
    assert {file.name for file in page.iterdir()} == ALL
    assert (page / "ort.wasm.bundle.min.js").read_bytes() == FILES["dist/ort.wasm.bundle.min.mjs"]
    (entry,) = [entry for entry in onnx.load(page / "model.onnx").metadata_props if entry.key == "allmlp"]
    assert (page / "description.json").read_text() == entry.value
    values = json.loads(entry.value)
    assert (values["pixels"], values["checkpoint"]["temperature"]) == ("in", 1.5)
    needed = re.findall(r'"(?:\./)?([\w.-]+\.(?:js|css|svg|json|onnx|wasm))"', "".join(
        (page / name).read_text() for name in PAGE))  # fmt: skip
    assert set(needed) <= ALL and "model.onnx" in needed


def test_nothing_is_inline_and_no_other_host_is_named(page: Path) -> None:
    for name in PAGE:
        text = (page / name).read_text()
        text = re.sub(r"http://(localhost:8000|www\.w3\.org/2000/svg)", "", text)
        assert not re.search(r"https?://|//[a-z]+\.", text), name
        if name.endswith(".js"):
            assert not re.search(r"innerHTML|outerHTML|insertAdjacent|document\.write|\beval\(|new Function", text), (
                name
            )
    html = (page / "index.html").read_text()
    assert not re.search(r"\sstyle=|<style|\son[a-z]+=|javascript:", html)
    assert re.findall(r"<script([^>]*)>([^<]*)</script>", html) == [(' type="module" src="app.js"', "")]
    (policy,) = re.findall(r'http-equiv="Content-Security-Policy" content="([^"]+)"', html)
    assert policy == (
        "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; connect-src 'self'; img-src 'self' blob: data:; "
        "style-src 'self'; base-uri 'none'; form-action 'none'"
    )
    assert html.index("Content-Security-Policy") < html.index("<link")  # it holds for what follows


def test_the_same_checkpoint_and_package_give_the_same_bytes(page: Path, package: Path, tmp_path: Path) -> None:
    packed = pack(package, tmp_path / "x.tgz")
    other = export(
        tiny_checkpoint(temperature=1.5), to="web", out=tmp_path / "other", runtime=read_browser_runtime(packed)
    )
    for name in ALL:
        assert (other / name).read_bytes() == (page / name).read_bytes()


def test_the_model_inside_is_an_export_like_any_other_and_the_folder_says_so(page: Path) -> None:
    photo = np.random.default_rng(0).integers(0, 256, (16, 16, 3), dtype=np.uint8)
    (found,) = Predictor.from_checkpoint(page / "model.onnx").predict(photo)
    (expected,) = Predictor(open_model(tiny_checkpoint(temperature=1.5), device="cpu")).predict(photo)
    assert found.label == expected.label
    assert found.labels[0]["score"] == pytest.approx(expected.labels[0]["score"], abs=1e-5)
    for source in (page, str(page)):
        with pytest.raises(
            CheckpointError, match=r"--to web` wrote; `predict` and others take the model in it, model\.onnx\.$"
        ):
            open_model(source)


def test_an_empty_folder_is_used_and_nothing_is_overwritten(package: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert (export(tiny_checkpoint(), to="web", out=tmp_path / "empty", runtime=package) / "index.html").is_file()
    (tmp_path / "file").write_text("mine")
    for name, words in (
        ("empty", "this folder is not empty, and nothing is overwritten"),
        ("file", "this file exists"),
    ):
        with pytest.raises(ConfigError, match=words):
            export(tiny_checkpoint(), to="web", out=tmp_path / name, runtime=package)
    assert (tmp_path / "file").read_text() == "mine"


@pytest.mark.parametrize(
    ("checkpoint", "options", "words"),
    [
        ({"num_classes": 0, "class_names": ()}, {}, "no classifier (num_classes is 0)"),
        ({}, {"pixels": "out"}, "pixels is 'out', which web files cannot have. Browsers resize"),
        ({}, {"pixels": "exact"}, "pixels is 'exact', which web files cannot have"),
        ({}, {"precision": "bfloat16"}, "bfloat16"),
        ({}, {"precision": "int8"}, "precision int8 needs calibrate"),
        ({}, {"precision": "int8", "calibrate": "clothing", "portable": False}, "and a page is for any"),
        ({}, {"precision": "int8", "calibrate": "clothing", "pixels": "out"}, "which web files cannot have"),
        ({}, {"precision": "int8", "calibrate": "clothing", "runtime": 3}, "runtime is 3; expected a path"),
        ({}, {"runtime": 3}, "runtime is 3; expected a path"),
        ({}, {"to": "onnx"}, "runtime would have no effect"),
        ({}, {"to": "onnx", "precision": "int8", "calibrate": "clothing"}, "runtime would have no effect"),
    ],
)
def test_what_no_page_can_be_is_one_error_and_leaves_nothing(
    checkpoint: dict[str, Any],
    options: dict[str, Any],
    words: str,
    package: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    with pytest.raises(ConfigError) as caught:
        export(tiny_checkpoint(**checkpoint), **{"to": "web", "runtime": package, **options})
    assert words in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1
    assert not list(Path().iterdir())


def test_a_missing_runtime_is_found_out_before_anything_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(MissingExtraError, match="npm pack onnxruntime-web@"):
        export("there is no such checkpoint", to="web")
    assert not list(tmp_path.iterdir())


def test_a_folder_that_cannot_be_written_is_one_error(
    package: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(ConfigError, match="could not be written") as caught:
        export(tiny_checkpoint(), to="web", out=tmp_path / "file" / "page", runtime=package)
    assert len(str(caught.value).splitlines()) == 1
