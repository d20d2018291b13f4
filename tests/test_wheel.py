"""Facts about what is handed out: the source distribution holds all that its tests read, and the wheel works alone."""

import email
import json
import os
import shutil
import subprocess
import sys
import tarfile
import venv
import zipfile
from pathlib import Path

import pyarrow.parquet
import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "src" / "allmlp"
READ_BY_TESTS = ("tests", "docs", "benchmarks", "experiments")
DEBRIS = {"__pycache__", ".venv", ".git", ".mypy_cache", ".ruff_cache", ".pytest_cache", ".hypothesis", "build", "dist"}


def files_below(folder: Path) -> set[str]:
    """Return the paths of all files below `folder`, relative to the root of the project."""
    files = (path for path in folder.rglob("*") if path.is_file() and not path.name.endswith((".pyc", ".pyo")))
    return {path.relative_to(ROOT).as_posix() for path in files}


def run(*command: str | Path, **options: object) -> str:
    result = subprocess.run([*map(str, command)], check=False, capture_output=True, text=True, timeout=300, **options)
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


def build(kind: str, source: Path, folder: Path) -> Path:
    """Build with the setuptools that is installed: nothing is downloaded."""
    folder.mkdir()
    code = f"import sys, setuptools.build_meta as backend; print(backend.build_{kind}(sys.argv[1]))"
    return folder / run(sys.executable, "-c", code, folder, cwd=source).splitlines()[-1]


@pytest.fixture(scope="module")
def sdist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sdist")
    # A copy: a build leaves files in its source tree, and takes up those of a build before.

    def ignored(parent: str, names: list[str]) -> list[str]:
        is_root = Path(parent) == ROOT
        return [name for name in names if name in DEBRIS or name.endswith(".egg-info") or (is_root and name == "runs")]

    shutil.copytree(ROOT, folder / "source", ignore=ignored)
    return build("sdist", folder / "source", folder / "dist")


@pytest.fixture(scope="module")
def wheel(sdist: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    with tarfile.open(sdist) as archive:
        archive.extractall(folder, filter="data")
    return build("wheel", folder / sdist.name.removesuffix(".tar.gz"), folder / "dist")


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bin folder of an environment with the wheel, and with the third-party packages of this one."""
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, symlinks=True)
    binaries = folder / "bin"
    # Installed before the other packages can be seen: among them pip would find this project's editable install.
    run(sys.executable, "-m", "pip", "--python", binaries / "python", "install", "--no-deps", "--no-index", wheel)
    [packages] = (folder / "lib").glob("python*/site-packages")
    third_party = [path for path in sys.path if Path(path).name in ("site-packages", "dist-packages")]
    # Folders that a .pth file names are searched after this one, and their own .pth files (editable ones) not at all.
    (packages / "third_party.pth").write_text("\n".join(third_party), encoding="utf-8")
    return binaries


def test_the_source_distribution_holds_all_that_its_tests_read(sdist: Path) -> None:
    with tarfile.open(sdist) as archive:
        held = {name.partition("/")[2] for name in archive.getnames()}
    wanted = set().union(*(files_below(ROOT / folder) for folder in READ_BY_TESTS), files_below(PACKAGE))
    wanted |= {path.name for path in ROOT.glob("*.md")}
    wanted |= {"LICENSE", "Makefile", "constraints.txt", "pyproject.toml", "setup.py"}
    assert "tests/golden/variants_expected.json" in wanted
    assert wanted - held == set()


def test_the_wheel_holds_every_file_of_the_package_and_no_other(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        held = {name for name in archive.namelist() if ".dist-info/" not in name}
    assert held == {name.removeprefix("src/") for name in files_below(PACKAGE)}
    assert {"allmlp/py.typed", "allmlp/report/templates/report.css", "allmlp/checkpoints/starter/config.json"} <= held


def test_the_description_of_the_wheel_is_the_readme_without_relative_links(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        [name] = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        metadata = email.message_from_bytes(archive.read(name))
    assert metadata["Description-Content-Type"] == "text/markdown"
    text = metadata.get_payload()
    assert "**Image classification for your own photos.**" in text and "](https://arxiv.org/abs/2105.01601)" in text
    assert "](docs/" not in text and "](src/" not in text


def test_an_installed_wheel_trains_and_predicts_away_from_the_source(installed: Path, tmp_path: Path) -> None:
    environment = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
    # One thread computes these few small steps sooner than two that share a busy processor with other tests.
    options = {"cwd": tmp_path, "env": environment | {"OMP_NUM_THREADS": "1"}}
    home = run(installed / "python", "-c", "import allmlp; print(allmlp.__file__)", **options).strip()
    assert Path(home).is_relative_to(installed.parent)

    size = ("--epochs", "1", "--image-size", "16", "--trained-blocks", "0", "--batch-size", "300")
    run(installed / "allmlp", "finetune", "clothing", *size, "--out", "run", **options)
    metrics = json.loads((tmp_path / "run" / "metrics.json").read_text(encoding="utf-8"))
    assert metrics["evaluations"]["test"]["top1"] > 0.15  # chance is 0.1; the starter's features alone give 0.3
    page = (tmp_path / "run" / "report.html").read_text(encoding="utf-8")
    assert "Worst mistakes" in page and "prefers-color-scheme: dark" in page

    samples = pyarrow.parquet.read_table(Path(home).parent / "data" / "samples" / "clothing" / "test.parquet")
    (tmp_path / "photo").write_bytes(samples["image"][0].as_py()["bytes"])
    lines = run(installed / "allmlp", "predict", "run", "photo", "--format", "jsonl", **options).splitlines()
    [answer] = map(json.loads, lines)
    assert answer["path"] == "photo"
    scores = [prediction["score"] for prediction in answer["predictions"]]
    assert len(scores) == 5 and scores == sorted(scores, reverse=True) and 0 < sum(scores) <= 1
    config = json.loads((tmp_path / "run" / "checkpoints" / "best" / "config.json").read_text(encoding="utf-8"))
    assert {prediction["label"] for prediction in answer["predictions"]} <= set(config["class_names"])
