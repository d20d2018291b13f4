"""The sections of a run's page; each returns its HTML, or "" when the run has nothing to show there."""

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from allmlp.metrics import ClassMetrics, Metrics
from allmlp.report.markup import card, count, duration, number, percent, photo_uri, text
from allmlp.report.summary import Mistake, RunSummary

__all__ = [
    "ConfusedPair",
    "classes",
    "commands",
    "confused_pairs",
    "facts",
    "headline",
    "mistakes",
    "recipe",
    "samples",
]

MAX_PAIRS = 10
MAX_MISTAKES = 24
MAX_SAMPLES = 40
MAX_OPEN_CLASSES = 30
TINY_SIDE = 40  # photos up to this side are enlarged as squares: smoothing would only blur them


class ConfusedPair(NamedTuple):
    """A class that was taken for another, and how often."""

    truth: str
    prediction: str
    num_mistakes: int
    num_examples: int


def confused_pairs(confusion: NDArray[np.int64], class_names: Sequence[str]) -> list[ConfusedPair]:
    """Return all pairs of classes that were confused, the most frequent first, then by share of the true class."""
    totals = confusion.sum(axis=1)
    pairs = [
        ConfusedPair(class_names[row], class_names[column], int(confusion[row, column]), int(totals[row]))
        for row, column in np.argwhere(confusion > 0)
        if row != column
    ]
    return sorted(pairs, key=lambda pair: (-pair.num_mistakes, pair.num_examples, pair.truth, pair.prediction))


def headline(summary: RunSummary) -> str:
    """The score, what it is worth, and what it was measured on."""
    return (
        '<header class="card" id="top"><p class="eyebrow">allmlp · report of a training run</p>'
        f"<h1>{text(summary.name)}</h1>"
        f'<div class="headline">{_score(summary)}<dl class="tiles">{_tiles(summary)}</dl></div>'
        f'<p class="provenance">{_provenance(summary)}</p></header>'
    )


def _score(summary: RunSummary) -> str:
    metrics = summary.headline
    if metrics is None:
        return '<div><p class="score-label">Not evaluated.</p></div>'
    num_right = int(np.trace(metrics.confusion))
    low, high = _wilson_interval(num_right, metrics.num_examples)
    most_frequent = int(metrics.confusion.sum(axis=1).argmax())
    floor = metrics.confusion[most_frequent].sum() / metrics.num_examples
    gauge = (
        f'<div class="gauge" role="img" aria-label="{percent(metrics.top1)} right, '
        f'95 % interval {100 * low:.1f} to {percent(high)}, floor {percent(float(floor))}">'
        f'<span class="gauge-fill" style="width:{100 * metrics.top1:.2f}%"></span>'
        f'<span class="gauge-floor" style="left:{100 * floor:.2f}%"></span>'
        f'<span class="gauge-interval" style="left:{100 * low:.2f}%;width:{100 * (high - low):.2f}%"></span></div>'
    )
    return (
        f'<div><p class="score-value">{_large(metrics.top1)}</p>'
        f'<p class="score-label"><b>{text(summary.headline_split)} top-1</b>: {count(num_right)} of '
        f"{count(metrics.num_examples)} photos right</p>{gauge}"
        f'<p class="caption"><span class="key key-interval"></span>95 % interval from the number of photos: '
        f"{100 * low:.1f} to {percent(high)}</p>"
        f'<p class="caption"><span class="key key-floor"></span>Always answering '
        f"“{text(summary.class_names[most_frequent])}”: {percent(float(floor))}</p></div>"
    )


def _large(fraction: float) -> str:
    return percent(fraction).replace("\u00a0%", "<small>\u00a0%</small>")


