"""`Explainer` and `explain`: explanations of photos in any form."""

import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from allmlp.checkpoints import Checkpoint, PreprocessingChanges
from allmlp.data import Split
from allmlp.errors import ConfigError, DataError
from allmlp.explanations.class_maps import ClassMap, compute_class_maps
from allmlp.explanations.contributions import ContributionModel, Contributions, open_contributions
from allmlp.explanations.explanation import Explanation, rows_of
from allmlp.explanations.geometry import patch_geometry
from allmlp.explanations.occlusion import occlude
from allmlp.inference import Photo, as_iterable, as_photos, loaded_photos, raise_unreadable
from allmlp.io.display import Progress, no_progress, quote

__all__ = ["NUM_EXPLAINED_CLASSES", "Explainer", "PreparedPhoto", "explain"]

NUM_EXPLAINED_CLASSES = 3
"""The number of classes that are explained if none are named: the most probable ones."""

_BATCH_SIZE = 16
_PHOTO_SIDE = 512
_LEAST_SIDE = 256


class PreparedPhoto(NamedTuple):
    """A photo that is ready to be explained.

    Attributes:
        image: what `Preparation.resize` made of it.
        size: its (height, width).
        photo: the photo reduced, for `Explanation.photo`.
    """

    image: NDArray[Any]
    size: tuple[int, int]
    photo: NDArray[np.uint8]


class Explainer:
    """Explains a model's answers for photos. The next photos, a bounded number, are decoded while the model computes.

    Attributes:
        class_names: K names, in the model's order.
    """

    def __init__(self, model: ContributionModel) -> None:
        """Use a model that `from_checkpoint` opened.

        Raises:
            ConfigError: not such a model.
        """
        if not isinstance(model, ContributionModel):
            raise ConfigError(
                f"model is {quote(model)}; from a path, a name or a Checkpoint: Explainer.from_checkpoint(...)."
            )
        self.class_names = model.description.class_names
        self._model = model

    @classmethod
    def from_checkpoint(
        cls,
        source: str | Path | Checkpoint,
        *,
        backend: str = "auto",
        device: str = "auto",
        preprocessing: PreprocessingChanges | None = None,
        unknown: bool = True,
    ) -> "Explainer":
        """Open a run folder, a checkpoint, an export or any other source that `open_model` takes.

        `backend` and `device` are as in `open_model`; contributions are computed in float32. `preprocessing` overrides the
        source's, as in `load_checkpoint`; `unknown` is as in `Predictor`. Exports are explained without torch.

        Raises:
            CheckpointError: nothing usable at `source`.
            ConfigError: an unavailable device, a model without classes, or a backend that gives no contributions.
            MissingExtraError: a library of the backend is not installed.
        """
        return cls(
            open_contributions(source, backend=backend, device=device, preprocessing=preprocessing, unknown=unknown)
        )

    def explain(self, photo: Photo, classes: Sequence[str] | None = None, *, occlusion: bool = False) -> Explanation:
        """Explain the answer for one photo, in any form that `Predictor.predict` takes.

        Args:
            photo: the photo.
            classes: the classes to show; None: the three most probable ones.
            occlusion: also compute what the answer depends on, which takes up to 64 more forward passes.

        Raises:
            DataError: it cannot be read or decoded, or is a folder or a list.
            ConfigError: not a class of the model.
        """
        photos = list(itertools.islice(as_photos(photo), 2))
        if len(photos) != 1:
            raise DataError("explain takes one photo; for several: Explainer.stream(photos).")
        (answer,) = self.stream(photos, classes, occlusion=occlusion)
        raise_unreadable([answer])
        assert isinstance(answer, Explanation)
        return answer

    def stream(
        self, photos: Photo | Iterable[Photo], classes: Sequence[str] | None = None, *, occlusion: bool = False
    ) -> Iterator[Explanation | DataError]:
        """Yield one explanation per photo, in order; in its place, the error if the photo is unreadable.

        Raises:
            DataError: neither a photo nor an iterable.
            ConfigError: not a class of the model.
        """
        return self._stream(as_iterable(photos), self._chosen(classes), occlusion)

    def prepare(self, pixels: NDArray[np.uint8], *, keeps_photo: bool = True) -> PreparedPhoto:
        """Return what `explain_prepared` takes, from RGB pixels (h, w, 3). Any thread may call it.

        `keeps_photo` False makes no reduced copy, without which nothing can be drawn.
        """
        kept = _resized(pixels) if keeps_photo else np.empty((0, 0, 3), np.uint8)
        return PreparedPhoto(self._model.preparation.resize(pixels), (pixels.shape[0], pixels.shape[1]), kept)

    def explain_prepared(self, photo: PreparedPhoto, classes: Sequence[str] | None = None) -> Explanation:
        """Explain the answer for a photo that another thread has prepared; `classes` are as in `explain`.

        Raises:
            ConfigError: not a class of the model.
        """
        (answer,) = self._explained([("photo", photo)], self._chosen(classes), occlusion=False)
        return answer

    def class_maps(
        self, photos: Split, rows: NDArray[np.int64], *, progress: Progress = no_progress
    ) -> tuple[ClassMap, ...]:
        """Return what the patches of each class's photos contribute to its logit on average.

        Of the first 60 classes, and at most 50 photos each. A model that uses a shortcut, such as a mark in a corner, shows it.

        Args:
            photos: labelled photos.
            rows: (n,), the index of each photo's class among `class_names`; -1 leaves a photo out.
            progress: called with the number of photos done and their total after each batch.

        Raises:
            DataError: photos that cannot be read or decoded.
        """
        return compute_class_maps(self._model, photos, rows, progress=progress)

    def _chosen(self, classes: Sequence[str] | None) -> list[int] | None:
        """Return the rows of the classes to explain; None for the most probable ones. Raises ConfigError."""
        if isinstance(classes, str):
            raise ConfigError(f"classes is {quote(classes)}; expected a list of class names.")
        chosen = None if classes is None else rows_of(self.class_names, list(classes))
        if chosen == []:
            raise ConfigError("classes is empty; name at least one class, or leave it out for the most probable ones.")
        return chosen

    def _stream(
        self, photos: Iterable[Photo], chosen: list[int] | None, occlusion: bool
    ) -> Iterator[Explanation | DataError]:
        loaded = loaded_photos(photos, self.prepare)
        while chunk := list(itertools.islice(loaded, _BATCH_SIZE)):
            readable = [(name, photo) for name, photo in chunk if not isinstance(photo, DataError)]
            answers = self._explained(readable, chosen, occlusion)
            for _, photo in chunk:
                yield photo if isinstance(photo, DataError) else next(answers)

    def _explained(
        self, photos: Sequence[tuple[str, PreparedPhoto]], chosen: list[int] | None, occlusion: bool
    ) -> Iterator[Explanation]:
        """Explain a batch of named photos; occlusion is computed when its turn comes."""
        if not photos:
            return
        prepared = [photo.image for _, photo in photos]
        images = self._model.preparation.normalise(np.stack(prepared))
        found = self._model.compute(images)
        are_unknown = self._model.are_unknown(prepared)
        for number, (name, photo) in enumerate(photos):
            drop = occlude(self._model, images[number], found.logits[number]) if occlusion else None
            answer = self._explanation(name, photo, found, number, chosen)
            yield replace(answer, occlusion=drop, is_unknown=bool(are_unknown[number]))

    def _explanation(
        self,
        name: str,
        photo: PreparedPhoto,
        found: Contributions,
        number: int,
        chosen: list[int] | None,
    ) -> Explanation:
        description = self._model.description
        grid = description.config.grid
        logits = found.logits[number]
        rows = np.argsort(-logits, kind="stable")[:NUM_EXPLAINED_CLASSES].tolist() if chosen is None else chosen
        return Explanation(
            source=name,
            class_names=self.class_names,
            classes=tuple(self.class_names[row] for row in rows),
            logits=logits,
            bias=self._model.bias,
            contributions=found.values[number].reshape(*grid, -1),
            geometry=patch_geometry(description.preprocessing, grid, photo.size),
            photo=photo.photo,
            blocks=None if found.blocks is None else found.blocks[number],
            temperature=description.temperature,
        )


