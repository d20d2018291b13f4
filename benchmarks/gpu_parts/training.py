"""Training step of S/16 and B/16 in bfloat16 and its peak memory, against timm's."""

from gpu_parts.settings import Settings

_MIXERS = (("S/16", 256), ("B/16", 128))


def measure(settings: Settings, save):
    """Save what `measure_training` returns, by Mixer."""
    from allmlp.bench import measure_training

    figures = {"mixers": {}}
    for variant, batch_size in _MIXERS:
        measured = measure_training(
            settings.config(variant),
            batch_size=settings.batch(batch_size),
            precisions=("bfloat16",),
            seconds=settings.share(0.25),
            num_rounds=3 if settings.is_quick else 12,
            device=settings.device,
        )
        figures["mixers"][variant] = measured["training"]
        save(figures)
