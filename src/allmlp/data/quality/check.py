"""`check`, which reads every photo of a data set once and returns what would hurt training."""

from collections.abc import Callable
from pathlib import Path

from allmlp.data.dataset import ImageDataset, Split
from allmlp.data.decoding.reasons import ShortageError
from allmlp.data.opening import open_dataset
from allmlp.data.public.registry import absolute_source
from allmlp.data.quality.copy_findings import copy_findings
from allmlp.data.quality.duplicates import PhotoRecord
from allmlp.data.quality.facts_cache import FactsCache, stamps_of
from allmlp.data.quality.file_findings import class_findings, class_sizes, file_findings, name_findings
from allmlp.data.quality.findings import PHOTO_FINDINGS, CheckedPhoto
from allmlp.data.quality.photo_facts import PhotoFacts, photo_facts, unreadable_facts
from allmlp.data.quality.report import QualityReport
from allmlp.errors import DataError
from allmlp.hardware.num_decoding_threads import num_decoding_threads
from allmlp.io.ordered_map import ordered_map

__all__ = ["check"]

_SEVERITIES = ("error", "warning", "note")
_TASK = 8  # photos that a thread examines in one go: handing over small photos one by one takes a tenth of the time


def check(
    data: str | Path | ImageDataset,
    *,
    use_cache: bool = True,
    num_workers: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> QualityReport:
    """Check the photos of a data set; `allmlp check` prints this report. Nothing of the data set is changed.

    Args:
        data: a path or a name, as `open_dataset` takes it, or an `ImageDataset`.
        use_cache: remember the facts about unchanged files in allmlp's cache folder, and use those of earlier checks.
        num_workers: threads that decode; 0 decodes in the calling thread, None takes one per CPU core.
        progress: called with the number of photos done and the total after every few photos.

    Raises:
        DataError: the data set cannot be opened.
    """
    dataset = data if isinstance(data, ImageDataset) else open_dataset(data)
    source = absolute_source(dataset) if use_cache else None
    workers = num_decoding_threads() if num_workers is None else num_workers
    photos = _read_all(dataset, FactsCache(source), num_workers=workers, progress=progress)
    sizes = class_sizes(dataset)
    findings = [finding for of_kind in PHOTO_FINDINGS for finding in of_kind(photos)]
    findings += copy_findings(photos, num_workers=workers)
    findings += [*name_findings(photos), *file_findings(dataset, photos, sizes), *class_findings(sizes)]
    return QualityReport(
        source=dataset.source,
        num_photos={name: len(split) for name, split in dataset.splits.items()},
        class_sizes=sizes,
        findings=tuple(sorted(findings, key=lambda finding: _SEVERITIES.index(finding.severity))),
        notes=dataset.notes,
    )


def _read_all(
    dataset: ImageDataset, cache: FactsCache, *, num_workers: int, progress: Callable[[int, int], None] | None
) -> list[CheckedPhoto]:
    total, done = sum(map(len, dataset.splits.values())), 0
    photos: list[CheckedPhoto] = []
    for name, split in dataset.splits.items():
        facts: dict[int, PhotoFacts] = {}
        where = [split.where(index) for index in range(len(split))]
        stamps = stamps_of(split) if cache.remembers else [""] * len(split)

        def examine(
            indices: list[int], split: Split = split, where: list[str] = where, stamps: list[str] = stamps
        ) -> list[PhotoFacts]:
            found = []
            for index in indices:
                known = cache.get(where[index], stamps[index])
                if known is None:
                    known = _facts(split, index, where[index])
                    cache.put(where[index], stamps[index], known)
                found.append(known)
            return found

        order = split.storage_order().tolist()
        tasks = [order[start : start + _TASK] for start in range(0, len(order), _TASK)]
        for indices, found in zip(tasks, ordered_map(examine, tasks, num_workers), strict=True):
            facts.update(zip(indices, found, strict=True))
            done += len(indices)
            if progress is not None:
                progress(done, total)
        prefixes = _prefixes(dataset)
        for index, label in enumerate(split.labels.tolist()):
            shown = _without_prefix(where[index], prefixes)
            record = PhotoRecord(name, shown, dataset.class_names[label], facts[index].digest)
            photos.append(CheckedPhoto(record, facts[index], split.sample_ids[index].partition("#")[0]))
    cache.save()
    return photos


def _facts(split: Split, index: int, where: str) -> PhotoFacts:
    try:
        content = split.read(index)
    except ShortageError:
        raise
    except DataError as error:
        return unreadable_facts(error, name=where)
    return photo_facts(content, name=where)


def _prefixes(dataset: ImageDataset) -> tuple[str, ...]:
    """Return what the location of a photo starts with if it is in the data set."""
    source = Path(dataset.source)
    return (
        f"{source}: ",
        f"{source}/",
        f"{source.parent}/",
        f"{dataset.source.rstrip('/')}/",
    )  # Path changes addresses


def _without_prefix(where: str, prefixes: tuple[str, ...]) -> str:
    """Return the location of a photo below the data set, where it is below it: "train/dress/x.jpg"."""
    for prefix in prefixes:
        if where.startswith(prefix):
            return where[len(prefix) :]
    return where