def _resized(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Reduce a photo (h, w, 3) to at most 512 pixels on each side; enlarge a small one by a whole number, to 256 or less."""
    photo = Image.fromarray(pixels)
    factor = _LEAST_SIDE // max(photo.size)
    if factor > 1:
        photo = photo.resize((factor * photo.width, factor * photo.height), Image.Resampling.NEAREST)
    photo.thumbnail((_PHOTO_SIDE, _PHOTO_SIDE), Image.Resampling.LANCZOS)
    return np.array(photo)


def explain(
    source: "str | Path | Checkpoint | Explainer",
    photo: Photo,
    classes: Sequence[str] | None = None,
    *,
    occlusion: bool = False,
    backend: str = "auto",
    device: str = "auto",
) -> Explanation:
    """Explain a model's answer for one photo: what each patch contributes to each logit.

    Args:
        source: a path, a name, a `Checkpoint` or an export, as `open_model` takes it; or an `Explainer`, which opens the model
            once for many photos.
        photo: in any form that `Predictor.predict` takes.
        classes: the classes to show; None: the three most probable ones.
        occlusion: also compute what the answer depends on, which takes up to 64 more forward passes.
        backend, device: as in `open_model`; an `Explainer` has its own.

    Raises:
        CheckpointError: nothing usable at `source`.
        DataError: the photo cannot be read or decoded.
        ConfigError: not a class of the model, an unavailable device, a model without classes, or a backend without
            contributions.
        MissingExtraError: a library of the backend is not installed.
    """
    if not isinstance(source, Explainer):
        source = Explainer.from_checkpoint(source, backend=backend, device=device)
    elif (backend, device) != ("auto", "auto"):
        raise ConfigError("An Explainer has a backend and a device already; leave both out.")
    return source.explain(photo, classes, occlusion=occlusion)
