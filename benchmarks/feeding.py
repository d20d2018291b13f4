"""Cost of the input pipeline: the share of a training step spent on creating its batch, on CIFAR-10 or any photos.

python benchmarks/feeding.py DATA [--recipe cifar10]
"""

import argparse
import time
from pathlib import Path

from allmlp.provenance import record, spread

RESULT = Path(__file__).parent / "results" / "feeding.json"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", help="photos in any form that allmlp reads")
    parser.add_argument("--recipe", default="cifar10")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--batch", type=int, nargs="+", default=[128, 256, 512])
    arguments = parser.parse_args()

    import dataclasses

    from allmlp.data import hold_out, open_dataset
    from allmlp.hardware.devices import reuse_freed_memory
    from allmlp.recipes import load_recipe
    from allmlp.training import NoProgress
    from allmlp.training.distributed.process_group import ONE_PROCESS
    from allmlp.training.input_pipeline import InputPipeline
    from allmlp.training.recipe.resolve import resolve
    from allmlp.training.step.state import TrainState
    from allmlp.training.step.update import update

    reuse_freed_memory()
    dataset = hold_out(open_dataset(arguments.data), fraction=0.1, seed=0)
    figures = {"photos": len(dataset.splits["train"]), "batch": {}}
    for batch_size in arguments.batch:
        recipe = dataclasses.replace(load_recipe(arguments.recipe), batch_size=batch_size)
        recipe = resolve(recipe, dataset, "cpu")
        start = time.perf_counter()
        pipeline = InputPipeline(recipe, dataset, ranks=ONE_PROCESS, progress=NoProgress())
        opening = time.perf_counter() - start
        state = TrainState(recipe)
        feeding, stepping = [], []
        batches = pipeline.batches(first_step=0, num_steps=arguments.steps + 3)
        for step in range(arguments.steps + 3):
            start = time.perf_counter()
            batch = next(batches)
            middle = time.perf_counter()
            update(state, state.model, batch, recipe, 0.1)
            if step >= 3:  # the first three steps are warm-up
                feeding.append(middle - start)
                stepping.append(time.perf_counter() - middle)
        shares = [
            batch_time / (batch_time + update_time) for batch_time, update_time in zip(feeding, stepping, strict=True)
        ]
        figures["precision"] = recipe.precision
        figures["batch"][str(batch_size)] = {
            "feeding_milliseconds": spread([1000 * value for value in feeding]),
            "update_milliseconds": spread([1000 * value for value in stepping]),
            "feeding_share": spread(shares),
            "opening_seconds": round(opening, 2),
        }
        print(
            f"batch {batch_size}: creating it takes "
            f"{figures['batch'][str(batch_size)]['feeding_share']['median']:.1%} of a step"
        )
    print("wrote", record(RESULT, figures, command=f"python benchmarks/feeding.py DATA --recipe {arguments.recipe}"))


if __name__ == "__main__":
    main()
