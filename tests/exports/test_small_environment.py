"""Small environments: the requirements files are complete and pinned, and exports run in what they install, without torch."""

import importlib.metadata
import json
import os
import re
import shutil
import subprocess
import sys
import venv
from pathlib import Path

import numpy as np
import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from PIL import Image
from tests.builders import tiny_checkpoint

from allmlp import export
from allmlp.exports import ENGINES, EXPORT_FORMATS, requirements

ROOT = Path(__file__).parents[2]
IMPORTED = ("filelock", "numpy", "pillow", "typer", "rich")  # by these commands, next to the engine
INT8 = ("onnx", "openvino")
LEFT_OUT = {"openvino-telemetry"}  # it reports to Google Analytics, and openvino runs without it


def lines_of(to: str) -> list[str]:
    return [line for line in requirements(to).decode("ascii").splitlines() if line and not line.startswith("#")]


def needed_by(package: str, found: dict[str, str]) -> dict[str, str]:
    """Add a package and all that it needs on any system, with the marker that says where."""
    for text in importlib.metadata.requires(package) or []:
        need = Requirement(text)
        name = canonicalize_name(need.name)
        marker = str(need.marker or "")
        if "extra" in marker or name in found or name in LEFT_OUT:
            continue
        found[name] = marker
        if not marker:
            needed_by(name, found)
    return found


@pytest.mark.parametrize("to", ENGINES)
def test_a_requirements_file_has_all_that_is_needed_in_the_tested_versions(to):
    pins = (ROOT / "constraints.txt").read_text(encoding="utf-8").replace("_", "-").splitlines()
    listed = [Requirement(line) for line in lines_of(to)]
    assert {f"{need.name}{need.specifier}" for need in listed} <= set(pins)
    found: dict[str, str] = {}
    for package in (*IMPORTED, ENGINES[to]):
        found[package] = ""
        needed_by(package, found)
    assert {canonicalize_name(need.name): str(need.marker or "") for need in listed} == found
    assert "torch" not in found


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with photos, and with an export in every format, in float32 and in int8."""
    folder = tmp_path_factory.mktemp("small")
    for index, name in enumerate(tiny_checkpoint().class_names * 2):
        pixels = np.random.default_rng(index).integers(0, 256, (20, 30, 3), np.uint8)
        path = folder / "photos" / name / f"{index}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(path)
    int8 = {"precision": "int8", "calibrate": folder / "photos", "agreement": 0.0}
    for to in ENGINES:
        ending = EXPORT_FORMATS[to].ending
        export(tiny_checkpoint(), to=to, out=folder / f"mine{ending}")
        if to in INT8:
            export(tiny_checkpoint(), to=to, out=folder / f"int8{ending}", **int8)
    return folder


def words_of_commands(to: str) -> list[list[str]]:
    name = f"mine{EXPORT_FORMATS[to].ending}"
    return [
        ["predict", name, "photos", "--format", "json"],
        ["predict", name, "photos", "--out", f"{to}.csv"],
        ["embed", name, "photos", "--out", f"{to}.npz"],
        ["evaluate", name, "photos", "--format", "json"],
        ["inspect", name, "--json"],
        *([["predict", f"int8{EXPORT_FORMATS[to].ending}", "photos"]] if to in INT8 else []),
    ]


# Runs commands in one process in which some modules are not installed.
BLOCKED = """
import json, sys
from allmlp.cli.main import main
blocked, commands = map(json.loads, sys.argv[1:])
class Blocker:
    def find_spec(self, name, path=None, target=None):
        if path is None and name in blocked:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Blocker())
for words in commands:
    try:
        main(words)
    except SystemExit as stop:
        assert not stop.code, words
