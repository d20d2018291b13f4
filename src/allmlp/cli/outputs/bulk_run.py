"""The common part of `allmlp predict` and `allmlp embed` with `--out FOLDER/`."""

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from allmlp.cli.arguments.checkpoint import parse_sides
from allmlp.cli.arguments.photos import STANDARD_INPUT
from allmlp.cli.console import command_line, download_bar, is_first_process, next_commands, note, say
from allmlp.cli.outputs.bulk_options import BulkOptions
from allmlp.cli.progress import photo_bar
from allmlp.errors import AllmlpError, ConfigError, DataError
from allmlp.io.display import counted, discard, escape
from allmlp.io.remote_address import is_remote

if TYPE_CHECKING:
    from allmlp.bulk import ResultFolder, Task

__all__ = ["answer_in_bulk", "preprocessing_options"]


def answer_in_bulk(
    folder: Path,
    task: "Task",
    model: str,
    photos: Sequence[str],
    bulk_options: BulkOptions,
    *,
    image_size: str | None,
    changes: dict[str, Any],
    backend: str,
    precision: str,
    device: str,
    batch_size: int,
    **options: Any,
) -> None:
    """Compute all parts of a folder of results, new or begun earlier; `options` are those of `PlanOptions`.

    Raises:
        typer.Exit: with 3 if photos could not be read.
        AllmlpError: see `open_results` and `compute_parts`.
    """
    if STANDARD_INPUT in photos:
        raise ConfigError("--out FOLDER/ takes no photo from standard input; save it to a file.")
    from allmlp.bulk import (
        ModelOptions,
        PlanOptions,
        Request,
        compute_parts,
        find_listed,
        load_model,
        open_results,
        use_own_gpu,
    )

    report = note if is_first_process() else discard
    model_options = ModelOptions(
        image_size=None if image_size is None else parse_sides(image_size),
        preprocessing=preprocessing_options(changes),
        backend=backend,
        precision=precision,
        device=device,
    )
    with download_bar() as report_progress:
        loaded = load_model(model, model_options, report=report, report_progress=report_progress)
    if bulk_options.engine == "local":
        use_own_gpu(model, device)
    opened = loaded.open("features" if task == "embed" else "logits")
    if task == "predict" and not opened.description.class_names:
        raise ConfigError("This checkpoint has no classifier (num_classes is 0), so it cannot classify photos.")
    if opened.remark:
        report(opened.remark)
    request = Request(
        task=task,
        model=os.path.abspath(model) if os.path.exists(model) else model,  # noqa: PTH100, PTH110
        model_sha256=loaded.digest,
        model_options=model_options,
        options=PlanOptions(**options),
        photos=tuple(source if is_remote(source) else os.path.abspath(source) for source in photos),  # noqa: PTH100
        part_size=bulk_options.part_size,
    )
    results, is_new = open_results(
        folder, request, lambda: find_listed(photos, report=lambda line: note(f"allmlp: {line}")), report=report
    )
    num_done = sum(state.is_done for state in results.states())
    if not is_new:
        report(f"{_shown(results)}: {num_done:,} of {counted(results.plan.num_parts, 'part')} are done already.")
    try:
        with photo_bar(has_rate=True) as progress:
            compute_parts(
                results,
                lambda: opened,
                source=request.model,
                engine=bulk_options.engine,
                processes=bulk_options.processes,
                batch_size=batch_size,
                progress=progress,
                report=report,
            )
    except (KeyboardInterrupt, AllmlpError):
        _say_how_to_go_on(results)
        raise
    if is_first_process():
        _finish(results)


def preprocessing_options(changes: dict[str, Any]) -> Any:
    """Return `PreprocessingOptions` with changes as the options of a command give them."""
    from allmlp.bulk import PreprocessingOptions

    return PreprocessingOptions(**changes)


def _shown(results: "ResultFolder") -> str:
    return f"{escape(results.path)}/"


def _say_how_to_go_on(results: "ResultFolder") -> None:
    if is_first_process():
        num_done = sum(path.name.startswith("part-") for path in results.path.iterdir())
        note(
            f"{_shown(results)}: {num_done:,} of {counted(results.plan.num_parts, 'part')} are done. To go on, run the same "
            "command again."
        )


def _finish(results: "ResultFolder") -> None:
    states = results.states()
    num_errors = sum(state.num_errors for state in states)
    results.finish()
    plan = results.plan
    say(
        f"Wrote {_shown(results)} ({results.size()}): {counted(plan.num_photos, 'photo')} in "
        f"{counted(plan.num_parts, 'part')}"
    )
    code = f"import pyarrow.dataset as d; print(d.dataset({str(results.path)!r}).head(5))"
    rows = [(_python(code), "read the results")]
    if plan.task == "embed":
        rows.append((f"{command_line('search', 'PHOTO.jpg', '--in', results.path)}", "find the most similar photos"))
    if num_errors:
        note(
            f"{num_errors:,} of {plan.num_photos:,} could not be read: their rows have the reason in the column error."
        )
        raise typer.Exit(DataError.exit_code)
    next_commands(rows)


def _python(code: str) -> str:
    """Return a command that runs code in this Python, which need not be the one that a shell finds."""
    import shlex
    import shutil

    name = Path(sys.executable).name
    found = shutil.which(name)
    return shlex.join([name if found == sys.executable else sys.executable, "-c", code])
