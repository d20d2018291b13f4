"""A tiny model, tiny photos, and folders of results made in this process."""

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.builders import tiny_checkpoint

from allmlp import save_checkpoint
from allmlp.bulk import (
    ModelOptions,
    PlanOptions,
    Request,
    ResultFolder,
    compute_parts,
    find_listed,
    load_model,
    open_results,
)
from allmlp.io.display import discard, no_progress


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory) -> Path:
    return save_checkpoint(tiny_checkpoint(seed=3), tmp_path_factory.mktemp("bulk") / "checkpoint")


def png(seed: int, size: tuple[int, int] = (20, 24)) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8)
    content = io.BytesIO()
    Image.fromarray(pixels).save(content, "PNG")
    return content.getvalue()


@pytest.fixture
def photos(tmp_path, monkeypatch) -> Path:
    """Eleven photos and a bad one in a folder, named relative to the folder of the process."""
    monkeypatch.chdir(tmp_path)
    Path("photos/sub").mkdir(parents=True)
    for number in range(11):
        Path(f"photos/sub/{number:02d}.png").write_bytes(png(number))
    Path("photos/bad.jpg").write_bytes(b"not a photo")
    return Path("photos")


@pytest.fixture
def begin(checkpoint) -> Callable[..., ResultFolder]:
    """Make a plan in a folder, or open it again."""

    def run(
        folder: Path, *sources: object, task: str = "predict", part_size: int | None = 5, report=discard, **options
    ):
        names = [str(source) for source in sources]
        request = Request(
            task=task,
            model=str(checkpoint),
            model_sha256=load_model(str(checkpoint), ModelOptions(device="cpu")).digest,
            model_options=ModelOptions(device="cpu"),
            options=PlanOptions(**options),
            photos=tuple(str(Path(name).absolute()) for name in names),
            part_size=part_size,
        )
        return open_results(folder, request, lambda: find_listed(names, report=report), report=report)[0]

    return run


@pytest.fixture
def compute(checkpoint) -> Callable[..., ResultFolder]:
    """Compute the parts of a folder that are missing."""

    def run(results: ResultFolder, report=discard, progress=no_progress, **options) -> ResultFolder:
        loaded = load_model(str(checkpoint), results.plan.model_options)
        output = "features" if results.plan.task == "embed" else "logits"
        compute_parts(results, lambda: loaded.open(output), progress=progress, report=report, **options)
        return results

    return run
