"""The Python of README.md and docs/: blocks that run, and a table of all public names."""

import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from tests.builders import tiny_checkpoint

import allmlp

ROOT = Path(__file__).parents[1]
CLASS_NAMES = ("hat", "shoe", "skirt")


def python_blocks(page: str) -> list[str]:
    return re.findall(
        r"^```python\n(.*?)^```", (ROOT / page).read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL
    )


@pytest.fixture
def working_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with small stand-ins for what the blocks name: two runs, b16-i1k, photo.jpg, other.png and PHOTOS."""
    generator = np.random.default_rng(0)

    def write_photo(path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(generator.integers(0, 256, (20, 24, 3), dtype=np.uint8)).save(path)

    checkpoint = tiny_checkpoint(class_names=CLASS_NAMES)
    for folder in ("runs/mine/checkpoints/best", "b16-i1k"):
        allmlp.save_checkpoint(checkpoint, tmp_path / folder)
    (tmp_path / "runs/mine/recipe.json").write_text("{}")
    (tmp_path / "runs/mine/split.json").write_text('{"train": [], "validation": [], "test": []}')
    shutil.copytree(tmp_path / "runs/mine", tmp_path / "runs/scratch")
    for name in ("photo.jpg", "other.png"):
        write_photo(tmp_path / name)
    for split, number in (("train", 6), ("val", 2), ("test", 3)):
        for class_name in CLASS_NAMES:
            for index in range(number):
                write_photo(tmp_path / "PHOTOS" / split / class_name / f"{split}{index}.png")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_python_of_the_readme_runs(working_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (block,) = python_blocks("README.md")
    names: dict[str, object] = {}
    exec(block, names)
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[:2]] == ["photo.jpg", "other.png"]
    assert float(lines[2]) == allmlp.evaluate(working_folder / "runs/mine", working_folder / "PHOTOS").top1
    assert names["larger"].config.image_size == (256, 320)  # type: ignore[attr-defined]
    assert isinstance(names["new"], allmlp.MlpMixer)


def test_the_python_of_the_page_on_evaluation_runs(working_folder: Path) -> None:
    labels = np.tile(np.arange(3), 8)
    features = np.random.default_rng(0).standard_normal((24, 5))
    names: dict[str, object] = {"features": features, "labels": labels, "sample_ids": [str(i) for i in range(24)]}
    names |= {"test_features": features, "test_labels": labels, "class_names": CLASS_NAMES}
    for block in python_blocks("docs/evaluation.md"):
        exec(block, names)
    assert names["features"].shape == (2, 8)  # type: ignore[attr-defined]


def test_the_python_of_the_page_on_predicting_runs(working_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (working_folder / "PHOTOS/test").rename("photos")
    paths = sorted(str(path) for path in Path("photos").rglob("*.png"))
    features = allmlp.Embedder.from_checkpoint("runs/mine").embed(paths)
    np.savez("features.npz", features=features, paths=np.array(paths))
    names: dict[str, Any] = {}
    for block in python_blocks("docs/predicting.md"):
        exec(block, names)
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[:9]] == paths
    assert len(lines) == 9 + 5
    assert len(names["predictions"]) == 9


def test_the_own_training_loop_of_the_page_on_weights_runs(working_folder: Path) -> None:
    (block,) = [block for block in python_blocks("docs/weights.md") if "from_module" in block]
    exec(block, {})
    assert allmlp.load_checkpoint("mine").class_names == ("cat", "dog")


def test_the_analysis_of_the_page_on_weights_runs(working_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (block,) = [block for block in python_blocks("docs/weights.md") if "analyse_weights" in block]
    exec(block, {})
    assert capsys.readouterr().out.startswith("(4, 2, 2) {'num_units': 4, ")
    assert Path("weights.png").is_file() and Path("weights.json").is_file()


def test_the_training_of_the_page_on_python_runs(working_folder: Path) -> None:
    """With one epoch instead of many, which changes no call."""
    names: dict[str, Any] = {"my_network": lambda images: images.mean(dim=(2, 3))[:, : len(CLASS_NAMES)]}
    for block in python_blocks("docs/python.md"):
        exec(re.sub(r"epochs=\d+", "epochs=1", block), names)
    assert names["result"].directory == Path("runs/first")
    recipe = json.loads(Path("runs/second/recipe.json").read_text())
    assert (recipe["name"], recipe["batch_size"], recipe["augmentation"]["cutmix"]) == ("photos64", 32, 0)
    assert json.loads(Path("runs/third/recipe.json").read_text())["distillation"]["teacher"] == "teacher"


def test_the_table_of_public_names_is_complete() -> None:
    rows = re.findall(
        r"^\| `(\w+)` \| (.+) \|$", (ROOT / "docs" / "python.md").read_text(encoding="utf-8"), flags=re.MULTILINE
    )
    assert [name for name, _ in rows] == allmlp.__all__
    assert all(meaning for _, meaning in rows)
