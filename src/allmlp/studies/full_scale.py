"""What the paper's own trainings cost: by the paper, and on this machine."""

import dataclasses
from collections.abc import Callable
from typing import NamedTuple

from allmlp.bench import measure_training
from allmlp.hardware.devices import is_bfloat16_faster
from allmlp.model import num_multiply_adds, variant_config
from allmlp.studies.learning.rates import with_batch_that_fits
from allmlp.studies.study import Study, Table

__all__ = ["Rate", "full_scale_table", "measured_rate"]

_SECONDS = 20.0  # of measurement, for each variant
# A GPU takes 8 images as fast as it starts its kernels; trainings have thousands per step. A CPU is as fast with few.
_BATCH_SIZE, _GPU_BATCH_SIZE = 8, 256
# All blocks of a Mixer are alike, so that two of them show its rate. All 32 of H/14 would not fit into the memory of a laptop.
_NUM_MEASURED_BLOCKS = 2


class Rate(NamedTuple):
    """The rate of training steps of a Mixer.

    hours: of a core, or of a GPU, for a million photos.
    batch_size: images per step with which it was measured.
    """

    hours: float
    batch_size: int


def full_scale_table(study: Study, *, device: str = "cpu", rate: Callable[[str], Rate] | None = None) -> Table:
    """Return the paper's own trainings of a study, one per row: photos seen, cost by table 3, and cost on this machine.

    Args:
        study: its `full_scale` is taken.
        device: "cpu" counts core-hours; others count the hours of one GPU.
        rate: by variant, such as "B/16"; None measures it on the device, for less than a minute per variant (`measured_rate`).
    """
    rate = rate or (lambda variant: measured_rate(variant, device=device))
    rates = {variant: rate(variant) for variant in dict.fromkeys(each.variant for each in study.full_scale)}
    rows = []
    for training in study.full_scale:
        hours, batch_size = rates[training.variant]
        hours_here = hours * training.relative_cost * training.num_photos_seen / 1e6
        here = _figure(float(f"{hours_here:.3g}"))  # as exact as a rate is
        paper = "" if training.core_days is None else _figure(24 * training.core_days)
        rows.append(
            (training.command, training.variant, _figure(training.num_photos_seen / 1e6), paper, here, str(batch_size))
        )
    unit = "core-hours" if device == "cpu" else "GPU-hours"
    hours_columns = ("core-hours of TPU v3, the paper", f"{unit} here")
    return Table(("training", "Mixer", "million photos seen", *hours_columns, "images per step here"), rows)


def measured_rate(variant: str, *, device: str = "cpu", seconds: float = _SECONDS) -> Rate:
    """Return the hours of a core, or of a GPU, for training a variant on a million photos, reading them not included.

    Training steps of a Mixer with two of its blocks are timed on random images, in the precision that training takes here, and
    the time grows with the multiply-adds. A step has 8 images, on a GPU 256 or as many as fit its memory.
    """
    whole = variant_config(variant)
    measured = dataclasses.replace(whole, num_blocks=min(_NUM_MEASURED_BLOCKS, whole.num_blocks))

    def rate(batch_size: int) -> Rate:
        figures = measure_training(
            measured,
            batch_size=batch_size,
            precisions=("bfloat16" if is_bfloat16_faster(device) else "float32",),
            seconds=seconds,
            num_rounds=3,
            device=device,
            with_peers=False,
        )
        (row,) = figures["training"]
        hours = row.get("core_hours_per_million_images") or 1e6 / float(row["images_per_second"]) / 3600
        return Rate(float(hours) * num_multiply_adds(whole) / num_multiply_adds(measured), batch_size)

    return with_batch_that_fits(rate, _BATCH_SIZE if device == "cpu" else _GPU_BATCH_SIZE)


def _figure(value: float) -> str:
    """Return a number with three digits, or all of its whole part."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
