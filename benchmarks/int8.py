"""int8 exports against float32: agreement and accuracy of each attempt on held-out photos, and speed, by engine.

    python benchmarks/int8.py starter=PHOTOS runs/cifar10=PHOTOS

On an otherwise idle machine. Each attempt is made and judged, whether or not an earlier one agrees enough; 8-bit weights
only on processors with VNNI. Results go to results/int8.json, by the name of the checkpoint. ONEDNN_MAX_CPU_ISA=AVX2 makes
OpenVINO compute as on a processor without VNNI; ONNX Runtime has no such switch.
"""

import argparse
import json
import os
import tempfile
from pathlib import Path

import numpy as np

from allmlp.bench import alternated_rounds, ratios_of
from allmlp.checkpoints import load_checkpoint
from allmlp.hardware.processor import has_exact_int8
from allmlp.inference import open_model
from allmlp.provenance import record, spread
from allmlp.quantisation import ATTEMPTS, export, export_int8

RESULT = Path(__file__).parent / "results" / "int8.json"
ENGINES = ("onnxruntime", "openvino")
BATCH_SIZE = 16


def measure(checkpoint, photos, folder, *, num_rounds, seconds):
    """Return the attempts in both widths of weights by engine, with the speed over the engine's float32 in the same rounds."""
    images = np.random.default_rng(0).standard_normal((BATCH_SIZE, 3, *checkpoint.config.image_size), dtype=np.float32)
    plain = export(checkpoint, out=folder / "float32.onnx")
    found = {}
    for engine in ENGINES:
        forwards = {"float32": open_model(plain, backend=engine).forward}
        attempts = {}
        for portable in (True, False) if has_exact_int8() else (True,):
            for number, attempt in enumerate(ATTEMPTS):
                if not portable and attempt.name == "weights only":  # the same file
                    continue
                name = (
                    f"{attempt.name}, {'7' if portable else '8'} bits"
                    if attempt.name != "weights only"
                    else attempt.name
                )
                path = folder / f"{engine}-{number}-{portable}.onnx"
                written = export_int8(
                    checkpoint, photos, out=path, agreement=0.0, portable=portable, backend=engine, attempts=(attempt,)
                )
                attempts[name] = written.judged[0].to_dict() | {
                    "bytes": path.stat().st_size,
                    "num_calibration_photos": written.note.num_calibration_photos,
                }
                forwards[name] = open_model(path, backend=engine).forward
                print(engine, name, f"{written.judged[0].agreement:.4f}", flush=True)
        calls = {name: lambda forward=forward: forward(images) for name, forward in forwards.items()}
        for call in calls.values():
            for _ in range(6):  # until its micro-batches have their final size
                call()
        times = alternated_rounds(calls, num_rounds=num_rounds, seconds=seconds)
        for name, attempt in attempts.items():
            attempt["speed_up"] = ratios_of(times, name, "float32")
            attempt["milliseconds_per_image"] = 1000 * spread(times[name])["median"] / BATCH_SIZE
        float32 = 1000 * spread(times["float32"])["median"] / BATCH_SIZE
        found[engine] = {"float32_milliseconds_per_image": float32, "attempts": attempts}
    return {"engines": found, "float32_bytes": plain.stat().st_size}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pairs", nargs="+", metavar="CHECKPOINT=PHOTOS")
    parser.add_argument("--rounds", type=int, default=12)
    parser.add_argument("--seconds", type=float, default=120, help="per checkpoint and engine, for the speed")
    parser.add_argument("--out", type=Path, default=RESULT, help="the file of the results")
    arguments = parser.parse_args()
    emulated = os.environ.get("ONEDNN_MAX_CPU_ISA", "")
    models = json.loads(arguments.out.read_text()).get("models", {}) if arguments.out.exists() else {}
    names = []
    for pair in arguments.pairs:
        source, _, photos = pair.partition("=")
        name = Path(source).name + (f", OpenVINO limited to {emulated}" if emulated else "")
        names.append(f"{Path(source).name}=PHOTOS")
        with tempfile.TemporaryDirectory() as folder:
            models[name] = measure(
                load_checkpoint(source), photos, Path(folder), num_rounds=arguments.rounds, seconds=arguments.seconds
            )
        command = (
            f"python benchmarks/int8.py {' '.join(names)} --rounds {arguments.rounds} --seconds {arguments.seconds:g}"
        )
        print("wrote", record(arguments.out, {"models": models}, command=command))


if __name__ == "__main__":
    main()
