"""Likely label errors of a run: the page and the table that show them."""

import base64
import contextlib
import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path

from markupsafe import Markup

from allmlp.data import CHOICE_COLUMNS, LabelError, Split, decode, write_label_errors
from allmlp.errors import DataError
from allmlp.io.atomic_write import write_together
from allmlp.report.pictures import Thumbnail, make_thumbnail
from allmlp.report.rendering import render_chunks

__all__ = ["MAX_SHOWN_ERRORS", "LabelErrors"]

MAX_SHOWN_ERRORS = 2_000


@dataclass(frozen=True, kw_only=True)
class ShownError:
    """A photo on the page; `photo` is None if it can no longer be read."""

    error: LabelError
    photo: Thumbnail | None


@dataclass(frozen=True, kw_only=True)
class LabelErrors:
    """Photos of a run whose labels are probably wrong, the most probable first.

    Attributes:
        run: the run folder.
        source: where its photos are.
        class_names: of the run.
        num_judged: how many photos were compared with predictions of models that did not train on them.
        num_photos: of the run, those included that could not be judged.
        errors: one per photo.
        photos: the split and the index in it of each photo of `errors`.
        notes: what limits the search, one line each.
    """

    run: Path
    source: str
    class_names: tuple[str, ...]
    num_judged: int
    num_photos: int
    errors: tuple[LabelError, ...]
    photos: tuple[tuple[Split, int], ...] = field(repr=False)
    notes: tuple[str, ...]

    def write_table(self, path: str | Path) -> Path:
        """Write the photos as CSV, `path,given,predicted,score,action`, with empty actions.

        Raises:
            ConfigError: the disk is full or the folder is not writable.
        """
        return write_label_errors(Path(path), self.errors)

    def write_page(self, path: str | Path, *, apply_command: str = "allmlp clean RUN --apply CHOICES.csv") -> Path:
        """Write the page, with at most MAX_SHOWN_ERRORS photos. It shows `apply_command` for the choices.

        Raises:
            ConfigError: the disk is full or the folder is not writable.
        """
        script = resources.files("allmlp.report").joinpath("templates", "label_errors.js").read_text(encoding="utf-8")
        shown = self.errors[:MAX_SHOWN_ERRORS]
        rows = [[error.path, error.given, error.predicted, f"{error.score:.6f}"] for error in shown]
        chunks = render_chunks(
            "label_errors.html",
            found=self,
            shown=self._shown(len(shown)),
            num_shown=len(shown),
            apply_command=apply_command,
            choices=_json(
                {"columns": [*CHOICE_COLUMNS, "to"], "rows": rows, "key": f"allmlp clean {self.run.absolute()}"}
            ),
            script=Markup(script),
            script_digest=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        )
        page = Path(path)
        write_together(
            {page: lambda file: file.writelines(chunk.encode("utf-8", "backslashreplace") for chunk in chunks)}
        )
        return page

    def _shown(self, number: int) -> Iterator[ShownError]:
        """Yield the photos one at a time, while the page is written."""
        for error, (split, index) in zip(self.errors[:number], self.photos[:number], strict=True):
            photo = None
            with contextlib.suppress(DataError):
                photo = make_thumbnail(decode(split.read(index), name=split.where(index)))
            yield ShownError(error=error, photo=photo)


def _json(value: object) -> Markup:
    """Return JSON for a script element, which no text in it can end."""
    return Markup(json.dumps(value).replace("<", "\\u003c"))
