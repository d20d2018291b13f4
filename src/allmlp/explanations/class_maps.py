"""`ClassMap`: what the patches of a class's photos contribute on average, and what its answers depend on: shortcuts."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from allmlp.data import Split, split_batches
from allmlp.explanations.contributions import ContributionModel
from allmlp.explanations.occlusion import occlude
from allmlp.io.display import Progress, no_progress

__all__ = ["MAX_MAPPED_CLASSES", "ClassMap", "compute_class_maps"]

MAX_MAPPED_CLASSES = 60
_MAX_PER_CLASS = 50
_BATCH_SIZE = 16
_MAX_TILES = 16
_MAX_OCCLUDED_IMAGES = 2000  # forward passes of occlusion in all


@dataclass(frozen=True, kw_only=True, eq=False)
class ClassMap:
    """The mean over photos of a class.

    Attributes:
        name: of the class.
        num_photos: the photos that were averaged.
        values: (rows, columns) float32: what each patch contributes to the logit of this class, less the mean of its
            contributions to all classes, which changes no probability.
        occlusion: (rows, columns) float32: by how much the logit of this class, less the mean of all logits, falls if a tile is
            covered. Token mixing spreads what a patch shows over all patches, so that this finds shortcuts more surely.
        num_occluded: the photos over which `occlusion` is averaged.
        photo: the mean of what the model sees, uint8 RGB (H, W, 3).
    """

    name: str
    num_photos: int
    values: NDArray[np.float32]
    occlusion: NDArray[np.float32]
    num_occluded: int
    photo: NDArray[np.uint8]


def compute_class_maps(
    model: ContributionModel, photos: Split, rows: NDArray[np.int64], *, progress: Progress = no_progress
) -> tuple[ClassMap, ...]:
    """Return the maps of the first 60 classes that have photos, in the model's order, of at most 50 photos each.

    Occlusion takes at most 2,000 more forward passes, or 16 per class.

    Args:
        model: to be explained.
        photos: the photos.
        rows: (n,), the index of each photo's class among the model's classes; photos with another value are left out.
        progress: called with the number of photos done and their total after each batch.

    Raises:
        DataError: photos that cannot be read or decoded.
    """
    names = model.description.class_names
    classes = np.unique(rows[(rows >= 0) & (rows < len(names))])[:MAX_MAPPED_CLASSES]
    if not len(classes):
        return ()
    members = [np.flatnonzero(rows == row) for row in classes]
    # Spread evenly: photos of a class may be sorted by how alike they are.
    chosen = [each[np.unique(np.linspace(0, len(each) - 1, _MAX_PER_CLASS).round().astype(int))] for each in members]
    order = np.concatenate(chosen)
    of_photo = np.repeat(np.arange(len(classes)), [len(each) for each in chosen])
    grid, (height, width) = model.description.config.grid, model.description.config.image_size
    sums = np.zeros((len(classes), grid[0] * grid[1]))
    num_occluded = max(1, _MAX_OCCLUDED_IMAGES // (_MAX_TILES * len(classes)))
    losses = np.zeros((len(classes), *grid))
    counts = np.zeros(len(classes), np.int64)
    images = np.zeros((len(classes), 3, height, width), np.float32)
    part = photos.subset(order)
    done = 0
    for batch in split_batches(part, part.labels * 0, model.preparation, num_classes=1, batch_size=_BATCH_SIZE):
        shown = batch.images[np.asarray(batch.mask, bool)]
        values, logits, _ = model.compute(shown)  # (b, S, K) and (b, K)
        for image, contributions, answer in zip(shown, values, logits, strict=True):
            number = of_photo[done]
            sums[number] += contributions[:, classes[number]] - contributions.mean(axis=1)
            images[number] += image
            if counts[number] < num_occluded:
                drop = occlude(model, image, answer, max_tiles=_MAX_TILES)
                losses[number] += drop[..., classes[number]] - drop.mean(axis=2)
                counts[number] += 1
            done += 1
        progress(done, len(order))
    preprocessing = model.description.preprocessing
    mean, std = (np.array(values, np.float32) for values in (preprocessing.mean, preprocessing.std))
    return tuple(
        ClassMap(
            name=names[row],
            num_photos=len(each),
            values=(total / len(each)).reshape(grid).astype(np.float32),
            occlusion=(loss / count).astype(np.float32),
            num_occluded=int(count),
            photo=np.rint(np.clip((image / len(each)).transpose(1, 2, 0) * std + mean, 0, 1) * 255).astype(np.uint8),
        )
        for row, each, total, loss, count, image in zip(classes, chosen, sums, losses, counts, images, strict=True)
    )
