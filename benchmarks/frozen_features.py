"""Time of an epoch that trains only the classifier: features computed in every step, or once per pass.

python benchmarks/frozen_features.py DATA [--checkpoint starter] [--epochs 6] [--passes 2]
"""

import argparse
import csv
import tempfile
from pathlib import Path

from allmlp.provenance import record, spread

RESULT = Path(__file__).parent / "results" / "frozen_features.json"


def seconds_per_epoch(run):
    """Return the seconds of each epoch of a run, its validation included."""
    with (run / "results.csv").open() as file:
        ends = [float(row["seconds"]) for row in csv.DictReader(file)]
    return [end - start for start, end in zip([0.0, *ends], ends, strict=False)]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", help="photos in any form that allmlp reads")
    parser.add_argument("--checkpoint", default="starter")
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--passes", type=int, default=2)
    arguments = parser.parse_args()

    from allmlp import train
    from allmlp.data import open_dataset
    from allmlp.recipes import load_recipe
    from allmlp.training import with_settings

    dataset = open_dataset(arguments.data)
    figures = {"photos": len(dataset.splits["train"]), "passes": arguments.passes, "seconds_per_epoch": {}}
    with tempfile.TemporaryDirectory() as folder:
        for name, passes in (("computed", 0), ("cached", arguments.passes)):
            settings = (f"transfer.checkpoint={arguments.checkpoint}", "transfer.trained_blocks=0")
            settings += (f"transfer.cached_passes={passes}", f"num_epochs={arguments.epochs}", "data.folds=0")
            result = train(with_settings(load_recipe("finetune"), settings), dataset, Path(folder) / name)
            seconds = seconds_per_epoch(result.directory)
            if passes:
                figures["seconds_per_epoch"]["while the passes are computed"] = spread(seconds[:passes])
            figures["seconds_per_epoch"][name] = spread(seconds[passes + 1 :])  # a batch of the next one may be new
    for name, values in figures["seconds_per_epoch"].items():
        print(f"{name}: {values['median']:.2f} s per epoch")
    command = (
        f"python benchmarks/frozen_features.py {arguments.data} --epochs {arguments.epochs} --passes {arguments.passes}"
    )
    print("wrote", record(RESULT, figures, command=command))


if __name__ == "__main__":
    main()
