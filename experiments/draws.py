"""Method shared by several experiments: draw a few photos as a user would have them, and keep the rest as unseen photos."""

import dataclasses
import json

import numpy as np

from allmlp.data import ImageDataset, open_dataset


def draw(source, num_photos, seed, *, max_unseen):
    """Return a data set of `num_photos` train photos, and one of at most `max_unseen` other photos as its test split.

    Both are drawn from all splits of the source, so that each class has its natural share; classes of which fewer than four
    photos were drawn are left out of both.
    """
    dataset = open_dataset(source)
    pool = [(split, index) for split in dataset.splits.values() for index in range(len(split))]
    order = np.random.default_rng(seed).permutation(len(pool))
    labels = np.array([pool[position][0].labels[pool[position][1]] for position in order])
    counts = np.bincount(labels[:num_photos], minlength=len(dataset.class_names))
    kept = np.flatnonzero(counts >= 4)
    drawn = [position for position, label in zip(order[:num_photos], labels, strict=False) if label in kept]
    unseen = [
        position for position, label in zip(order[num_photos:], labels[num_photos:], strict=True) if label in kept
    ]
    return _dataset(dataset, pool, drawn, kept, "train"), _dataset(dataset, pool, unseen[:max_unseen], kept, "test")


def once(file, measure, *arguments):
    """Return `measure(*arguments)`, a dictionary of figures, and keep it in `file`; a later call reads it from there."""
    if not file.exists():
        figures = measure(*arguments)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(figures))
        print(json.dumps(figures), flush=True)
    return json.loads(file.read_text())


def _dataset(dataset, pool, positions, kept, name):
    """Return the photos at `positions` of the pool as the only split of a data set, read from the splits they come from."""
    photos = sorted(
        (f"{dataset.class_names[split.labels[index]]}/{position:06}", split, index)
        for position in map(int, positions)
        for split, index in [pool[position]]
    )
    names = tuple(dataset.class_names[label] for label in kept)
    row = {int(label): number for number, label in enumerate(kept)}
    split = dataclasses.replace(
        next(iter(dataset.splits.values())),
        sample_ids=tuple(sample_id for sample_id, _, _ in photos),
        labels=np.array([row[int(split.labels[index])] for _, split, index in photos], np.int64),
        reader=_Readers(tuple((split.reader, index) for _, split, index in photos)),
    )
    return ImageDataset(names, {name: split}, dataset.source)


class _Readers:
    """Reads photos from the readers of several splits."""

    def __init__(self, places):
        self._places = places

    def read(self, index):
        reader, position = self._places[index]
        return reader.read(position)

    def where(self, index):
        reader, position = self._places[index]
        return reader.where(position)

    def subset(self, indices):
        return _Readers(tuple(self._places[int(index)] for index in indices))

    def storage_order(self):
        return np.arange(len(self._places))

    def sizes(self):
        return None

    def photo_files(self):
        return ()
