"""`allmlp push`."""

import json
import re
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from allmlp.cli.arguments.checkpoint import CheckpointArgument, ImageSizeOption, load
from allmlp.cli.console import command_line, next_commands, note
from allmlp.cli.unsupported import print_unsupported
from allmlp.errors import ConfigError
from allmlp.runs.layout import RunLayout

if TYPE_CHECKING:
    from allmlp.checkpoints import Checkpoint, Evaluation

__all__ = ["Form", "push"]

# The hub's names of licences, such as "apache-2.0": letters, digits, dots and hyphens.
_LICENSE = re.compile(r"[a-z0-9][a-z0-9.+-]{0,60}")


Form = Literal["allmlp", "timm"]
"""What a repository's files are for: the keys of `FORMATS` that are folders, which would take NumPy to import here."""


def push(
    checkpoint: CheckpointArgument,
    repository: Annotated[
        str, typer.Argument(metavar="REPO", help="OWNER/NAME on the hub; made if needed.", show_default=False)
    ],
    form: Annotated[
        Form, typer.Option("--to", help="timm: files that timm and transformers load too (erf GELU only).")
    ] = "allmlp",
    private: Annotated[bool, typer.Option("--private", help="Make a new repository private.")] = False,
    revision: Annotated[str, typer.Option(help="The branch; made if needed.")] = "main",
    license_id: Annotated[
        str | None,
        typer.Option("--license", metavar="ID", help="Such as apache-2.0, for the card.", show_default="left open"),
    ] = None,
    message: Annotated[str, typer.Option(help="The commit's message.")] = "Upload a Mixer with allmlp",
    image_size: ImageSizeOption = None,
) -> None:
    """Upload a checkpoint and a model card to the Hugging Face hub. Log in once with `hf auth login`, or set HF_TOKEN."""
    _check_names(repository, license_id)
    from allmlp.checkpoints import FORMATS, check_upload, upload_folder

    check_upload(repository)
    loaded = _without_home(load(checkpoint, image_size))
    losses = FORMATS[form].lost(loaded)  # what cannot be written is found here
    with tempfile.TemporaryDirectory(prefix="allmlp-push-") as temporary:
        folder = FORMATS[form].save(loaded, Path(temporary) / "repository")
        # Measured at the size of the training.
        evaluations = [] if image_size else _evaluations(checkpoint)
        _add_card(folder, loaded, repository, revision, form, license_id, evaluations)
        sizes = {path.name: path.stat().st_size for path in sorted(folder.iterdir())}
        url = upload_folder(folder, repository, private=private, revision=revision, message=message)
    print_unsupported(form, losses)
    files = ", ".join(f"{name} ({size / 1e6:,.1f} MB)" for name, size in sizes.items())
    print(f"Uploaded {files}\n{url}")
    _print_next(repository, revision)


def _check_names(repository: str, license_id: str | None) -> None:
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", repository):
        raise ConfigError(f"REPO is {repository!r}; expected OWNER/NAME, such as ann/flowers-mixer.")
    if license_id is not None and not _LICENSE.fullmatch(license_id):
        raise ConfigError(
            f"--license is {license_id!r}; expected one of the hub's names, such as apache-2.0, mit or cc-by-4.0 "
            "(https://huggingface.co/docs/hub/repositories-licenses)."
        )


def _without_home(checkpoint: "Checkpoint") -> "Checkpoint":
    # The source may be a path, and who the user is on this machine is nobody's business.
    try:
        home = Path.home()
    except RuntimeError:  # nobody's
        return checkpoint
    if not home.is_absolute() or len(home.parts) < 2:  # "/" is no secret
        return checkpoint
    whole = rf"(?<![\w./~-]){re.escape(str(home))}(?![\w-]|\.\w)"  # neither /srv/home/ann nor /home/anna for /home/ann
    return checkpoint.replace(source=re.sub(whole, "~", checkpoint.source))


def _add_card(
    folder: Path,
    checkpoint: "Checkpoint",
    repository: str,
    revision: str,
    form: Form,
    license_id: str | None,
    evaluations: "list[Evaluation]",
) -> None:
    """Write README.md into a folder that is to be uploaded, unless it would replace one that somebody wrote."""
    from allmlp.checkpoints import CARD_MARK, fetch_card, model_card_text

    present = fetch_card(repository, revision)
    if present is not None and CARD_MARK not in present:
        note(
            f"hf:{repository}: its README.md was not written by allmlp and is kept. For a card by allmlp, delete it there "
            "and push again."
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


def _evaluations(source: str) -> "list[Evaluation]":
    """Return what a run folder says of its best checkpoint; nothing for any other source."""
    from allmlp.checkpoints import Evaluation

    try:
        values = json.loads(RunLayout(Path(source)).metrics.read_text(encoding="utf-8"))
        return [
            Evaluation(split, float(figures["top1"]), int(figures["num_examples"]))
            for split, figures in values["evaluations"].items()
        ]
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return []


def _print_next(repository: str, revision: str) -> None:
    source = f"hf:{repository}" + ("" if revision == "main" else f"@{revision}")
    rows = [(command_line("inspect", source), "download it again and show what it is")]
    rows.append((f"{command_line('predict', source)} PHOTO.jpg", "anybody who may read the repository can"))
    next_commands(rows)
