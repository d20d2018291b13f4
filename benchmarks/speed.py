"""The figures of docs/speed.md: `allmlp bench` of three Mixers against all installed peers, each in one run.

    python benchmarks/speed.py

starter, S/16 and B/16, batch sizes 1 and 32, on an otherwise idle machine. Results go to results/speed.json.
"""

import argparse
import json
from pathlib import Path

from allmlp.bench import BenchOptions, bench, measure_training, random_checkpoint
from allmlp.checkpoints import load_checkpoint
from allmlp.model import variant_config
from allmlp.provenance import record

RESULT = Path(__file__).parent / "results" / "speed.json"
MODELS = ("starter", "S/16", "B/16")


def checkpoint_of(name):
    return load_checkpoint(name) if name == "starter" else random_checkpoint(variant_config(name), source=name)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=20, help="per Mixer")
    parser.add_argument("--models", nargs="+", default=MODELS, choices=MODELS)
    parser.add_argument("--training", action="store_true", help="also measure training steps of the starter and S/16")
    arguments = parser.parse_args()
    found = json.loads(RESULT.read_text()) if RESULT.exists() else {}
    models, training = found.get("models", {}), found.get("training", {})
    for name in arguments.models:
        options = BenchOptions(against=("all",), minutes=arguments.minutes)
        source = name if name == "starter" else None
        models[name] = bench(checkpoint_of(name), options, source=source, report=print)
        if arguments.training and name != "B/16":
            config = checkpoint_of(name).config
            training[name] = measure_training(config, seconds=60 * arguments.minutes / 4)
        figures = {"models": models, "training": training}
        command = f"python benchmarks/speed.py --minutes {arguments.minutes:g}"
        print("wrote", record(RESULT, figures, command=command + (" --training" if arguments.training else "")))


if __name__ == "__main__":
    main()
