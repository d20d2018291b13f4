"""Whether the input keeps up: images per second of decoding and RandAugment, of the training step, and of both together."""

import contextlib
import dataclasses
import itertools
import tempfile
import time
from pathlib import Path

from gpu_parts.photos import write_photos
from gpu_parts.settings import Settings, one_process, synchronise

_NUM_WARM_UP_STEPS = 2


def measure(settings: Settings, save):
    """Save the rates, with photos that are decoded in every epoch ("stream") and ones kept in memory."""
    from allmlp.data import hold_out, open_dataset
    from allmlp.hardware.num_decoding_threads import num_decoding_threads

    figures = {"num_threads": num_decoding_threads(), "storage": {}}
    with tempfile.TemporaryDirectory() as name:
        size = (64, 48) if settings.is_quick else (500, 375)  # ImageNet's usual size
        photos = write_photos(Path(name) / "photos", num_photos=32 if settings.is_quick else 512, size=size)
        dataset = hold_out(open_dataset(photos), fraction=0.1, seed=0)
        for storage in ("stream", "memory"):
            figures["storage"][storage] = _rates(_recipe(settings, dataset, storage), dataset, settings)
            save(figures)


def _recipe(settings, dataset, storage):
    """Return the paper's recipe with RandAugment, for the smallest step: S/16."""
    from allmlp.recipes import load_recipe
    from allmlp.training import ScheduleConfig
    from allmlp.training.recipe.resolve import resolve

    recipe = load_recipe("imagenet_b16")
    assert recipe.augmentation.rand_augment_layers == 2
    recipe = dataclasses.replace(
        recipe,
        model=dataclasses.replace(settings.config("S/16").as_template(), stochastic_depth=0.1),
        batch_size=settings.batch(256),
        schedule=ScheduleConfig(),
        data=dataclasses.replace(recipe.data, storage=storage),
    )
    return resolve(recipe, dataset, settings.device)


def _rates(recipe, dataset, settings):
    from allmlp.training import NoProgress, TrainState, update
    from allmlp.training.input_pipeline import InputPipeline

    ranks = one_process(settings.device)
    pipeline = InputPipeline(recipe, dataset, ranks=ranks, progress=NoProgress())
    state = TrainState(recipe, ranks)
    seconds = settings.share(0.1)

    def step(batch):
        update(state, state.model, batch, recipe, 0.1, ranks=ranks)
        synchronise(settings.device)

    def rate(batches, act):
        """Return the images per second of acting on batches for a while."""
        for batch in itertools.islice(batches, _NUM_WARM_UP_STEPS):
            act(batch)
        started, count = time.perf_counter(), 0
        while count < 2 or time.perf_counter() - started < seconds:
            act(next(batches))
            count += 1
        return count * recipe.batch_size / (time.perf_counter() - started)

    with contextlib.closing(pipeline.batches(first_step=0, num_steps=10**6)) as batches:
        fixed = next(batches)
        rates = {"input": rate(batches, lambda _: synchronise(settings.device))}
    rates["step"] = rate(itertools.repeat(fixed), step)
    with contextlib.closing(pipeline.batches(first_step=0, num_steps=10**6)) as batches:
        rates["together"] = rate(batches, step)
    figures = {f"{name}_images_per_second": float(f"{value:.4g}") for name, value in rates.items()}
    # A step that is timed alone never waits, so the rest is waiting for the next batch.
    return {**figures, "waiting_share": round(max(0.0, 1.0 - rates["together"] / rates["step"]), 3)}