def _wilson_interval(num_right: int, num_examples: int) -> tuple[float, float]:
    """Source: E. B. Wilson, 1927; unlike the normal interval it stays within 0..1 for few photos and extreme rates."""
    z = 1.959963984540054
    rate, scale = num_right / num_examples, 1 + z * z / num_examples
    centre = (rate + z * z / (2 * num_examples)) / scale
    spread = z / scale * math.sqrt(rate * (1 - rate) / num_examples + z * z / (4 * num_examples**2))
    return max(0.0, centre - spread), min(1.0, centre + spread)


def _tiles(summary: RunSummary) -> str:
    tiles: list[tuple[str, str]] = []
    metrics = summary.headline
    if metrics is not None:
        tiles += [("Balanced accuracy", percent(metrics.balanced_accuracy)), ("Top-5", percent(metrics.top5))]
        tiles += [("Loss (nats)", number(metrics.loss))]
        tiles += [("Calibration error", percent(metrics.expected_calibration_error))]
    if "validation" in summary.evaluations and summary.headline_split != "validation":
        tiles.append(("Validation top-1", percent(summary.evaluations["validation"].top1)))
    else:
        tiles.append(("Classes", count(len(summary.class_names))))
    num_training = dict(summary.splits).get("train")
    if num_training is not None:
        tiles.append(("Training photos", count(num_training)))
    if summary.results:
        tiles.append(("Training time", duration(summary.results[-1].get("seconds", math.nan))))
    return "".join(f'<div class="tile"><dt>{name}</dt><dd>{value}</dd></div>' for name, value in tiles)


def _provenance(summary: RunSummary) -> str:
    if summary.headline_split is None:
        return "No split was evaluated: there are no photos beside the training ones."
    best = summary.best_row
    epoch = f", epoch {best['epoch']:g} of {summary.results[-1]['epoch']:g}" if best else ""
    was_validated = any(math.isfinite(row.get("validation_top1", math.nan)) for row in summary.results)
    choice = f" (the highest validation top-1{epoch})" if was_validated else ""
    parts = [f"All scores are of the best checkpoint{choice}"]
    if summary.headline_split == "test":
        parts.append("The test photos chose nothing")
    elif summary.headline_split == "validation":
        parts.append(
            "There is no test split, so the photos that chose the checkpoint also score it: read it as optimistic"
        )
    parts.append("One view of each photo, no test-time averaging")
    return ". ".join(parts) + "."


def classes(summary: RunSummary, *, numbered: bool) -> str:
    """The classes with their bars, the worst first; `numbered` where the matrix goes by number."""
    metrics = summary.headline
    if metrics is None:
        return ""
    order = sorted(range(len(metrics.per_class)), key=lambda index: _worst_first(metrics.per_class[index]))
    rows = [_class_row(metrics, index, summary.class_names, numbered) for index in order]
    body = _class_table(rows[:MAX_OPEN_CLASSES])
    if len(rows) > MAX_OPEN_CLASSES:
        rest = _class_table(rows[MAX_OPEN_CLASSES:])
        body += f"<details><summary>The other {len(rows) - MAX_OPEN_CLASSES} classes</summary>{rest}</details>"
    note = (
        f"On the {text(summary.headline_split)} photos, the worst class first. <i>Found</i> (recall) is the share of "
        "the class’s photos that were named right; <i>reliable</i> (precision) is the share of its namings that were "
        "right."
    )
    return card("Class by class", body, identifier="classes", note=note)


def _worst_first(one: ClassMetrics) -> tuple[bool, float, float, str]:
    return one.num_examples == 0, one.recall, one.precision, one.name


def _class_table(rows: Sequence[str]) -> str:
    head = (
        '<thead><tr><th scope="col">Class</th><th scope="col" class="amount">Photos</th>'
        '<th scope="col" class="rate">Found (recall)</th><th scope="col" class="rate">Reliable (precision)</th>'
        '<th scope="col">Most often taken for</th></tr></thead>'
    )
    return f'<div class="scroll"><table class="classes">{head}<tbody>{"".join(rows)}</tbody></table></div>'


