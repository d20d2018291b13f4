"""The command `allmlp push`."""

from typing import Annotated, Literal

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

__all__ = ["Form", "push"]

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

    To log in, run `hf auth login` once, or set HF_TOKEN. No absolute path of this computer is published.

    \b
    Examples:
      allmlp push runs/mine OWNER/NAME --private
      allmlp push runs/mine OWNER/NAME --to timm --license apache-2.0
    """
    changes = changed_preprocessing(mean, std, interpolation, fit, law)
    from allmlp.checkpoints import check_push_names
    from allmlp.checkpoints import push as publish

    check_push_names(repository, license_id, names=("REPO", "--license"))
    pushed = publish(
        load(checkpoint, image_size, changes),
        repository,
        to=form,
        private=private,
        revision=revision,
        license_id=license_id,
        message=message,
        run=None
        if image_size or changes
        else checkpoint,  # its scores were measured at its own size and pre-processing
        report=note,
    )
    print_unsupported(form, pushed.unsupported)
    files = ", ".join(f"{name} ({size / 1e6:,.1f} MB)" for name, size in pushed.files.items())
    say(f"Uploaded {files}\n{pushed.url}")
    _print_next(repository, revision)


def _print_next(repository: str, revision: str) -> None:
    source = f"hf:{repository}" + ("" if revision == "main" else f"@{revision}")
    rows = [(command_line("inspect", source), "download and describe it")]
    rows.append((f"{command_line('predict', source)} PHOTO.jpg", "classify photos, for everyone with read access"))
    next_commands(rows)