assert "torch" not in sys.modules
"""


@pytest.mark.parametrize("to", ENGINES)
def test_exports_need_no_module_beyond_the_listed_packages(to, folder):
    packages = {canonicalize_name(Requirement(line).name) for line in lines_of(to)} | {"allmlp"}
    owners = importlib.metadata.packages_distributions().items()
    blocked = [name for name, names in owners if not packages & set(map(canonicalize_name, names))]
    assert {"torch", "pyarrow", "safetensors", "matplotlib"} <= set(blocked)
    arguments = (json.dumps(blocked), json.dumps(words_of_commands(to)))
    code = [sys.executable, "-c", BLOCKED, *arguments]
    outcome = subprocess.run(code, cwd=folder, capture_output=True, text=True, check=False, timeout=120)
    assert outcome.returncode == 0, outcome.stderr


def test_a_command_that_lacks_a_library_names_it(folder):
    code = [sys.executable, "-c", BLOCKED.replace("assert not stop.code", "assert stop.code == 5")]
    arguments = (json.dumps(["torch"]), json.dumps([["train", "photos"]]))
    outcome = subprocess.run([*code, *arguments], cwd=folder, capture_output=True, text=True, check=False, timeout=120)
    assert outcome.returncode == 0, outcome.stderr
    assert re.search(
        r"^allmlp: This needs the library \w+, which is not installed here. To install it: pip", outcome.stderr
    )


@pytest.mark.slow
@pytest.mark.parametrize("to", ENGINES)
def test_a_small_environment_is_one_command_of_pip_and_runs_exports(to, folder, tmp_path):
    """pip downloads the packages from the index that it is configured for; without one, this is skipped."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
    venv.create(tmp_path / "environment", with_pip=True, symlinks=True)
    python = tmp_path / "environment" / "bin" / "python"
    listed = tmp_path / "requirements.txt"
    listed.write_bytes(requirements(to))
    source = tmp_path / "source"  # a copy, because a build leaves files in its folder
    shutil.copytree(ROOT / "src", source / "src", ignore=shutil.ignore_patterns("*.egg-info", "__pycache__"))
    for name in ("pyproject.toml", "setup.py", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source / name)

    def run(*words: str | Path) -> subprocess.CompletedProcess[str]:
        options = {"cwd": folder, "env": environment, "capture_output": True, "text": True, "timeout": 300}
        return subprocess.run([python, *map(str, words)], check=False, **options)

    installed = run("-m", "pip", "install", "--quiet", "--retries", "0", "--no-deps", source, "-r", listed)
    if installed.returncode and re.search(r"Could not find a version|NewConnectionError|timed out", installed.stderr):
        pytest.skip(f"no package index: {installed.stderr.strip().splitlines()[-1]}")
    assert installed.returncode == 0, installed.stderr
    for name in ("torch", "torchvision", "pyarrow", "matplotlib"):
        assert f"No module named '{name}'" in run("-c", f"import {name}").stderr
    home = run("-c", "import allmlp; print(allmlp.__file__)").stdout
    assert Path(home).is_relative_to(tmp_path / "environment")
    assert run("-m", "pip", "check").stdout.count("torch") > 0  # allmlp itself still says that it needs torch

    outcomes = [
        run("-m", "allmlp", *[word.replace(to, f"{to}-venv") if word.startswith(f"{to}.") else word for word in words])
        for words in words_of_commands(to)
    ]
    for outcome in outcomes:
        assert outcome.returncode == 0, outcome.stderr
    answers = json.loads(outcomes[0].stdout)
    here = [sys.executable, "-m", "allmlp", *words_of_commands(to)[0]]
    expected = json.loads(subprocess.run(here, cwd=folder, capture_output=True, check=True, timeout=120).stdout)
    assert [answer["path"] for answer in answers] == [answer["path"] for answer in expected]
    for ours, theirs in zip(answers, expected, strict=True):
        assert [each["label"] for each in ours["predictions"]] == [each["label"] for each in theirs["predictions"]]
        scores = [[each["score"] for each in side["predictions"]] for side in (ours, theirs)]
        np.testing.assert_allclose(
            *scores, rtol=1e-4
        )  # another version of Pillow or of the engine may be installed here
    assert json.loads(outcomes[3].stdout)
