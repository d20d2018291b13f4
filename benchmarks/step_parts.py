"""The parts of a training step, and the optimizers' share of it; part of training_step.py."""

import time

import numpy as np

from allmlp.provenance import spread

# torch's operations; the rest is the optimizer, the loss, and what autograd and Python need.
PARTS = {
    "matrix products": ("aten::mm", "aten::addmm", "aten::bmm", "aten::baddbmm"),
    "GELU": ("aten::gelu", "aten::gelu_backward"),
    "LayerNorm": ("aten::native_layer_norm", "aten::native_layer_norm_backward"),
    "copies": ("aten::copy_",),
    "additions and sums": ("aten::add", "aten::add_", "aten::sum"),
}


def measure_parts(states, batch, turns):
    """Measure a recipe and its training state per optimizer, which take turns step by step on one batch.

    The step whose parts are measured is that of the first.
    """
    from torch.profiler import ProfilerActivity, profile

    from allmlp.training.step.update import gradient

    seconds = {name: [] for name in ("gradient", *states)}
    for turn in range(turns + 1):
        for name, (recipe, state) in states.items():
            start = time.perf_counter()
            _, norm = gradient(state, state.model, batch, recipe)
            middle = time.perf_counter()
            state.step_optimizer(norm, 1.0)  # with clipping
            if turn:  # the first turn is warm-up
                seconds["gradient"].append(middle - start)
                seconds[name].append(time.perf_counter() - middle)
    medians = {name: float(np.median(values)) for name, values in seconds.items()}

    recipe, state = next(iter(states.values()))
    with profile(activities=[ProfilerActivity.CPU]) as profiler:
        for _ in range(3):
            state.step_optimizer(gradient(state, state.model, batch, recipe)[1], 1.0)
    microseconds = {event.key: event.self_cpu_time_total for event in profiler.key_averages()}
    total = sum(microseconds.values())
    parts = {part: sum(microseconds.get(key, 0.0) for key in keys) / total for part, keys in PARTS.items()}
    parts["everything else"] = 1.0 - sum(parts.values())
    return {
        "share_of_the_step": {part: round(share, 4) for part, share in parts.items()},
        "milliseconds": {name: spread([1000 * value for value in values]) for name, values in seconds.items()},
        "optimizer_share": {name: round(medians[name] / (medians["gradient"] + medians[name]), 4) for name in states},
    }