def _class_row(metrics: Metrics, index: int, class_names: Sequence[str], numbered: bool) -> str:
    one, row = metrics.per_class[index], metrics.confusion[index].copy()
    row[index] = 0
    other = int(row.argmax())
    mistaken = f"{text(class_names[other])} ({count(int(row[other]))})" if row[other] else "–"
    prefix = f'<span class="index">{index + 1}.</span> ' if numbered else ""
    has_photos, was_named = one.num_examples > 0, bool(metrics.confusion[:, index].any())
    return (
        f'<tr><th scope="row">{prefix}{text(one.name)}</th><td class="amount">{count(one.num_examples)}</td>'
        f'<td class="rate">{_measure(one.recall if has_photos else math.nan)}</td>'
        f'<td class="rate">{_measure(one.precision if was_named else math.nan)}</td><td>{mistaken}</td></tr>'
    )


def _measure(rate: float) -> str:
    width = 100 * rate if math.isfinite(rate) else 0.0
    bar = f'<span class="bar" aria-hidden="true"><i style="width:{width:.1f}%"></i></span>'
    return f'<div class="measure">{bar}<span>{percent(rate)}</span></div>'


def pairs(metrics: Metrics, class_names: Sequence[str]) -> str:
    """The most confused pairs in words."""
    found = confused_pairs(metrics.confusion, class_names)
    if not found:
        return "<h3>Most confused</h3><p class='note'>No photo was named wrongly.</p>"
    items = []
    for pair in found[:MAX_PAIRS]:
        share = pair.num_mistakes / pair.num_examples
        times = f"{count(pair.num_mistakes)} time{'s' if pair.num_mistakes > 1 else ''} of {count(pair.num_examples)}"
        items.append(
            f'<li><p><b class="truth">{text(pair.truth)}</b> taken for <b class="wrong">{text(pair.prediction)}</b> '
            f'{times} <span class="share">({percent(share)})</span></p>'
            f'<span class="bar wrong-bar" aria-hidden="true"><i style="width:{100 * share:.1f}%"></i></span></li>'
        )
    return f'<h3>Most confused</h3><ol class="pairs">{"".join(items)}</ol>'


def mistakes(summary: RunSummary) -> str:
    """The most confident wrong answers as pictures."""
    metrics = summary.headline
    if metrics is None:
        return ""
    num_wrong = metrics.num_examples - int(np.trace(metrics.confusion))
    shown = summary.mistakes[:MAX_MISTAKES]
    if not shown:
        nothing = "There are none." if num_wrong == 0 else f"{count(num_wrong)} wrong answers, none kept as a picture."
        return card("Worst mistakes", "", identifier="mistakes", note=nothing)
    amount = f"all {count(num_wrong)}" if len(shown) == num_wrong else f"{count(len(shown))} of {count(num_wrong)}"
    note = (
        f"The most confident wrong answers on the {text(summary.headline_split)} photos, {amount}: "
        '<span class="truth">truth</span> → <span class="wrong">prediction</span>, its probability, and the file.'
    )
    body = f'<ol class="photos">{"".join(map(_mistake, shown))}</ol>'
    return card("Worst mistakes", body, identifier="mistakes", note=note)


def _mistake(mistake: Mistake) -> str:
    truth, prediction, sample_id = text(mistake.truth), text(mistake.prediction), text(mistake.sample_id)
    confidence = percent(mistake.confidence)
    return (
        f"<li>{_photo(mistake.photo, f'{truth} taken for {prediction} at {confidence}: {sample_id}')}"
        f'<p class="says"><b class="truth">{truth}</b> → <b class="wrong">{prediction}</b></p>'
        f'<p>{confidence}</p><p class="caption file" title="{sample_id}">{sample_id}</p></li>'
    )


