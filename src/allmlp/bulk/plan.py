"""`Plan`: what is computed for which photos, divided into numbered parts; and its digest, which every part carries."""

import hashlib
import json
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal

from allmlp.config import from_dict, to_dict
from allmlp.errors import CheckpointError, ConfigError
from allmlp.io.atomic_write import to_json
from allmlp.io.display import escape, quote
from allmlp.io.json_object import read_json_object

__all__ = ["PLAN_FILE", "ModelOptions", "Plan", "PlanOptions", "PreprocessingOptions", "Task", "default_part_size"]

Task = Literal["predict", "embed"]

FORMAT = "allmlp bulk plan"
VERSION = 1
PLAN_FILE = "_plan.json"
_SMALLEST_PART, _LARGEST_PART, _PARTS = 256, 8192, 64


@dataclass(frozen=True, kw_only=True)
class PreprocessingOptions:
    """Changes to the model's pre-processing, as `with_preprocessing` takes them; None changes nothing."""

    mean: tuple[float, float, float] | None = None
    std: tuple[float, float, float] | None = None
    interpolation: str | None = None
    fit: str | None = None
    law: str | None = None

    def changes(self) -> dict[str, Any]:
        """Return those that are not None."""
        return {field.name: value for field in fields(self) if (value := getattr(self, field.name)) is not None}


@dataclass(frozen=True, kw_only=True)
class ModelOptions:
    """How the model is opened; see `open_model`. `image_size` is (height, width) in pixels, None for the checkpoint's."""

    image_size: tuple[int, int] | None = None
    preprocessing: PreprocessingOptions = PreprocessingOptions()
    backend: str = "auto"
    precision: str = "auto"
    device: str = "auto"


@dataclass(frozen=True, kw_only=True)
class PlanOptions:
    """What the rows hold: `top_k` classes per photo, of photos and mirror images if `flip`; see `allmlp predict`.

    With `unknown`, a column says which photos are of none of the classes, if the model has a threshold for that.
    """

    top_k: int = 5
    flip: bool = False
    min_score: float | None = None
    unknown: bool = True
    max_megapixels: int | None = None


@dataclass(frozen=True, kw_only=True)
class Plan:
    """A plan, as stored in _plan.json; the photos are listed in a file next to it.

    Attributes:
        task: which columns the parts have.
        model: the source of the model, an absolute path or a name.
        model_sha256: the digest of its weights and description (`LoadedModel.digest`).
        photos: the sources of the photos, as absolute paths and patterns.
        folder: the folder that the names in the list of photos are relative to.
        roots: folders and files that have to be there before photos are read.
        num_photos: n; part i holds the photos i * part_size to (i + 1) * part_size - 1 of the list.
        list_sha256: the digest of the file with the list.
    """

    format: str = FORMAT
    version: int = VERSION
    task: Task
    model: str
    model_sha256: str
    model_options: ModelOptions
    options: PlanOptions
    photos: tuple[str, ...]
    folder: str
    roots: tuple[str, ...]
    num_photos: int
    part_size: int
    list_sha256: str

    @property
    def num_parts(self) -> int:
        """The number of parts, at least 1."""
        return -(-self.num_photos // self.part_size)

    @property
    def digest(self) -> str:
        """The SHA-256 of all that the rows depend on: not of where the model and the photos are."""
        values = to_dict(self)
        for name in ("model", "photos", "folder", "roots"):
            del values[name]
        return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()

    def rows_of(self, part: int) -> range:
        """Return the numbers of the photos in a part."""
        return range(part * self.part_size, min((part + 1) * self.part_size, self.num_photos))

    def to_json(self) -> bytes:
        """Return the content of _plan.json."""
        return to_json({**to_dict(self), "sha256": self.digest})

    @classmethod
    def read(cls, path: Path) -> "Plan":
        """Read a _plan.json.

        Raises:
            ConfigError: it is damaged, was changed, or was written by a newer allmlp.
        """
        advice = "Give another --out FOLDER/, or delete this one."
        try:
            values = read_json_object(path, what="a plan of allmlp")
        except CheckpointError as error:
            raise ConfigError(f"{error} {advice}") from error
        shown = escape(path)
        if values.get("format") != FORMAT:
            raise ConfigError(f"{shown}: this is not a plan of allmlp. {advice}")
        version = values.get("version")
        if version != VERSION:
            newer = isinstance(version, int) and version > VERSION
            remedy = "a newer allmlp wrote it; update allmlp" if newer else f"expected {VERSION}"
            raise ConfigError(f"{shown}: the plan has version {quote(version)}: {remedy}. {advice}")
        stored = values.pop("sha256", None)
        plan = from_dict(cls, values, where=shown)
        if stored != plan.digest or plan.num_photos < 1 or plan.part_size < 1:
            raise ConfigError(f"{shown}: the plan was changed after it was written. {advice}")
        return plan


def default_part_size(num_photos: int) -> int:
    """Return the photos per part: about 64 parts, of 256 to 8,192 photos each."""
    return min(_LARGEST_PART, max(_SMALLEST_PART, -(-num_photos // _PARTS)))
