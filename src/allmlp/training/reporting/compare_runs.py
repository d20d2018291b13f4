"""Comparison of runs: settings, curves, final figures, and a paired test on the photos that both were scored on."""

from collections.abc import Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import NamedTuple

import numpy as np

from allmlp.config import to_dict
from allmlp.data import ImageDataset
from allmlp.errors import ConfigError
from allmlp.evaluation import evaluate
from allmlp.io.display import Report, discard, summarise
from allmlp.metrics import mcnemar_p_value
from allmlp.model import MixerConfig, num_parameters
from allmlp.report import ComparedRun, PairedTest, RunComparison, Score, flat_settings
from allmlp.runs.layout import RunLayout
from allmlp.runs.photo_digests import trained_digests
from allmlp.runs.predictions import PhotoPrediction, read_predictions
from allmlp.training.reporting.stored_results import (
    best_epoch,
    read_metrics,
    read_results,
    require_run,
    run_notes,
    run_state,
)
from allmlp.training.stored_run import StoredRun

__all__ = ["RunComparison", "compare_runs"]

_MISSING = "–"
_FOLDS = "cross-validation"
_HELD_OUT = ("validation", _FOLDS)
_LABELLED = "labelled"


class _Scored(NamedTuple):
    """The predictions of a run for one split."""

    is_right: Mapping[tuple[str, str], bool]
    """By SHA-256 and label: the same photo under another label is another question."""
    trained: frozenset[str]
    """The SHA-256 of every photo that the predicting Mixer was trained on; none in cross-validation, photo by photo."""


def compare_runs(
    runs: Sequence[str | Path],
    photos: str | Path | ImageDataset | None = None,
    *,
    device: str = "auto",
    report: Report = discard,
) -> RunComparison:
    """Compare two or more runs; `allmlp compare` prints the result.

    Args:
        runs: the run folders, finished or not.
        photos: labelled photos on which the best checkpoint of every run is scored; None takes the predictions that the runs
            have saved for their own validation and test photos.
        device: for scoring: "auto", "cpu", "cuda" or "mps".
        report: receives a line per run while it is scored.

    Raises:
        ConfigError: fewer than two runs, a run twice, or a folder or file that is not a run's.
        DataError, CheckpointError: as `evaluate`, with `photos`.
    """
    stored = [require_run(Path(run)) for run in runs]
    if len({run.path.resolve() for run in stored}) < 2 or len({run.path.resolve() for run in stored}) < len(stored):
        raise ConfigError("Give two or more different runs to compare, such as runs/a runs/b.")
    names = _names([run.path for run in stored])
    scored = {
        name: _predictions(run, photos, device=device, report=report) for name, run in zip(names, stored, strict=True)
    }
    tests, notes = _tests(stored, {name: table for name, (table, _) in scored.items()})
    return RunComparison(
        runs=tuple(_compared(run, name, *scored[name]) for name, run in zip(names, stored, strict=True)),
        settings=_differing([_settings(run) for run in stored]),
        tests=tests,
        notes=notes,
        run_notes=_run_notes(dict(zip(names, stored, strict=True))),
    )


def _run_notes(runs: Mapping[str, StoredRun]) -> tuple[str, ...]:
    """Return the notes of the runs, those that all of them have once."""
    notes = {name: run_notes(run.path) for name, run in runs.items()}
    shared = [note for note in next(iter(notes.values())) if all(note in each for each in notes.values())]
    own = [f"{name}: {note}" for name, each in notes.items() for note in each if note not in shared]
    return (*(f"all runs: {note}" for note in shared), *own)


def _names(paths: Sequence[Path]) -> list[str]:
    """Return the folder names, with as many parents as are needed to tell them apart."""
    resolved = [path.resolve() for path in paths]
    for depth in range(1, max(len(path.parts) for path in resolved) + 1):
        names = ["/".join(path.parts[-depth:]) for path in resolved]
        if len(set(names)) == len(names):
            break
    return names


def _predictions(
    run: StoredRun, photos: str | Path | ImageDataset | None, *, device: str, report: Report
) -> tuple[list[PhotoPrediction], Mapping[str, float]]:
    """Return the predictions, and the loss by split."""
    if photos is None:
        evaluations = read_metrics(run.path).get("evaluations", {})
        losses = {split: values["loss"] for split, values in evaluations.items()}
        return read_predictions(RunLayout(run.path).predictions) or [], losses
    report(f"scoring {run.path}")
    evaluation = evaluate(run.path, photos, device=device)
    rows = list(evaluation.per_photo())
    # Photos without splits are all "train" in a data set: here they are merely labelled, as on the page of `evaluate`.
    split = _LABELLED if evaluation.split == "train" else evaluation.split
    return [row._replace(split=split) for row in rows], {split: evaluation.loss}