def samples(summary: RunSummary) -> str:
    """Training photos as the model saw them."""
    if not len(summary.training_sample):
        return ""
    pairs = list(zip(summary.training_sample, summary.training_sample_captions, strict=True))[:MAX_SAMPLES]
    items = [
        f'<li>{_photo(photo, f"augmented training photo: {text(caption)}")}<p class="caption">{text(caption)}</p></li>'
        for photo, caption in pairs
    ]
    note = "Augmented as in training. If a person could not name them, the augmentation is too strong."
    return card(
        "What the model saw", f'<ul class="photos small">{"".join(items)}</ul>', identifier="samples", note=note
    )


def _photo(photo: NDArray[np.uint8], alternative: str) -> str:
    style = ' class="tiny"' if max(photo.shape[:2]) <= TINY_SIDE else ""
    return f'<img{style} src="{photo_uri(photo)}" alt="{alternative}" loading="lazy">'


def facts(summary: RunSummary) -> str:
    """The model, the data and the environment."""
    model = card("Model", _rows(summary.model), identifier="model") if summary.model else ""
    data = card("Data", _splits(summary), identifier="data") if summary.splits else ""
    rows = summary.environment
    environment = card("Environment", _rows(rows), identifier="environment") if rows else ""
    columns = "".join(f'<div class="column">{column}</div>' for column in (model + data, environment) if column)
    return f'<div class="facts">{columns}</div>' if columns else ""


def _rows(rows: Mapping[str, object]) -> str:
    cells = "".join(f'<tr><th scope="row">{text(key)}</th><td>{text(value)}</td></tr>' for key, value in rows.items())
    return f'<table class="rows"><tbody>{cells}</tbody></table>'


def _splits(summary: RunSummary) -> str:
    rows = []
    for name, num_photos in summary.splits:
        metrics = summary.evaluations.get(name)
        scores = ["–"] * 4
        if metrics is not None:
            scores = [percent(rate) for rate in (metrics.top1, metrics.balanced_accuracy, metrics.top5)]
            scores.append(number(metrics.loss))
        cells = "".join(f'<td class="amount">{value}</td>' for value in (count(num_photos), *scores))
        rows.append(f'<tr><th scope="row">{text(name)}</th>{cells}</tr>')
    heads = ("Photos", "Top-1", "Balanced", "Top-5", "Loss")
    head = "".join(f'<th scope="col" class="amount">{name}</th>' for name in heads)
    return (
        f'<div class="scroll"><table><thead><tr><th scope="col">Split</th>{head}</tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table></div>"
    )


def recipe(summary: RunSummary) -> str:
    """The resolved recipe by the dotted keys that `--set` takes."""
    rows: list[str] = []
    previous = ""
    for key, value in _flattened(summary.recipe):
        group = key.rpartition(".")[0]
        start = ' class="group-start"' if group != previous and rows else ""
        previous = group
        rows.append(f'<tr{start}><th scope="row">{text(key)}</th><td><code>{text(_as_set(value))}</code></td></tr>')
    if not rows:
        return ""
    table = f'<table class="rows recipe"><tbody>{"".join(rows)}</tbody></table>'
    note = "Every setting after defaults and overrides, by the keys that <code>--set KEY=VALUE</code> takes."
    body = f"<details><summary>{len(rows)} settings</summary>{table}</details>"
    return card("Recipe", body, identifier="recipe", note=note)


def _flattened(values: Mapping[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    rows: list[tuple[str, Any]] = []
    # Single values first: they belong to no group, or to the group that was just opened.
    for key, value in sorted(values.items(), key=lambda item: isinstance(item[1], Mapping)):
        rows += _flattened(value, f"{prefix}{key}.") if isinstance(value, Mapping) else [(prefix + key, value)]
    return rows


def _as_set(value: object) -> str:
    if value is None:
        return "none"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def commands(summary: RunSummary) -> str:
    """What to type next."""
    if not summary.next_commands:
        return ""
    items = "".join(f"<li><pre><code>{text(command)}</code></pre></li>" for command in summary.next_commands)
    return card("Next", f'<ul class="commands">{items}</ul>', identifier="next", note="A click selects a command.")
