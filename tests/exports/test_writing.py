"""`allmlp.export`: the file it writes, what it refuses, and missing libraries."""

import importlib.util
from pathlib import Path
from typing import Any

import pytest
from tests.builders import tiny_checkpoint
from tests.exports.conftest import FILE_FORMATS

from allmlp import ConfigError, MissingExtraError, export, open_model, save_checkpoint
from allmlp.exports import EXPORT_FORMATS, default_name, export_kind
from allmlp.exports.writing import export_format


@pytest.mark.parametrize("to", FILE_FORMATS)
def test_a_path_and_a_checkpoint_give_the_same_file(to: str, tmp_path: Path) -> None:
    checkpoint = tiny_checkpoint()
    form = EXPORT_FORMATS[to]
    saved = save_checkpoint(checkpoint, tmp_path / "saved")
    paths = [export(source, to=to, out=tmp_path / name / f"x{form.ending}") for source, name in
             ((checkpoint, "a"), (saved, "b"), (str(saved), "c"))]  # fmt: skip
    for ending in (form.ending, *form.other_endings):
        assert len({path.with_suffix(ending).read_bytes() for path in paths}) == 1
    assert export_kind(paths[0]) == to
    assert sorted(file.name for file in paths[0].parent.iterdir()) == sorted(
        f"x{ending}" for ending in (form.ending, *form.other_endings)
    )


def test_the_name_follows_from_the_source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    onnx, openvino = EXPORT_FORMATS["onnx"], EXPORT_FORMATS["openvino"]
    names = {
        "runs/mine": "mine.onnx",
        "runs/mine/": "mine.onnx",
        "starter": "starter.onnx",
        "a/b.v2": "b.v2.onnx",
        "weights/w.npz": "w.onnx",
        "hf:ann/flowers@v1": "flowers.onnx",
        "..": "mixer.onnx",
    }
    assert {source: default_name(source, onnx) for source in names} == names
    assert default_name(tiny_checkpoint(), openvino) == "mixer.xml"
    assert default_name("runs/mine", EXPORT_FORMATS["web"]) == "mine-web"
    assert export("starter") == Path("starter.onnx")


@pytest.mark.parametrize("to", FILE_FORMATS)
def test_nothing_is_overwritten(to: str, tmp_path: Path) -> None:
    form = EXPORT_FORMATS[to]
    for ending in (form.ending, *form.other_endings):
        there = tmp_path / ending / f"x{ending}"
        there.parent.mkdir()
        there.write_text("mine")
        with pytest.raises(ConfigError, match="this file exists, and nothing is overwritten"):
            export(tiny_checkpoint(), to=to, out=there.with_suffix(form.ending))
        assert there.read_text() == "mine"
        assert list(there.parent.iterdir()) == [there]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"to": "onx"}, "to is 'onx'; expected one of onnx, openvino, torch, litert, web. Did you mean 'onnx'"),
        ({"to": 3}, "to is 3; expected one of"),
        ({"out": "x.xml"}, "x.xml: expected a name that ends in .onnx"),
        ({"out": 3}, "out is 3; expected a path"),
        ({"out": "a\0.onnx"}, "NUL character"),
        ({"source": 3}, "expected a path"),
        ({"runtime": "x.tgz"}, "runtime would have no effect: it is what a page computes with, for to web only"),
    ],
)
def test_impossible_arguments_are_config_errors(
    options: dict[str, Any], words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match=words):
        export(**{"source": tiny_checkpoint(), **options})
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("to", "missing", "command"),
    [
        ("onnx", "onnx", "allmlp[onnx]"),
        ("openvino", "onnx", "allmlp[onnx]"),
        ("openvino", "openvino", "allmlp[openvino]"),
        ("litert", "ai_edge_litert", "allmlp[litert]"),
    ],
)
def test_a_missing_library_is_one_line_with_the_command(
    to: str, missing: str, command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hide(missing, monkeypatch)
    with pytest.raises(MissingExtraError) as caught:
        export(tiny_checkpoint(), to=to, out=tmp_path / f"x{export_format(to).ending}")
    assert str(caught.value).endswith(f"pip install '{command}'")
    assert not list(tmp_path.iterdir())


def test_an_onnx_file_runs_where_only_one_of_the_engines_is_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = export(tiny_checkpoint(), out=tmp_path / "x.onnx")
    with monkeypatch.context() as patch:
        hide("onnxruntime", patch)
        assert open_model(path).description == tiny_checkpoint().description
    with monkeypatch.context() as patch:
        hide("openvino", patch)
        assert open_model(path).description == tiny_checkpoint().description
        hide("onnxruntime", patch)
        with pytest.raises(
            MissingExtraError, match=r"backend onnxruntime needs onnxruntime: pip install 'allmlp\[onnxruntime\]'"
        ):
            open_model(path)


def hide(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make a library appear not to be installed."""
    find = importlib.util.find_spec
    monkeypatch.delitem(__import__("sys").modules, name, raising=False)
    monkeypatch.setattr(
        "importlib.util.find_spec", lambda wanted, *rest: None if wanted == name else find(wanted, *rest)
    )
