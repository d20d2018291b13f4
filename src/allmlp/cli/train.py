"""`allmlp train`."""

import contextlib
import json
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated

import typer

from allmlp.cli.console import DeviceOption, command_line, next_commands, note
from allmlp.cli.loading import parse_sides

if TYPE_CHECKING:
    from allmlp.data import ImageDataset
    from allmlp.training import Recipe, TrainResult

__all__ = ["new_run_folder", "run_training", "train"]

_DATA = "A folder with a sub-folder a class, a zip of one, Parquet, a CSV, or a named data set such as clothing."


class _Terminated(KeyboardInterrupt):
    """SIGTERM, taken like Ctrl-C: training saves and stops."""


def train(
    data: Annotated[str, typer.Argument(metavar="DATA", help=_DATA, show_default=False)],
    recipe: Annotated[
        str | None, typer.Option(help="See `allmlp recipes`; chosen by the data when left out.", show_default=False)
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="The run's folder, new or empty.", show_default="runs/<recipe>-<number>")
    ] = None,
    assignments: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Change any setting of the recipe; may be repeated."),
    ] = None,
    epochs: Annotated[int | None, typer.Option(help="Short for --set num_epochs=.", show_default=False)] = None,
    batch_size: Annotated[int | None, typer.Option(help="Short for --set batch_size=.", show_default=False)] = None,
    image_size: Annotated[
        str | None,
        typer.Option(metavar="N|HxW", help="Short for --set model.image_size=[H,W].", show_default=False),
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Short for --set seed=.", show_default=False)] = None,
    max_minutes: Annotated[
        float | None, typer.Option(help="Train fewer epochs where the recipe's would take longer.", show_default=False)
    ] = None,
    device: DeviceOption = "auto",
    print_recipe: Annotated[bool, typer.Option("--print-recipe", help="Print the settings as JSON and stop.")] = False,
) -> None:
    """Train a Mixer on your photos. Ctrl-C keeps what was learned so far."""
    changes = {"num_epochs": epochs, "batch_size": batch_size, "seed": seed, "max_minutes": max_minutes}
    given = [f"{key}={value}" for key, value in changes.items() if value is not None]
    if image_size is not None:
        given.append(f"model.image_size={json.dumps(parse_sides(image_size))}")
    resolved, dataset, reason = _choose(data, recipe, [*given, *(assignments or [])])
    if print_recipe:
        from allmlp.config import to_dict

        if reason:
            note(reason)
        print(json.dumps(to_dict(resolved), indent=2))
        return
    if reason:
        print(reason)
    out = out or new_run_folder(resolved.name)
    result = run_training(resolved, data if dataset is None else dataset, out, device=device)
    scored = "test" if "test" in result.evaluations else "validation"
    print(f"\nwrote   {result.directory}/ (report.html, results.csv, checkpoints/best, checkpoints/last)")
    next_commands(
        [
            (f"{command_line('predict', result.directory)} PHOTO.jpg", "name photos or whole folders of them"),
            (command_line("evaluate", result.directory, data, "--split", scored), "score it again, class by class"),
            (command_line("inspect", result.directory), "its size, pre-processing and classes"),
        ]
    )


def _choose(data: str, recipe: str | None, assignments: list[str]) -> tuple["Recipe", "ImageDataset | None", str]:
    """Return the resolved recipe; the data set, where it had to be opened to choose one; and why it was chosen."""
    from allmlp.config import override
    from allmlp.recipes import load_recipe, recipe_for

    if recipe is not None:
        if ":" in recipe and "" not in sys.path:
            sys.path.insert(
                0, ""
            )  # my_module.py lies in the current folder, which an installed command does not search
        # Before any file of the data is touched: a typing error must not cost the time that listing photos takes.
        return override(load_recipe(recipe), assignments), None, ""
    from allmlp.data import open_dataset

    dataset = open_dataset(data)
    chosen, reason = recipe_for(dataset)
    return override(chosen, assignments), dataset, reason


def new_run_folder(name: str) -> Path:
    """Return the first runs/<name>-<number> that does not exist."""
    number = 1
    while (folder := Path("runs") / f"{name}-{number}").exists():
        number += 1
    return folder


def run_training(recipe: "Recipe", data: "str | ImageDataset", out: Path, *, device: str = "auto") -> "TrainResult":
    """Train with progress on the console; on Ctrl-C or SIGTERM say what is left of the run, and exit 130 or 143."""
    from allmlp.cli.progress import ConsoleProgress
    from allmlp.training import train as train_recipe

    try:
        with _sigterm_like_ctrl_c():
            return train_recipe(recipe, data, out, device=device, progress=ConsoleProgress())
    except KeyboardInterrupt as stop:
        last = out / "checkpoints" / "last"
        if last.is_dir():
            note(f"\nStopped. What was learned so far is kept; use it with: {command_line('predict', last)} PHOTO.jpg")
        else:
            note("\nStopped before the first step; there is nothing to keep.")
        raise typer.Exit(143 if isinstance(stop, _Terminated) else 130) from stop


@contextlib.contextmanager
def _sigterm_like_ctrl_c() -> Iterator[None]:
    def stop(_number: int, _frame: FrameType | None) -> None:
        raise _Terminated

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