def _compared(run: StoredRun, name: str, table: Sequence[PhotoPrediction], losses: Mapping[str, float]) -> ComparedRun:
    results, metrics = read_results(run.path), read_metrics(run.path)
    splits = dict.fromkeys(row.split for row in table)
    scores = {}
    for split in splits:
        rows = [row for row in table if row.split == split and row.label]
        scores[split] = Score(
            num_correct=sum(row.label == row.prediction for row in rows),
            num_photos=len(rows),
            num_folds=run.recipe.data.folds if split == _FOLDS else 0,
        )
    model = run.recipe.model
    assert isinstance(model, MixerConfig)
    trained = results[-1]["epoch"] if results else 0
    return ComparedRun(
        path=run.path,
        name=name,
        state=run_state(run),
        num_epochs=metrics.get("num_epochs", run.recipe.num_epochs if run.is_finished else trained),
        planned_epochs=run.recipe.num_epochs,
        is_cut_short=metrics.get("minutes_needed") is not None,
        best_epoch=metrics.get("best_epoch") or best_epoch(results),
        num_parameters=num_parameters(model),
        training_top1=(metrics.get("train") or {}).get("top1"),
        scores=scores,
        losses=losses,
        results=tuple(results),
    )


def _settings(run: StoredRun) -> dict[str, str]:
    return {**flat_settings(to_dict(run.recipe)), "photos": run.data}


def _differing(settings: Sequence[Mapping[str, str]]) -> dict[str, tuple[str, ...]]:
    keys = dict.fromkeys(key for each in settings for key in each)
    rows = {key: tuple(each.get(key, _MISSING) for each in settings) for key in keys}
    return {key: values for key, values in rows.items() if len(set(values)) > 1}


def _tests(
    stored: Sequence[StoredRun], tables: Mapping[str, Sequence[PhotoPrediction]]
) -> tuple[tuple[PairedTest, ...], tuple[str, ...]]:
    """Return the tests of all pairs, and the notes on pairs that cannot be tested or are limited."""
    missing = [name for name, table in tables.items() if not table]
    notes = []
    if missing:
        notes.append(
            f"No predictions are saved for {summarise(missing)}: the run is not finished, or is of an older version. Give "
            "--photos to score all runs on the same photos."
        )
    tests = []
    runs = {name: run for name, run in zip(tables, stored, strict=True) if tables[name]}
    for first, second in combinations(runs, 2):
        splits = _splits_to_test(tables[first], tables[second])
        pair = [_scored(runs[name], tables[name], split) for name, split in zip((first, second), splits, strict=True)]
        split = splits[0] if splits[0] == splits[1] else "held-out"
        test, remarks = _test(first, second, split, *pair)
        tests += [test] * (test.num_photos > 0)
        notes += remarks
    return tuple(tests), tuple(notes)


def _splits_to_test(first: Sequence[PhotoPrediction], second: Sequence[PhotoPrediction]) -> tuple[str, str]:
    """Return the split of each run to compare on: test if both have it, else the photos that each held out, once or in folds.

    Without either, it is the last one of the first run, in both.
    """
    found = [{row.split for row in table} for table in (first, second)]
    shared = found[0] & found[1]
    if (split := next((name for name in ("test", *_HELD_OUT) if name in shared), None)) is not None:
        return split, split
    held_out, other_held_out = (next((name for name in _HELD_OUT if name in splits), None) for splits in found)
    if held_out is not None and other_held_out is not None:
        return held_out, other_held_out
    last = "train" if "train" in shared else first[-1].split
    return last, last


def _scored(run: StoredRun, table: Sequence[PhotoPrediction], split: str) -> _Scored:
    rows = [row for row in table if row.split == split and row.label]
    trained = frozenset() if split == _FOLDS else trained_digests(run.path)
    return _Scored({(row.sha256, row.label): row.label == row.prediction for row in rows}, trained)


def _test(first: str, second: str, split: str, a: _Scored, b: _Scored) -> tuple[PairedTest, list[str]]:
    common = a.is_right.keys() & b.is_right.keys()
    seen = {key for key in common if key[0] in a.trained or key[0] in b.trained}
    remarks = []
    if a.is_right.keys() != b.is_right.keys():
        remarks.append(
            f"{first} and {second} were scored on different photos: {len(a.is_right):,} and {len(b.is_right):,} {split} "
            f"photos, of which {len(common):,} are the same. "
            + ("Their test is on those." if common else "They cannot be tested against each other without --photos.")
        )
    if seen:
        remarks.append(
            f"{len(seen):,} of the {len(common):,} photos shared by {first} and {second} are training photos of one of them, "
            "and do not count."
        )
    keys = sorted(common - seen)
    right = np.array([(a.is_right[key], b.is_right[key]) for key in keys], dtype=bool).reshape(-1, 2)
    only_first, only_second = int((right[:, 0] & ~right[:, 1]).sum()), int((right[:, 1] & ~right[:, 0]).sum())
    test = PairedTest(
        first=first,
        second=second,
        split=split,
        num_photos=len(keys),
        num_only_first=only_first,
        num_only_second=only_second,
        p_value=mcnemar_p_value(only_first, only_second),
    )
    return test, remarks
