"""The table by which `--backend auto` chooses the engine of an ONNX file in float32, from what benchmarks/speed.py measured.

    python benchmarks/engine_table.py

writes src/allmlp/inference/backends/engine_table.json: by the vector instructions of the processor and the size of the Mixer,
the seconds of a fresh process that opens the file and classifies a hundred photos, in the largest batches that were measured.
What was measured on processors with other vector instructions stays.
"""

import argparse
import json
from pathlib import Path

from allmlp.hardware.processor import vector_instructions
from allmlp.io.atomic_write import write_json

ROOT = Path(__file__).parents[1]
RESULT = Path(__file__).parent / "results" / "speed.json"
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


def with_result(table, result):
    """Return the table with a result in place of an earlier one of such a processor."""
    facts = result["environment"]
    vectors = vector_instructions(facts["instruction_sets"].split())
    measurement = {
        "vectors": vectors,
        "environment": {name: facts[name] for name in FACTS if name in facts},
        "num_photos": NUM_PHOTOS,
        "entries": [entry_of(measured) for measured in result["models"].values()],
    }
    kept = [each for each in table["measurements"] if each["vectors"] != vectors]
    return {"measurements": sorted([*kept, measurement], key=lambda each: each["vectors"])}


def main():
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    before = json.loads(TABLE.read_text()) if TABLE.exists() else {"measurements": []}
    print("wrote", write_json(TABLE, with_result(before, json.loads(RESULT.read_text()))))


if __name__ == "__main__":
    main()
