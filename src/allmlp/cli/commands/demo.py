"""The command `allmlp demo`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from allmlp.cli.console import DeviceOption, aligned, command_line, heading, next_commands, say
from allmlp.cli.training_request import run_training
from allmlp.io.display import escape
from allmlp.runs.layout import new_run_folder

if TYPE_CHECKING:
    from collections.abc import Mapping

    from allmlp.data import ImageDataset
    from allmlp.training import Recipe, TrainResult

__all__ = ["demo", "demonstrate"]

DATASET = "clothing"
_NUM_PHOTOS = 6
_MINUTES = {"scratch": 2.9, "finetuned": 2.6}  # at most; on a fast machine, neither run takes as long
_RECIPES = {"scratch": "demo", "finetuned": "finetune"}

# What trains on a machine on which a recipe would take far longer than its minutes. Of the few epochs that fit, smaller batches
# make more steps.
_SLOW_MACHINE = 1.5
_SHORT = {"scratch": ("demo_short",), "finetuned": ("finetune", "batch_size=50", "optimizer.learning_rate=0.002")}


def demo(
    out: Annotated[
        Path | None, typer.Option(help="The output folder, new or empty.", show_default="runs/demo-<number>")
    ] = None,
    seed: Annotated[int, typer.Option(help="The random seed of both runs.")] = 0,
    device: DeviceOption = "auto",
) -> None:
    """Train on embedded photos, from scratch and from trained weights. Takes a few minutes, and scores and uses both Mixers.

    \b
    Examples:
      allmlp demo
      allmlp demo --out runs/demo
    """
    from allmlp.training import refuse_used_folder

    folder = out or new_run_folder("demo")
    refuse_used_folder(folder)  # before the machine is timed
    scratch, transfer = (_recipe_for_machine(name, seed=seed, device=device) for name in _MINUTES)
    demonstrate(scratch, transfer, folder, device=device)


def _recipe_for_machine(name: str, *, seed: int, device: str) -> "Recipe":
    """Return the recipe of a run: the usual one, or a shorter one if a few timed passes say that it would be cut to little."""
    from allmlp.config import override
    from allmlp.data import open_dataset
    from allmlp.recipes import RECIPES
    from allmlp.training import estimate_minutes

    dataset = open_dataset(DATASET)
    usual = override(RECIPES[_RECIPES[name]](), ["max_minutes=none"])
    model = usual.model.with_num_classes(len(dataset.class_names))
    minutes = estimate_minutes(usual, model, dataset, device=device)
    chosen, *settings = (_RECIPES[name],)
    if minutes > _SLOW_MACHINE * _MINUTES[name]:
        chosen, *settings = _SHORT[name]
        instead = " with ".join(filter(None, (chosen, " ".join(settings))))
        say(f"recipe {usual.name} would take about {round(minutes)} minutes on this machine; {instead} takes fewer")
    return override(RECIPES[chosen](), [*settings, f"seed={seed}", f"max_minutes={_MINUTES[name]:g}"])


def demonstrate(scratch: "Recipe", transfer: "Recipe", out: Path, *, device: str = "auto") -> None:
    """Train on the embedded photos from scratch and from trained weights into `out`, and show the results."""
    from allmlp.data import open_dataset
    from allmlp.inference import Predictor
    from allmlp.training import refuse_used_folder

    refuse_used_folder(out)
    dataset = open_dataset(DATASET)
    results = {}
    for name, title, recipe in (
        ("finetuned", "1. From the weights that come with allmlp", transfer),
        ("scratch", "2. From scratch", scratch),
    ):
        heading(f"{title}: {out / name}")
        results[name] = run_training(recipe, dataset, out / name, device=device)
        say()
    result = results["finetuned"]
    photos = _write_photos(dataset, out / "photos")
    heading("Predictions of the fine-tuned model for some test photos, which neither model has seen:")
    predictions = Predictor.from_checkpoint(result.directory, device=device).predict([path for path, _ in photos])
    rows = [("photo", "class", "prediction", "")]
    for (path, class_name), prediction in zip(photos, predictions, strict=True):
        best = prediction.labels[0]
        verdict = "" if best["label"] == class_name else "wrong"
        rows.append((str(path), class_name, f"{best['label']} {best['score']:.0%}", verdict))
    for line in aligned(rows):
        say(line)
    say()
    _print_scores(results, chance=1 / len(dataset.class_names))
    run = result.directory
    say(f"wrote   {escape(out)}/ with a report of each run to open in a browser: {escape(run / 'report.html')}")
    train_command = command_line("finetune", DATASET, "--out", "runs/mine")
    next_commands(
        [
            (command_line("predict", run, out / "photos"), "classify photos: your own, or whole folders"),
            (command_line("evaluate", run, DATASET), "score it, class by class"),
            (command_line("serve", run), "try it in a browser, with a page for photos"),
            (train_command, f"replace {DATASET} with your folder, with one sub-folder per class"),
        ]
    )


def _print_scores(results: "Mapping[str, TrainResult]", *, chance: float) -> None:
    titles = {"scratch": "from scratch", "finetuned": "fine-tuned"}
    rows = [("", "epochs", "minutes", "test accuracy")]
    for name, result in results.items():
        top1 = result.evaluations["test"].top1
        planned = result.recipe.num_epochs
        is_short = result.minutes_needed is not None
        epochs = f"{result.num_epochs:.3g} of {planned}, cut short" if is_short else str(planned)
        rows.append((titles[name], epochs, f"{result.seconds / 60:.1f}", f"{top1:.1%}"))
    lines = aligned([*rows, ("chance", "", "", f"{chance:.1%}")], right=(1, 2, 3))
    heading(lines[0])
    say("\n".join(lines[1:]))


def _write_photos(dataset: "ImageDataset", folder: Path) -> list[tuple[Path, str]]:
    """Write test photos of different classes to files; return each file with its class."""
    import numpy as np

    from allmlp.io.atomic_write import write_bytes

    split = dataset.splits["test"]
    indices = [int(np.flatnonzero(split.labels == label)[0]) for label in np.unique(split.labels)[:_NUM_PHOTOS]]
    written = []
    for index in indices:
        name = dataset.class_names[split.labels[index]]
        suffix = Path(split.sample_ids[index]).suffix
        written.append((write_bytes(folder / f"{name}{suffix}", split.read(index)), name))
    return written
