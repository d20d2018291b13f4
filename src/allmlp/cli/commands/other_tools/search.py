"""The command `allmlp search`."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from allmlp.cli.arguments.output_format import Format, FormatOption
from allmlp.cli.arguments.photos import MaxMegapixelsOption, limit_photos
from allmlp.cli.console import aligned, download_bar, heading, note, say
from allmlp.cli.progress import photo_bar
from allmlp.errors import CheckpointError, ConfigError, DataError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from allmlp.bulk import Match, Plan, ResultFolder

__all__ = ["search"]


def search(
    photo: Annotated[
        str, typer.Argument(metavar="PHOTO", help="The photo to compare the others with.", show_default=False)
    ],
    folder: Annotated[
        str,
        typer.Option("--in", metavar="FOLDER", help="What `allmlp embed ... --out FOLDER/` wrote.", show_default=False),
    ],
    model: Annotated[
        str | None,
        typer.Option(metavar="CHECKPOINT", help="Where the model of FOLDER is now.", show_default="where it was"),
    ] = None,
    top_k: Annotated[int, typer.Option(metavar="N", min=1, help="How many photos.")] = 10,
    output_format: FormatOption = Format.TEXT,
    max_megapixels: MaxMegapixelsOption = None,
) -> None:
    """Find the photos most similar to one, in a folder of features.

    Every photo is compared, by the cosine of the angle between the features.

    \b
    Example:
      allmlp embed runs/mine photos/ --out results/
      allmlp search photo.jpg --in results/
    """
    from allmlp.bulk import read_results, search_parts

    results = read_results(Path(folder))
    limit_photos(results.plan.options.max_megapixels if max_megapixels is None else max_megapixels)
    query = _features_of(photo, results, model)
    with photo_bar() as progress:
        # One more: the photo itself may be among them.
        found, num_compared = search_parts(results, query, top_k=top_k + 1, progress=progress)
    own = os.path.realpath(photo)
    matches = [match for match in found if os.path.realpath(_whole(results.plan, match.path)) != own][:top_k]
    if output_format is Format.JSON:
        from allmlp.io.json_object import json_text

        rows = [{"path": match.path, "similarity": match.similarity, "index": match.number} for match in matches]
        print(json_text({"photo": photo, "num_compared": num_compared, "matches": rows}))
        return
    _print(matches)
    num_missing = results.plan.num_photos - num_compared
    if num_missing:
        note(
            f"{num_missing:,} of {results.plan.num_photos:,} photos have no features: not computed yet, or not readable."
        )


def _whole(plan: "Plan", path: str) -> str:
    return os.path.join(plan.folder, path)  # noqa: PTH118 - the name of a photo may be no path


def _features_of(photo: str, results: "ResultFolder", source: str | None) -> "NDArray[np.float32]":
    """Return the features of the photo by the model of the plan.

    Raises:
        ConfigError: another model, or a folder in place of a photo.
        CheckpointError: the model is not where it was.
        DataError: the photo cannot be read.
    """
    if os.path.isdir(photo):  # noqa: PTH112 - Path.is_dir raises if a name is too long or inaccessible
        raise ConfigError(f"{photo}: a folder; expected one photo.")
    from allmlp.bulk import open_plan_model
    from allmlp.inference import Embedder

    if results.plan.task != "embed":
        raise ConfigError(
            f"{results.path}: holds predictions, not features. Write features with `allmlp embed --out FOLDER/`."
        )
    try:
        with download_bar() as report_progress:
            # The device of the plan may be one of another machine.
            device = "cpu" if results.plan.model_options.device == "cpu" else "auto"
            opened = open_plan_model(results, source, device=device, report_progress=report_progress)
    except CheckpointError as error:
        if source is not None:
            raise
        raise CheckpointError(f"{error} If the model has moved, add --model CHECKPOINT.") from error
    features: NDArray[np.float32] = Embedder(opened, batch_size=1).embed(photo)[0]
    return features


def _print(matches: "list[Match]") -> None:
    from allmlp.io.display import escape

    if not matches:
        raise DataError("There are no other photos to compare it with.")
    rows = [(f"{match.similarity:.3f}", escape(match.path)) for match in matches]
    lines = aligned([("similarity", "photo"), *rows], right=(0,))
    heading(lines[0])
    say("\n".join(lines[1:]))
