"""Images per second in bfloat16, eager and compiled, by batch, against timm's Mixer of equal widths.

There are two ways to compute in bfloat16: torch.autocast, which keeps the weights and the norms in float32 (allmlp's way), and
weights in bfloat16. Both are measured for both implementations. All contestants of a group take turns in rounds of one process,
on images that are on the device. At the end, allmlp's `Forward`, from NumPy to NumPy, is measured by itself.
"""

import copy
import time

import numpy as np

from gpu_parts.settings import Settings, has_timm, synchronise

_NUM_WARM_UP_CALLS = 3
_NUM_ROUNDS = 12
_EAGER = (("S/16", (1, 64, 256)), ("B/16", (1, 64, 256)), ("L/16", (1, 64)))
_COMPILED = (("B/16", 256), ("B/16", 1), ("S/16", 256))  # the first is the most important: compiling takes long
_FORWARD = ("B/16", (32, 256))
_MIN_SECONDS_TO_COMPILE = 20.0
_MATRIX_SIDE = 8192


def measure(settings: Settings, save):
    """Save one row per contestant, Mixer and batch size, and what was left out."""
    figures = {
        "matrix_product_teraflops": _matrix_product_teraflops(settings),
        "rows": [],
        "forward": [],
        "left_out": {},
    }
    for variant, batch_sizes in _EAGER[:1] if settings.is_quick else _EAGER:
        models = _models(settings.config(variant), settings, figures["left_out"])
        for batch_size in dict.fromkeys(map(settings.batch, batch_sizes)):
            _measure_group(models, variant, batch_size, settings, figures)
            save(figures)
    for variant, batch_sizes in (_FORWARD,):
        for batch_size in dict.fromkeys(map(settings.batch, batch_sizes)):
            figures["forward"].append(_forward_row(variant, batch_size, settings))
            save(figures)
    for variant, size in _COMPILED[1:2] if settings.is_quick else _COMPILED:
        models = _models(settings.config(variant), settings, figures["left_out"])
        batch_size = settings.batch(size)
        chosen = _compiled(models, variant, batch_size, settings, figures["left_out"])
        _measure_group(chosen, variant, batch_size, settings, figures)
        save(figures)


def _models(config, settings, left_out):
    """Return (model, whether it is used under torch.autocast) by the name of the contestant."""
    import torch

    from allmlp.bench.peers import timm_model
    from allmlp.model import MlpMixer

    with torch.device(settings.device):
        found = {"allmlp": (MlpMixer(config).eval(), True)}
        if has_timm():
            found["timm"] = (timm_model(config), True)
        else:
            left_out["timm"] = "it is not installed"
    for name, (model, _) in list(found.items()):
        found[f"{name}, bfloat16 weights"] = (copy.deepcopy(model).to(torch.bfloat16), False)
    return found


def _compiled(models, variant, batch_size, settings, left_out):
    """Return allmlp's eager model and the compiled contestants that there is time for, each after its first call."""
    chosen = {"allmlp": models["allmlp"]}
    options = [(name, False) for name in models]
    if batch_size == 1:  # where the time to launch kernels counts
        options = [(name, True) for name in models] + options
    for name, has_graphs in options:
        shown = f"{name}, compiled{', CUDA graphs' if has_graphs else ''}"
        where = f"{shown}: {variant}, batch {batch_size}"
        if not settings.is_quick and settings.seconds_left() < _MIN_SECONDS_TO_COMPILE:
            left_out[where] = "no time was left"
            continue
        model, is_autocast = models[name]
        started = time.perf_counter()
        try:
            contestant = (_compile(model, settings, has_graphs=has_graphs), is_autocast)
            _call(contestant, _images(settings.config(variant), batch_size, settings, contestant), settings)()
            chosen[shown] = contestant
        except Exception as error:  # of a compiler, which may raise anything
            left_out[where] = f"{type(error).__name__}: {error}"[:300]
        print(f"  compiled {where} in {time.perf_counter() - started:.0f} s", flush=True)
    return chosen


