"""What the paper's own trainings cost: by the paper, and on this machine."""

from collections.abc import Iterator

from allmlp.bench import measure_training
from allmlp.model import variant_config
from allmlp.studies.study import Study

__all__ = ["full_scale_lines"]

_MEASURE_SECONDS = 20.0


def full_scale_lines(study: Study, *, device: str = "cpu", seconds: float = _MEASURE_SECONDS) -> Iterator[str]:
    """Yield the commands of a study's full-scale trainings with their cost, and measure this machine's rate for it.

    The rate is that of training steps of the same Mixer on random images, for `seconds` seconds; reading photos costs more.
    """
    rates: dict[str, float] = {}
    for training in study.full_scale:
        yield training.command
        yield f"  {training.num_photos_seen / 1e6:,.0f} million photos (the training photos times the epochs)"
        if training.core_days is not None:
            yield f"  the paper: {24 * training.core_days:,.0f} core-hours of TPU v3 ({training.core_days:g} core-days)"
        if training.variant is None:
            continue
        if training.variant not in rates:
            rates[training.variant] = _core_hours(training.variant, device, seconds)
        hours = rates[training.variant] * training.num_photos_seen / 1e6
        rate = f"{rates[training.variant]:.3g} per million photos, measured now"
        yield f"  this machine: {hours:,.0f} core-hours ({rate})"


def _core_hours(variant: str, device: str, seconds: float) -> float:
    """Return the core-hours per million photos of a variant's training, in this machine's best precision."""
    figures = measure_training(variant_config(variant), batch_size=8, seconds=seconds, num_rounds=3, device=device)
    rows = [row for row in figures["training"] if row["contestant"] == "allmlp"]
    return min(float(row["core_hours_per_million_images"]) for row in rows)
