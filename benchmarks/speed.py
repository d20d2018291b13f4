"""The figures of docs/speed.md: `allmlp bench` of three Mixers against all installed peers.

    python benchmarks/speed.py --training

starter, S/16 and B/16, batch sizes 1 and 32, in float32, bfloat16 (on processors that have it) and int8, on an otherwise idle
machine. Each Mixer and batch size is one part: all contestants of all precisions take turns in it, for 10 to 12 rounds. What
has no time for 10 is left out and listed, first of all what takes minutes to compile. Before that, `--tune` finds the
settings of the engines for each Mixer.

A finished part is written to results/speed_parts.json at once, and all of them to results/speed/ when they are there: to
avx2.json, avx512.json or other.json, by the vector instructions of the processor, so that a measurement replaces none of
another kind of processor. After an interruption, the same command goes on with the parts that are missing; parts of another
commit, machine or command are measured again.

Cost: --minutes, for all parts with --training. 45 suffice for two cores that compute 4 photos/s of B/16 in float32, where a
round of it with batch 32 takes over a minute; that part gets 43 % of the time.
"""

import argparse
import hashlib
import json
import os
import tempfile
from functools import partial
from pathlib import Path

from allmlp.checkpoints import load_checkpoint
from allmlp.hardware.compute_threads import limit_spinning
from allmlp.hardware.processor import vector_instructions
from allmlp.io.atomic_write import write_json
from allmlp.model import variant_config
from allmlp.provenance import environment, record

RESULTS = Path(__file__).parent / "results" / "speed"
PARTS = RESULTS.with_name("speed_parts.json")
MODELS = ("starter", "S/16", "B/16")
BATCH_SIZES = (1, 32)
# Of the minutes, by Mixer and batch size; a batch size of 0 is the training.
SHARES = {
    ("starter", 1): 0.05,
    ("starter", 32): 0.06,
    ("S/16", 1): 0.08,
    ("S/16", 32): 0.13,
    ("B/16", 1): 0.14,
    ("B/16", 32): 0.43,
    ("starter", 0): 0.03,
    ("S/16", 0): 0.08,
}


def checkpoint_of(name):
    from allmlp.bench import random_checkpoint

    return load_checkpoint(name) if name == "starter" else random_checkpoint(variant_config(name), source=name)


def measure(name, batch_size, minutes):
    """Return the figures of one part."""
    from allmlp.bench import BenchOptions, bench, measure_training

    if not batch_size:
        return measure_training(checkpoint_of(name).config, seconds=60 * minutes)
    options = BenchOptions(
        batch_sizes=(batch_size,), against=("all",), minutes=minutes, min_rounds=10, start_up=batch_size == 1
    )
    source = name if name == "starter" else None
    return bench(checkpoint_of(name), options, source=source, report=partial(print, flush=True))


def joined(parts):
    """Return the figures as docs/speed.md has them: by Mixer, the rows of all batch sizes."""
    models, training = {}, {}
    for key, figures in parts.items():
        name, batch_size = key.rsplit(" ", 1)
        if batch_size == "0":
            training[name] = figures
            continue
        whole = models.setdefault(name, {**figures, "results": [], "start_up": {}, "left_out": {}})
        whole["results"] += figures["results"]
        whole["start_up"] |= figures["start_up"]
        whole["left_out"] |= figures["left_out"]
    return {"models": models, "training": training}


def result_file(facts):
    """Return the file of what was measured in this environment, one for each kind of vector instructions."""
    return RESULTS / f"{vector_instructions(facts.get('instruction_sets', '').split()) or 'other'}.json"


def digest_of(arguments):
    """Return what a part must have been measured with to be kept."""
    facts = environment()
    kept = {name: facts.get(name) for name in ("commit", "torch", "numpy", "platform", "device", "instruction_sets")}
    return hashlib.sha256(json.dumps([kept, arguments.minutes], sort_keys=True).encode()).hexdigest()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=45, help="for everything, with training (default: 45)")
    parser.add_argument("--models", nargs="+", default=MODELS, choices=MODELS)
    parser.add_argument("--training", action="store_true", help="also measure training steps of the starter and S/16")
    arguments = parser.parse_args()
    limit_spinning()  # before torch is loaded, as in the command
    from allmlp.bench import tune

    digest = digest_of(arguments)
    saved = json.loads(PARTS.read_text()) if PARTS.exists() else {}
    parts = saved["parts"] if saved.get("digest") == digest else {}
    wanted = [key for key in SHARES if key[0] in arguments.models and (key[1] or arguments.training)]
    with tempfile.TemporaryDirectory() as cache:
        os.environ["ALLMLP_HOME"] = cache  # what the user has tuned stays as it is
        tuned = set()
        for name, batch_size in wanted:
            key = f"{name} {batch_size}"
            if key in parts:
                print(f"{key}: measured before")
                continue
            if batch_size and name not in tuned:
                tune(checkpoint_of(name), report=partial(print, flush=True))
                tuned.add(name)
            minutes = max(1, arguments.minutes - len(MODELS)) * SHARES[name, batch_size]  # tuning takes one each
            parts[key] = measure(name, batch_size, minutes)
            write_json(PARTS, {"digest": digest, "parts": parts})
    command = f"python benchmarks/speed.py --minutes {arguments.minutes:g}"
    command += " --training" if arguments.training else ""
    print("wrote", record(result_file(environment()), joined(parts), command=command))
    PARTS.unlink(missing_ok=True)


if __name__ == "__main__":
    main()
