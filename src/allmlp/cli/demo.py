"""`allmlp demo`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from allmlp.cli.console import DeviceOption, aligned, command_line, heading, next_commands
from allmlp.cli.train import new_run_folder, run_training

if TYPE_CHECKING:
    from allmlp.data import ImageDataset
    from allmlp.training import Recipe

__all__ = ["demo", "demonstrate"]

DATASET = "clothing"
_NUM_PHOTOS = 6


def demo(
    out: Annotated[
        Path | None, typer.Option(help="The run's folder, new or empty.", show_default="runs/demo-<number>")
    ] = None,
    seed: Annotated[int, typer.Option(help="Another number gives another Mixer.")] = 0,
    device: DeviceOption = "auto",
) -> None:
    """Train, score and use a small Mixer on the embedded photos. Takes a few minutes."""
    from allmlp.config import override
    from allmlp.recipes import RECIPES

    demonstrate(override(RECIPES["demo"](), [f"seed={seed}"]), out or new_run_folder("demo"), device=device)


def demonstrate(recipe: "Recipe", out: Path, *, device: str = "auto") -> None:
    """Train `recipe` on the embedded photos into `out`, and show what came of it."""
    from allmlp.data import open_dataset
    from allmlp.inference import Predictor

    dataset = open_dataset(DATASET)
    result = run_training(recipe, dataset, out, device=device)
    photos = _write_photos(dataset, out / "photos")
    print()
    heading("Some test photos, which it has not seen:")
    answers = Predictor.from_checkpoint(out, device=device).predict([path for path, _ in photos])
    rows = [("photo", "is", "answer", "")]
    for (path, truth), answer in zip(photos, answers, strict=True):
        best = answer.labels[0]
        verdict = "" if best["label"] == truth else "wrong"
        rows.append((str(path), truth, f"{best['label']} {best['score']:.0%}", verdict))
    for line in aligned(rows):
        print(line)
    metrics = result.evaluations["test"]
    print()
    chance = 1 / len(dataset.class_names)
    heading(f"Right on {metrics.top1:.1%} of {metrics.num_examples:,} test photos; chance is {chance:.0%}.")
    print(f"wrote   {out}/ with the report, open it in a browser: {out / 'report.html'}")
    train_command = command_line("train", DATASET, "--out", "runs/mine")
    next_commands(
        [
            (command_line("predict", out, out / "photos"), "name photos: yours, or whole folders"),
            (command_line("evaluate", out, DATASET), "the score, class by class"),
            (train_command, f"for {DATASET}, put your folder with a sub-folder a class"),
        ]
    )


def _write_photos(dataset: "ImageDataset", folder: Path) -> list[tuple[Path, str]]:
    """Write some test photos of different classes as files; return each with its class."""
    import numpy as np

    from allmlp.files import write_bytes

    split = dataset.splits["test"]
    firsts = [int(np.flatnonzero(split.labels == label)[0]) for label in np.unique(split.labels)[:_NUM_PHOTOS]]
    written = []
    for index in firsts:
        name = dataset.class_names[split.labels[index]]
        suffix = Path(split.identities[index]).suffix
        written.append((write_bytes(folder / f"{name}{suffix}", split.read(index)), name))
    return written
