"""The table by which `--backend auto` chooses the engine of an ONNX file in float32, from what benchmarks/speed.py measured.

    python benchmarks/engine_table.py

writes src/allmlp/inference/backends/engine_table.json: by the vector instructions of the processor and the size of the Mixer,
the seconds of a fresh process that opens the file and classifies a hundred photos, in the largest batches that were measured.
All results in results/speed/ are read, one for each kind of vector instructions. The engines were tuned when they were
measured, and the table decides for those who have not tuned: with the usual settings, they may be slower.
"""

import argparse
import json
from pathlib import Path

from allmlp.hardware.processor import vector_instructions
from allmlp.io.atomic_write import write_json

ROOT = Path(__file__).parents[1]
RESULTS = Path(__file__).parent / "results" / "speed"
TABLE = ROOT / "src" / "allmlp" / "inference" / "backends" / "engine_table.json"
ENGINES = ("onnxruntime", "openvino")  # which open ONNX files
NUM_PHOTOS = 100
FACTS = ("command", "written", "commit", "device", "instruction_sets", "onnxruntime", "openvino")


def entry_of(measured):
    """Return the size of a Mixer and the seconds of each engine that was measured."""
    rows = [row for row in measured["results"] if row["precision"] == "float32"]
    largest = max(row["batch_size"] for row in rows)
    rates = {row["contestant"]: row["images_per_second"] for row in rows if row["batch_size"] == largest}
    starts = {name: measured["start_up"].get(f"allmlp-{name}, float32") for name in ENGINES}
    seconds = {
        name: round(start["seconds"] + NUM_PHOTOS / rates[f"allmlp-{name}"], 3)
        for name, start in starts.items()
        if start is not None and f"allmlp-{name}" in rates
    }
    return {"gflop_per_image": measured["gflop_per_image"], "seconds": seconds}


def measurement_of(result):
    """Return the entries of a result, and where and how they were measured."""
    facts = result["environment"]
    return {
        "vectors": vector_instructions(facts["instruction_sets"].split()),
        "environment": {name: facts[name] for name in FACTS if name in facts},
        "settings": "tuned",
        "num_photos": NUM_PHOTOS,
        "entries": [entry_of(measured) for measured in result["models"].values()],
    }


def table_of(results):
    """Return the table of several results, one for each kind of vector instructions."""
    measurements = sorted(map(measurement_of, results), key=lambda each: each["vectors"])
    names = [each["vectors"] for each in measurements]
    assert len(set(names)) == len(names), f"two results of processors with {names}"
    return {"measurements": measurements}


def stored_results():
    """Return all results of benchmarks/speed.py."""
    return [json.loads(path.read_text()) for path in sorted(RESULTS.glob("*.json"))]


def main():
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    print("wrote", write_json(TABLE, table_of(stored_results())))


if __name__ == "__main__":
    main()
