"""What the paper's own trainings cost: by the paper, and on this machine."""

import dataclasses
from collections.abc import Callable

from allmlp.bench import measure_training
from allmlp.hardware.devices import is_bfloat16_faster
from allmlp.model import num_multiply_adds, variant_config
from allmlp.studies.study import Study, Table

__all__ = ["full_scale_table", "measured_hours"]

_SECONDS = 20.0  # of measurement, for each variant
_BATCH_SIZE = 8
# All blocks of a Mixer are alike, so that two of them show its rate. All 32 of H/14 would not fit into the memory of a laptop.
_NUM_MEASURED_BLOCKS = 2

Hours = Callable[[str], float]
"""From a variant, such as "B/16", to the hours that a core, or a GPU, trains on a million photos."""


def full_scale_table(study: Study, *, device: str = "cpu", hours: Hours | None = None) -> Table:
    """Return the paper's own trainings of a study, one per row: photos seen, cost by table 3, and cost on this machine.

    Args:
        study: its `full_scale` is taken.
        device: "cpu" counts core-hours; others count the hours of one GPU.
        hours: the rate by variant; None measures it on the device, for less than a minute per variant (`measured_hours`).
    """
    rate = hours or (lambda variant: measured_hours(variant, device=device))
    rates = {variant: rate(variant) for variant in dict.fromkeys(each.variant for each in study.full_scale)}
    rows = []
    for training in study.full_scale:
        hours_here = rates[training.variant] * training.relative_cost * training.num_photos_seen / 1e6
        here = _figure(float(f"{hours_here:.3g}"))  # as exact as a rate is
        paper = "" if training.core_days is None else _figure(24 * training.core_days)
        rows.append((training.command, training.variant, _figure(training.num_photos_seen / 1e6), paper, here))
    unit = "core-hours" if device == "cpu" else "GPU-hours"
    return Table(("training", "Mixer", "million photos seen", "core-hours of TPU v3, the paper", f"{unit} here"), rows)


def measured_hours(variant: str, *, device: str = "cpu", seconds: float = _SECONDS) -> float:
    """Return the hours of a core, or of a GPU, for training a variant on a million photos, reading them not included.

    Training steps of a Mixer with two of its blocks are timed on random images, in the precision that training takes here, and
    the time grows with the multiply-adds.
    """
    whole = variant_config(variant)
    measured = dataclasses.replace(whole, num_blocks=min(_NUM_MEASURED_BLOCKS, whole.num_blocks))
    figures = measure_training(
        measured,
        batch_size=_BATCH_SIZE,
        precisions=("bfloat16" if is_bfloat16_faster(device) else "float32",),
        seconds=seconds,
        num_rounds=3,
        device=device,
        with_peers=False,
    )
    (row,) = figures["training"]
    rate = row.get("core_hours_per_million_images") or 1e6 / float(row["images_per_second"]) / 3600
    return float(rate) * num_multiply_adds(whole) / num_multiply_adds(measured)


def _figure(value: float) -> str:
    """Return a number with three digits, or all of its whole part."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
