"""The command `allmlp push`."""

import json
import re
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from allmlp.cli.arguments.checkpoint import (
    CheckpointArgument,
    FitOption,
    ImageSizeOption,
    InterpolationOption,
    LawOption,
    MeanOption,
    StdOption,
    changed_preprocessing,
    load,
)
from allmlp.cli.console import command_line, next_commands, note, say
from allmlp.cli.outputs.format_losses import print_unsupported
from allmlp.errors import ConfigError
from allmlp.io.path_problem import check_regular
from allmlp.runs.layout import RunLayout

if TYPE_CHECKING:
    from allmlp.checkpoints import CardScore, Checkpoint

__all__ = ["Form", "push"]

# The hub's licence identifiers, such as "apache-2.0": letters, digits, dots, plus signs and hyphens.
_LICENSE = re.compile(r"[a-z0-9][a-z0-9.+-]{0,60}")


Form = Literal["allmlp", "timm"]
"""Formats of a repository: the keys of `FORMATS` that are folders. Importing `FORMATS` here would load NumPy."""


def push(
    checkpoint: CheckpointArgument,
    repository: Annotated[
        str, typer.Argument(metavar="REPO", help="OWNER/NAME on the hub; created if needed.", show_default=False)
    ],
    form: Annotated[
        Form, typer.Option("--to", help="timm: files that timm and transformers can also load (only erf GELU).")
    ] = "allmlp",
    private: Annotated[bool, typer.Option("--private", help="If the repository is new, make it private.")] = False,
    revision: Annotated[str, typer.Option(help="The branch; created if needed.")] = "main",
    license_id: Annotated[
        str | None,
        typer.Option(
            "--license", metavar="ID", help="The licence in the model card, such as apache-2.0.", show_default="none"
        ),
    ] = None,
    message: Annotated[str, typer.Option(help="The commit message.")] = "Upload a Mixer with allmlp",
    image_size: ImageSizeOption = None,
    mean: MeanOption = None,
    std: StdOption = None,
    interpolation: InterpolationOption = None,
    fit: FitOption = None,
    law: LawOption = None,
) -> None:
    """Upload a checkpoint and a model card to the Hugging Face hub.

    To log in, run `hf auth login` once, or set HF_TOKEN.

    \b
    Examples:
      allmlp push runs/mine OWNER/NAME --private
      allmlp push runs/mine OWNER/NAME --to timm --license apache-2.0
    """
    _check_names(repository, license_id)
    changes = changed_preprocessing(mean, std, interpolation, fit, law)
    from allmlp.checkpoints import FORMATS, check_upload, upload_folder

    loaded = _without_home(load(checkpoint, image_size, changes))
    check_upload(repository)
    losses = FORMATS[form].lost(loaded)  # raises if the checkpoint cannot be written
    with tempfile.TemporaryDirectory(prefix="allmlp-push-") as temporary:
        folder = FORMATS[form].save(loaded, Path(temporary) / "repository")
        # The run's scores were measured at its own image size, with its own pre-processing.
        evaluations = [] if image_size or changes else _evaluations(checkpoint)
        _add_card(folder, loaded, repository, revision, form, license_id, evaluations)
        sizes = {path.name: path.stat().st_size for path in sorted(folder.iterdir())}
        url = upload_folder(folder, repository, private=private, revision=revision, message=message)
    print_unsupported(form, losses)
    files = ", ".join(f"{name} ({size / 1e6:,.1f} MB)" for name, size in sizes.items())
    say(f"Uploaded {files}\n{url}")
    _print_next(repository, revision)


def _check_names(repository: str, license_id: str | None) -> None:
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", repository):
        raise ConfigError(f"REPO is {repository!r}; expected OWNER/NAME, such as ann/flowers-mixer.")
    if license_id is not None and not _LICENSE.fullmatch(license_id):
        raise ConfigError(
            f"--license is {license_id!r}; expected an identifier of the hub, such as apache-2.0, mit or cc-by-4.0 "
            "(https://huggingface.co/docs/hub/repositories-licenses)."
        )


def _without_home(checkpoint: "Checkpoint") -> "Checkpoint":
    # The source may be a path, which should not publish the user's name on this machine.
    try:
        home = Path.home()
    except RuntimeError:  # no home folder
        return checkpoint
    if not home.is_absolute() or len(home.parts) < 2:  # "/" reveals nothing
        return checkpoint
    pattern = rf"(?<![\w./~-]){re.escape(str(home))}(?![\w-]|\.\w)"  # for /home/ann, not /srv/home/ann or /home/anna
    return checkpoint.replace(source=re.sub(pattern, "~", checkpoint.source))


def _add_card(
    folder: Path,
    checkpoint: "Checkpoint",
    repository: str,
    revision: str,
    form: Form,
    license_id: str | None,
    evaluations: "list[CardScore]",
) -> None:
    """Write README.md into the folder to upload, unless the repository has one that allmlp did not write."""
    from allmlp.checkpoints import CARD_MARK, fetch_card, model_card_text

    present = fetch_card(repository, revision)
    if present is not None and CARD_MARK not in present:
        note(
            f"hf:{repository}: its README.md was not written by allmlp and is kept. For allmlp's model card, delete the file "
            "there and push again."
        )
        return
    card = model_card_text(
        checkpoint,
        repository=repository,
        revision=revision,
        form=form,
        license_id=license_id,
        evaluations=evaluations,
    )
    (folder / "README.md").write_text(card, encoding="utf-8")


def _evaluations(source: str) -> "list[CardScore]":
    """Return the scores of the best checkpoint from a run folder; none for any other source."""
    from allmlp.checkpoints import CardScore
    from allmlp.metrics import accuracy_text, wilson_interval

    metrics = RunLayout(Path(source)).metrics
    try:
        check_regular(metrics)
        values = json.loads(metrics.read_text(encoding="utf-8"))
        scores = []
        for split, figures in values["evaluations"].items():
            top1, num_photos = float(figures["top1"]), int(figures["num_examples"])
            num_correct = round(top1 * num_photos)
            low, high = figures.get("top1_interval") or wilson_interval(num_correct, num_photos)
            scores.append(CardScore(split, top1, accuracy_text(num_correct, num_photos, (low, high))))
        return scores
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return []


def _print_next(repository: str, revision: str) -> None:
    source = f"hf:{repository}" + ("" if revision == "main" else f"@{revision}")
    rows = [(command_line("inspect", source), "download and describe it")]
    rows.append((f"{command_line('predict', source)} PHOTO.jpg", "classify photos, for everyone with read access"))
    next_commands(rows)
