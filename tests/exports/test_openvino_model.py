"""Damaged, foreign and hostile OpenVINO models: each is one clear line, and no engine sees the files."""

import random
import re
import shutil
from pathlib import Path

import pytest
from tests.builders import tiny_checkpoint
from tests.exports.onnx_model.test_file import Reached

from allmlp import CheckpointError, export, open_model
from allmlp.exports import ChangedExportError


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return export(tiny_checkpoint(), to="openvino", out=tmp_path_factory.mktemp("openvino") / "x.xml")


@pytest.fixture
def copied(original: Path, tmp_path: Path) -> Path:
    for ending in (".xml", ".bin"):
        shutil.copy(original.with_suffix(ending), tmp_path / f"x{ending}")
    return tmp_path / "x.xml"


@pytest.fixture(autouse=True)
def no_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: object, **options: object) -> None:
        raise Reached

    monkeypatch.setattr("allmlp.inference.backends.openvino_runtime._compile", refuse)


def refusal(path: Path) -> str:
    with pytest.raises(CheckpointError) as caught:
        open_model(path)
    message = str(caught.value)
    assert len(message.splitlines()) == 1
    assert len(message) < 700
    return message


def edit(path: Path, pattern: str, replacement: str, *, keep_digest: bool = False) -> Path:
    """Change the .xml file, and delete the digest, which would notice every change."""
    text, count = re.subn(pattern, lambda match: replacement, path.read_text(), count=1)
    assert count == 1
    if not keep_digest:
        text = re.sub(r"<allmlp_sha256 [^>]*>", "", text)
    path.write_text(text)
    return path


def test_the_model_itself_gets_to_the_engine(copied: Path) -> None:
    with pytest.raises(Reached):
        open_model(copied)


def test_a_missing_file_is_named(copied: Path) -> None:
    copied.with_suffix(".bin").unlink()
    assert "x.bin: no such file; expected an OpenVINO model that allmlp export wrote, .xml and .bin" in refusal(copied)


def test_any_change_of_either_file_is_noticed(copied: Path) -> None:
    for path in (copied, copied.with_suffix(".bin")):
        content = path.read_bytes()
        for position in random.Random(0).sample(range(len(content)), 25):
            changed = bytearray(content)
            changed[position] ^= 1
            path.write_bytes(changed)
            refusal(copied)
            path.write_bytes(content[:position])
            refusal(copied)
        path.write_bytes(content)
    with pytest.raises(ChangedExportError, match="changed since it was written"):
        open_model(edit(copied, "opset6", "opset5", keep_digest=True))


@pytest.mark.parametrize(
    ("pattern", "replacement", "words"),
    [
        (r"<net ", "<!DOCTYPE net [<!ENTITY a 'aaaa'>]><net ", "XML with a document type"),
        (r"<allmlp [^>]*>", "", 'without the description that allmlp writes (the metadata key "allmlp")'),
        (r'type="MVN"', 'type="TensorIterator"', "the layer 'TensorIterator'"),
        (r'type="MVN" version="opset6"', 'type="MVN" version="extension"', "of 'extension'"),
        (r'offset="120" size="\d+"', 'offset="120" size="999999999"', "the .bin file is too short"),
        (r'offset="120" size="\d+"', 'offset="-5" size="3"', "the .bin file is too short"),
        (r'offset="120"', 'offset="x"', "could not be read"),
        (r'element_type="f32" shape="192, 8"', 'element_type="i8" shape="192, 8"', "a weight of the type 'i8'"),
        (r'element_type="f32" shape="192, 8"', 'element_type="string" shape="192, 8"', "of the type 'string'"),
        (r'offset="120" size="\d+"', 'offset="120" size="8"', "has 8 bytes, which do not fit its shape"),
        (r'shape="192, 8"', 'shape="-192, -8"', "which do not fit its shape"),
        (r'name="head.weight"', 'name="head.wait"', "its weights do not fit the Mixer that it describes: head.weight"),
        (r"<net .*", "", "damaged, or not XML"),
        (r"&quot;allmlp export&quot;", "&quot;other&quot;", "not a description written by allmlp"),
    ],
)
def test_what_allmlp_does_not_write_is_not_run(copied: Path, pattern: str, replacement: str, words: str) -> None:
    assert words in refusal(edit(copied, pattern, replacement))


def test_another_xml_file_is_not_a_model(tmp_path: Path) -> None:
    path = tmp_path / "page.xml"
    path.write_text("<html><body>404</body></html>")
    path.with_suffix(".bin").write_bytes(b"")
    assert "XML that starts with 'html'; expected an OpenVINO model that allmlp export wrote" in refusal(path)


def test_a_key_cannot_occur_twice(copied: Path) -> None:
    """Fault: the last of two was checked, and another program may read the first."""
    text = copied.read_text()
    for pattern in (r"<labels [^>]*>", r"<allmlp [^>]*>"):
        (entry,) = re.findall(pattern, text)
        copied.write_text(text)
        assert "occurs twice" in refusal(edit(copied, re.escape(entry), entry + entry))
