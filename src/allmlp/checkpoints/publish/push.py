"""`push`: a checkpoint and its model card, published on the Hugging Face Hub."""

import re
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from allmlp.checkpoints.checkpoint import Checkpoint
from allmlp.checkpoints.formats.registry import FORMATS
from allmlp.checkpoints.load import load_checkpoint
from allmlp.checkpoints.publish.local_paths import without_local_paths
from allmlp.checkpoints.publish.model_card import CARD_MARK, model_card_text
from allmlp.checkpoints.publish.run_scores import run_scores
from allmlp.checkpoints.publish.upload import check_upload, fetch_card, upload_folder
from allmlp.errors import ConfigError
from allmlp.io.display import Report, discard, quote
from allmlp.io.path_problem import path_text

__all__ = ["PushResult", "check_push_names", "push"]

# The hub's licence identifiers, such as "apache-2.0": letters, digits, dots, plus signs and hyphens.
_LICENSE = re.compile(r"[a-z0-9][a-z0-9.+-]{0,60}")


@dataclass(frozen=True, kw_only=True)
class PushResult:
    """What was published.

    Attributes:
        url: of the commit.
        files: the size of each uploaded file in bytes, by name.
        unsupported: what the format cannot hold of the checkpoint, one sentence per item.
    """

    url: str
    files: Mapping[str, int]
    unsupported: tuple[str, ...]


def push(
    checkpoint: str | Path | Checkpoint,
    repository: str,
    *,
    to: str = "allmlp",
    private: bool = False,
    revision: str = "main",
    license_id: str | None = None,
    message: str = "Upload a Mixer with allmlp",
    run: str | Path | None = None,
    report: Report = discard,
) -> PushResult:
    """Upload a checkpoint and a model card to the Hugging Face Hub, as one commit. To log in, run `hf auth login` once.

    No absolute path of this machine is published: where the weights came from has the name of a file or folder in its place.
    A README.md that allmlp did not write is kept.

    Args:
        checkpoint: a path or a name, as `load_checkpoint` takes it, or a checkpoint.
        repository: "OWNER/NAME"; created if needed.
        to: "allmlp", or "timm" for files that timm and transformers can also load (only erf GELU).
        private: if the repository is new, make it private.
        revision: the branch; created if needed.
        license_id: the licence in the card, an identifier of the Hub such as "apache-2.0"; None states no licence.
        message: the commit message.
        run: a run folder, whose scores are in the card; None takes `checkpoint`, if that is the path of one.
        report: takes a line if the README.md of the repository is kept.

    Raises:
        CheckpointError: nothing usable at `checkpoint`, no access token, no permission or no network, or the repository is
            public although `private` is requested.
        ConfigError: an invalid name, licence or format, or a Mixer that the format cannot hold.
    """
    check_push_names(repository, license_id)
    form = FORMATS.get(to) if isinstance(to, str) else None
    if form is None or not form.is_folder:
        folders = " or ".join(repr(name) for name, each in FORMATS.items() if each.is_folder)
        raise ConfigError(f"to is {quote(to)}; expected {folders}.")
    loaded = checkpoint if isinstance(checkpoint, Checkpoint) else load_checkpoint(checkpoint)
    folder_of_run = path_text(checkpoint if run is None else run)
    if run is not None and folder_of_run is None:
        raise ConfigError(f"run is {quote(run)}; expected a path.")
    loaded = loaded.replace(source=without_local_paths(loaded.source))
    check_upload(repository)
    unsupported = form.lost(loaded)  # raises if the checkpoint cannot be written
    with tempfile.TemporaryDirectory(prefix="allmlp-push-") as temporary:
        folder = form.save(loaded, Path(temporary) / "repository")
        present = fetch_card(repository, revision)
        if present is not None and CARD_MARK not in present:
            report(
                f"hf:{repository}: its README.md was not written by allmlp and is kept. For allmlp's model card, delete the "
                "file there and push again."
            )
        else:
            card = model_card_text(
                loaded,
                repository=repository,
                revision=revision,
                form=to,
                license_id=license_id,
                evaluations=[] if folder_of_run is None else run_scores(folder_of_run),
            )
            (folder / "README.md").write_text(card, encoding="utf-8")
        sizes = {path.name: path.stat().st_size for path in sorted(folder.iterdir())}
        url = upload_folder(folder, repository, private=private, revision=revision, message=message)
    return PushResult(url=url, files=sizes, unsupported=unsupported)


def check_push_names(
    repository: object, license_id: object, names: tuple[str, str] = ("repository", "license_id")
) -> None:
    """Check a repository and a licence; `names` are those of the options in messages. Raises ConfigError."""
    if not isinstance(repository, str) or not re.fullmatch(r"[\w.-]+/[\w.-]+", repository):
        raise ConfigError(f"{names[0]} is {quote(repository)}; expected OWNER/NAME, such as ann/flowers-mixer.")
    if license_id is not None and not (isinstance(license_id, str) and _LICENSE.fullmatch(license_id)):
        raise ConfigError(
            f"{names[1]} is {quote(license_id)}; expected an identifier of the hub, such as apache-2.0, mit or cc-by-4.0 "
            "(https://huggingface.co/docs/hub/repositories-licenses)."
        )
