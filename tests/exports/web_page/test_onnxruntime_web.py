"""The npm package onnxruntime-web: found, read from a folder or a .tgz file, and refused if it is anything else."""

import hashlib
import tarfile
from pathlib import Path

import pytest
from tests.exports.web_page.packages import FILES, PACKAGE_FOLDER, needs_package, pack, write_package

from allmlp import ConfigError, MissingExtraError
from allmlp.exports import read_browser_runtime
from allmlp.exports.web_page import onnxruntime_web
from allmlp.exports.web_page.onnxruntime_web import TESTED_VERSION


def test_a_folder_a_file_of_npm_and_node_modules_give_the_same_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write_package(tmp_path / "node_modules" / "onnxruntime-web")
    packed = pack(folder, tmp_path / "x.tgz")
    monkeypatch.chdir(tmp_path)
    for source in (None, folder, str(packed)):
        runtime = read_browser_runtime(source)
        assert runtime.version == "0.1.2"
        assert list(runtime.files.values()) == list(FILES.values())
        assert list(runtime.files) == ["ort.wasm.bundle.min.js", "ort-wasm-simd-threaded.wasm"]
        assert f"onnxruntime-web 0.1.2; allmlp was tested with {TESTED_VERSION}" in runtime.remark


def test_without_the_package_one_line_has_the_command_of_npm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(MissingExtraError) as caught:
        read_browser_runtime()
    assert f"npm pack onnxruntime-web@{TESTED_VERSION}" in str(caught.value)
    assert f"--runtime onnxruntime-web-{TESTED_VERSION}.tgz" in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


def test_another_package_or_none_is_one_error_with_the_command(tmp_path: Path) -> None:
    other = write_package(tmp_path / "other", name="onnxruntime-node")
    nameless = write_package(tmp_path / "nameless", without="package.json")
    listed = write_package(tmp_path / "listed", name=["x"])
    lacking = write_package(tmp_path / "lacking", without="dist/ort-wasm-simd-threaded.wasm")
    (tmp_path / "text.tgz").write_text("no archive")
    cut = tmp_path / "cut.tgz"
    cut.write_bytes(pack(write_package(tmp_path / "whole"), tmp_path / "whole.tgz").read_bytes()[:150])
    with tarfile.open(tmp_path / "linked.tgz", "w:gz") as archive:
        member = tarfile.TarInfo("package/package.json")
        member.type, member.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(member)
    cases: dict[object, str] = {
        3: "runtime is 3; expected a path",
        tmp_path / "nowhere": "there is no such file or folder",
        "a\0b": "NUL character",
        other: "not the npm package onnxruntime-web: it is 'onnxruntime-node'",
        nameless: "it has no package.json of a package",
        listed: "it has no package.json of a package",
        lacking: "onnxruntime-web 0.1.2 lacks dist/ort-wasm-simd-threaded.wasm",
        tmp_path / "text.tgz": "could not be read as the npm package onnxruntime-web, a folder or a .tgz file",
        cut: "could not be read as the npm package",
        tmp_path / "linked.tgz": "could not be read as the npm package",
        pack(other, tmp_path / "other.tgz"): "it is 'onnxruntime-node'",
        pack(write_package(tmp_path / "x"), tmp_path / "root.tgz", root="elsewhere"): "it has no package.json",
    }
    for source, words in cases.items():
        with pytest.raises(ConfigError) as caught:
            read_browser_runtime(source)
        assert words in str(caught.value), source
        assert len(str(caught.value).splitlines()) == 1
        assert "npm pack" in str(caught.value) or source == 3


def test_files_of_the_tested_version_are_known_by_their_digests(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write_package(tmp_path / "x", version=TESTED_VERSION)
    with pytest.raises(ConfigError, match=r"SHA-256 differs\. It is damaged, or was changed"):
        read_browser_runtime(folder)
    digests = {name: hashlib.sha256(content).hexdigest() for name, content in FILES.items()}
    monkeypatch.setattr(onnxruntime_web, "_TESTED_SHA256", digests)
    assert read_browser_runtime(folder).remark == ""


def test_a_file_of_a_gigabyte_is_not_read(tmp_path: Path) -> None:
    folder = write_package(tmp_path / "x")
    with (folder / "dist/ort-wasm-simd-threaded.wasm").open("wb") as file:
        file.truncate(1 << 30)  # a hole
    with pytest.raises(ConfigError, match="has 1,073,741,824 bytes"):
        read_browser_runtime(folder)


def test_a_version_that_is_none_is_not_repeated(tmp_path: Path) -> None:
    for version in (None, 3, "1.0\x1b[31m", "1" * 1000):
        runtime = read_browser_runtime(write_package(tmp_path / "x", version=version))
        assert runtime.remark.startswith("This page has onnxruntime-web of an unknown version; ")


@needs_package
def test_the_package_of_npm_is_the_tested_one() -> None:
    runtime = read_browser_runtime(PACKAGE_FOLDER)
    assert (runtime.version, runtime.remark) == (TESTED_VERSION, "")
    assert runtime.files["ort-wasm-simd-threaded.wasm"].startswith(b"\0asm")
