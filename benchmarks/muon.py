"""Share of the optimizer in a training step: torch's Muon, which computes in bfloat16, against ours in float32.

    python benchmarks/muon.py [--turns 7] [--only-avx2]

Recipes `demo` and `cifar10` at their own batch sizes, on random images. The gradient is computed in float32 and, if that is
faster, also in bfloat16, as in training. Both optimizers share one process and one model and alternate step by step.
`--only-avx2` hides AVX-512 and AMX from oneDNN, MKL and torch's own kernels by environment variables, so that they compute as
on an older processor. The JSON file holds the figures with and without this option.
"""

import argparse
import json
import os
import sys
import time
from pathlib import Path

RESULT = Path(__file__).parent / "results" / "muon.json"
ONLY_AVX2 = {"ONEDNN_MAX_CPU_ISA": "AVX2", "MKL_ENABLE_INSTRUCTIONS": "AVX2", "ATEN_CPU_CAPABILITY": "avx2"}
RECIPES = ("demo", "cifar10")


def measure(name, precision, turns):
    """Return the times of the gradient and of each optimizer in a step of a recipe, and the optimizers' shares."""
    import dataclasses

    import numpy as np
    import torch

    from allmlp.provenance import spread
    from allmlp.recipes import load_recipe
    from allmlp.training.step.batch import TrainingBatch
    from allmlp.training.step.muon import Float32Muon
    from allmlp.training.step.state import TrainState
    from allmlp.training.step.update import gradient

    recipe = load_recipe(name)
    recipe = dataclasses.replace(recipe, model=recipe.model.with_num_classes(10), precision=precision)
    state = TrainState(recipe)
    matrices = [
        parameter
        for key, parameter in state.model.named_parameters()
        if key.startswith("blocks.") and parameter.ndim == 2
    ]
    settings = {"lr": 1e-5, "momentum": 0.95, "weight_decay": 0.2}
    optimizers = {
        "torch.optim.Muon": torch.optim.Muon(matrices, **settings),
        "Float32Muon": Float32Muon(matrices, **settings),
    }
    generator = np.random.default_rng(0)
    height, width = recipe.model.image_size
    images = torch.from_numpy(generator.standard_normal((recipe.batch_size, 3, height, width), dtype=np.float32))
    classes = torch.from_numpy(generator.integers(0, recipe.model.num_classes, recipe.batch_size))
    labels = torch.nn.functional.one_hot(classes, recipe.model.num_classes).float()
    batch = TrainingBatch(images, labels, None, np.zeros(0, np.uint64))
    seconds = {"gradient": [], **{key: [] for key in optimizers}}
    for turn in range(turns + 1):
        for key, optimizer in optimizers.items():
            start = time.perf_counter()
            gradient(state, state.model, batch, recipe)
            middle = time.perf_counter()
            optimizer.step()
            if turn:  # the first turn is warm-up
                seconds["gradient"].append(middle - start)
                seconds[key].append(time.perf_counter() - middle)
    medians = {key: float(np.median(values)) for key, values in seconds.items()}
    return {
        "batch_size": recipe.batch_size,
        "milliseconds": {key: spread([1000 * value for value in values]) for key, values in seconds.items()},
        "share_of_the_step": {key: round(medians[key] / (medians["gradient"] + medians[key]), 4) for key in optimizers},
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--turns", type=int, default=7, help="measured steps per optimizer")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--only-avx2", action="store_true", help="hide AVX-512 and AMX from torch's libraries")
    arguments = parser.parse_args()
    if arguments.only_avx2 and any(os.environ.get(name) != value for name, value in ONLY_AVX2.items()):
        # Start again, because the variables must be set before torch loads these libraries.
        os.execve(sys.executable, [sys.executable, *sys.argv], {**os.environ, **ONLY_AVX2})

    import torch

    from allmlp.hardware.devices import is_bfloat16_faster
    from allmlp.io.atomic_write import write_json
    from allmlp.provenance import environment
    from allmlp.training.step.muon import muon_class

    torch.set_num_threads(arguments.threads)
    chosen = "Float32Muon" if arguments.only_avx2 else muon_class("cpu").__name__
    figures = {
        "training_takes": chosen.replace("Muon", "torch.optim.Muon") if chosen == "Muon" else chosen,
        "recipes": {},
    }
    precisions = ["float32", *(["bfloat16"] if is_bfloat16_faster("cpu") and not arguments.only_avx2 else [])]
    for name, precision in ((name, precision) for name in RECIPES for precision in precisions):
        figures["recipes"][f"{name}, {precision}"] = measured = measure(name, precision, arguments.turns)
        for key, share in measured["share_of_the_step"].items():
            median = measured["milliseconds"][key]["median"]
            print(f"{name:<8} {precision:<9} {key:<28} {median:8.1f} ms  {share:.1%} of the step")
    instruction_sets = "AVX2 only" if arguments.only_avx2 else "all instruction sets"
    options = " --only-avx2" * arguments.only_avx2
    command = f"python benchmarks/muon.py --turns {arguments.turns}{options}"
    stored = json.loads(RESULT.read_text()) if RESULT.exists() else {}
    entry = {"environment": {**environment(), "command": command}, **figures}
    print("wrote", write_json(RESULT, {**stored, instruction_sets: entry}))


if __name__ == "__main__":
    main()