def _compile(model, settings, *, has_graphs):
    import torch

    if settings.is_quick:
        return torch.compile(model, dynamic=False, backend="eager")
    return torch.compile(model, dynamic=False, options={"freezing": True, "triton.cudagraphs": has_graphs})


def _images(config, batch_size, settings, contestant):
    import torch

    images = torch.randn(batch_size, 3, *config.image_size, device=settings.device)
    return images if contestant[1] else images.to(torch.bfloat16)


def _call(contestant, images, settings):
    import torch

    model, is_autocast = contestant

    def call():
        with torch.inference_mode(), torch.autocast(settings.device, torch.bfloat16, enabled=is_autocast):
            model(images)
        synchronise(settings.device)

    return call


def _measure_group(models, variant, batch_size, settings, figures):
    """Measure these contestants in alternated rounds, and add their rows."""
    from allmlp.bench import alternated_rounds, ratios_of
    from allmlp.model import num_multiply_adds
    from allmlp.provenance import spread

    config = settings.config(variant)
    calls = {
        name: _call(model, _images(config, batch_size, settings, model), settings) for name, model in models.items()
    }
    for call in calls.values():
        for _ in range(_NUM_WARM_UP_CALLS):
            call()
    times = alternated_rounds(calls, num_rounds=3 if settings.is_quick else _NUM_ROUNDS, seconds=settings.share(0.02))
    medians = {name: spread(values)["median"] for name, values in times.items()}
    theirs = [name for name in times if name.startswith("timm")]
    reference = min(theirs, key=medians.__getitem__) if theirs else None
    gflop = 2e-9 * num_multiply_adds(config)
    for name, values in times.items():
        rate = batch_size / medians[name]
        figures["rows"].append(
            {
                "variant": variant,
                "batch_size": batch_size,
                "contestant": name,
                "milliseconds": spread([1000 * value for value in values]),
                "images_per_second": float(f"{rate:.4g}"),
                "teraflops": float(f"{rate * gflop / 1000:.4g}"),
                "reference": reference,
                "speed_ratio": None if reference is None else round(ratios_of(times, name, reference), 3),
            }
        )


def _forward_row(variant, batch_size, settings):
    """Return the speed of `open_model(...).forward`, by default and with `exact`; it copies to the device and back."""
    from allmlp import open_model
    from allmlp.bench import alternated_rounds, random_checkpoint
    from allmlp.provenance import spread

    checkpoint = random_checkpoint(settings.config(variant), source=variant)
    images = np.random.default_rng(0).standard_normal((batch_size, 3, *checkpoint.config.image_size), dtype=np.float32)
    options = {"backend": "eager", "device": settings.device, "precision": "bfloat16"}
    forwards = {name: open_model(checkpoint, exact=name == "exact", **options).forward for name in ("default", "exact")}
    calls = {name: lambda forward=forward: forward(images) for name, forward in forwards.items()}
    for call in calls.values():
        call()
    times = alternated_rounds(calls, num_rounds=3 if settings.is_quick else _NUM_ROUNDS, seconds=settings.share(0.02))
    rates = {name: spread([batch_size / value for value in values]) for name, values in times.items()}
    # What `exact` promises, tried once: the first image alone and in its batch.
    alone = {name: bool(np.array_equal(forward(images[:1]), forward(images)[:1])) for name, forward in forwards.items()}
    return {"variant": variant, "batch_size": batch_size, "images_per_second": rates, "same_bits_alone": alone}


def _matrix_product_teraflops(settings):
    """Return the highest measured rate of a large matrix product in bfloat16: the limit of what a Mixer can reach."""
    import torch

    side = 64 if settings.is_quick else _MATRIX_SIDE
    a, b = (torch.randn(side, side, device=settings.device).to(torch.bfloat16) for _ in range(2))
    times = []
    for _ in range(10):
        synchronise(settings.device)
        started = time.perf_counter()
        a @ b
        synchronise(settings.device)
        times.append(time.perf_counter() - started)
    return float(f"{2e-12 * side**3 / min(times):.4g}")
