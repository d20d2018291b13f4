"""The model of a plan: loaded from its source, known by a digest, and opened with the plan's options."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

from allmlp.bulk.plan import ModelOptions
from allmlp.checkpoints import Checkpoint, as_arrays, load_for_size
from allmlp.errors import CheckpointError, ConfigError
from allmlp.exports import export_kind, open_export, weights_digest
from allmlp.inference import Output, RunnableModel, open_model
from allmlp.io.display import Report, discard, escape
from allmlp.io.file_kinds import sha256_of
from allmlp.io.http_download import ReportProgress

__all__ = ["LoadedModel", "load_model"]


@dataclass(frozen=True, eq=False)
class LoadedModel:
    """A model that can be opened.

    Attributes:
        source: the checkpoint, or the file of an export.
        digest: the SHA-256 of what the outputs depend on: weights and description, or the bytes of an export.
    """

    source: Checkpoint | str
    digest: str
    options: ModelOptions

    def open(self, output: Output) -> RunnableModel:
        """Open the model.

        Raises:
            ConfigError, MissingExtraError, CheckpointError: as `open_model`.
        """
        changes = None if isinstance(self.source, Checkpoint) else self.options.preprocessing.changes()
        model = open_model(
            self.source,
            backend=self.options.backend,
            device=self.options.device,
            precision=self.options.precision,
            output=output,
            preprocessing=changes or None,
        )
        size = self.options.image_size
        if size is not None and size != model.description.config.image_size:
            height, width = model.description.config.image_size
            raise ConfigError(f"--image-size: an export has one image size, here {height} × {width}.")
        return model


def load_model(
    source: str,
    options: ModelOptions,
    *,
    report: Report = discard,
    report_progress: ReportProgress | None = None,
) -> LoadedModel:
    """Load a model from any source that `allmlp predict` takes; `report` receives what was assumed.

    Raises:
        CheckpointError: nothing usable at `source`.
        ConfigError: options that do not fit the model.
    """
    kind = export_kind(source)
    if kind is not None:
        open_export(source)  # which checks it, and says what is wrong
        files = [Path(source)] + ([Path(source).with_suffix(".bin")] if kind == "openvino" else [])
        return LoadedModel(source, _digest_of(files), options)
    checkpoint = load_for_size(source, options.image_size, report_progress=report_progress)
    if changes := options.preprocessing.changes():
        checkpoint = checkpoint.with_preprocessing(changes)
    if options.image_size is not None and options.image_size != checkpoint.config.image_size:
        checkpoint = checkpoint.at_resolution(options.image_size)
    for remark in checkpoint.remarks:
        report(remark)
    return LoadedModel(checkpoint, _digest(checkpoint), options)


def _digest(checkpoint: Checkpoint) -> str:
    values = checkpoint.description.to_json_object()
    del values["source"]  # a copy elsewhere is the same model
    text = json.dumps(values, sort_keys=True)
    return hashlib.sha256(f"{text}\n{weights_digest(as_arrays(checkpoint).weights)}".encode()).hexdigest()


def _digest_of(files: list[Path]) -> str:
    digests: list[str] = []
    for path in files:
        try:
            digests.append(sha256_of(path))
        except OSError as error:
            raise CheckpointError(f"{escape(path)}: cannot be read ({error.strerror or error}).") from error
    return digests[0] if len(digests) == 1 else hashlib.sha256("\n".join(digests).encode()).hexdigest()
