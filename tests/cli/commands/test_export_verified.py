"""`allmlp export --verify` of the starter on photos of clothing, in every format, and of files that were tampered with."""

import io
import json
import re
import zipfile
from collections.abc import Callable
from pathlib import Path

import onnx
import pytest
from tests.exports.conftest import FILE_FORMATS

from allmlp import export, open_dataset
from allmlp.exports import EXPORT_FORMATS, open_export

NUM_PHOTOS = 24


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Photos of clothing, from the test split that comes with allmlp."""
    folder = tmp_path_factory.mktemp("clothing")
    split = open_dataset("clothing").splits["test"]
    for index in range(0, len(split), len(split) // NUM_PHOTOS)[:NUM_PHOTOS]:
        (folder / f"{index}.jpg").write_bytes(split.read(index))
    return folder


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("starter")
    return {to: export("starter", to=to, out=folder / f"x{EXPORT_FORMATS[to].ending}") for to in FILE_FORMATS}


@pytest.mark.parametrize("to", FILE_FORMATS)
def test_every_photo_gets_the_checkpoints_class(to, files, photos, allmlp):
    outcome = allmlp("export", "starter", "--against", files[to], "--verify", photos, "--json")
    assert outcome.code == 0, outcome.err
    values = json.loads(outcome.out)["verification"]
    assert values["num_same"] == values["num_photos"] == NUM_PHOTOS
    assert values["logit_difference"] <= 1e-4 * values["largest_logit"]


def changed(text: str) -> str:
    """Return a description with other pre-processing: photos are squashed instead of cropped."""
    found, count = re.subn(r'(&quot;|")fit\1:\1crop\1', r"\1fit\1:\1squash\1", text)
    assert count == 1
    return found


def tamper_onnx(path: Path, target: Path) -> None:
    proto = onnx.load(path)
    entries = {entry.key: entry for entry in proto.metadata_props}
    entries["allmlp"].value = changed(entries["allmlp"].value)
    proto.metadata_props.remove(entries["allmlp_sha256"])
    onnx.save(proto, target)


def tamper_openvino(path: Path, target: Path) -> None:
    text = changed(path.read_text(encoding="utf-8"))
    target.write_text(re.sub(r"<allmlp_sha256 [^>]*>", "", text), encoding="utf-8")
    target.with_suffix(".bin").write_bytes(path.with_suffix(".bin").read_bytes())


def tamper_archive(path: Path, target: Path) -> None:
    """Of LiteRT, the archive stands behind the graph."""
    content = path.read_bytes()
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
        target.write_bytes(content[: min(member.header_offset for member in archive.infolist())])
    with zipfile.ZipFile(target, "a") as archive:
        for name, values in members.items():
            if not name.endswith("allmlp_sha256"):
                archive.writestr(name, changed(values.decode()) if name.endswith("allmlp.json") else values)


TAMPER: dict[str, Callable[[Path, Path], None]] = {
    "onnx": tamper_onnx,
    "openvino": tamper_openvino,
    "torch": tamper_archive,
    "litert": tamper_archive,
}


@pytest.mark.parametrize("to", FILE_FORMATS)
def test_other_pre_processing_exits_with_6(to, files, photos, allmlp, tmp_path):
    """Without the digest, which would notice every change: whoever changes a file on purpose may delete it."""
    path = tmp_path / files[to].name
    TAMPER[to](files[to], path)
    assert open_export(path).description.preprocessing.fit == "squash"  # nothing else is wrong with it
    outcome = allmlp("export", "starter", "--against", path, "--verify", photos)
    assert outcome.code == 6
    assert "another pre-processing: fit is squash, not crop" in outcome.err
