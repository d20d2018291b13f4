"""What users wait for: the start of `allmlp predict` for one photo, and how much of a model's rate a folder of photos gets.

    python benchmarks/predicting.py

on an otherwise idle machine. Fresh processes take turns: `allmlp predict FILE photo.jpg` with an export of a B/16 and of the
starter, and a script of a few lines that decodes and classifies the photo with timm's B/16. Then, for each of --folder-models,
`Predictor` on a folder of JPEGs takes turns with the forward function alone, on batches that are prepared already, in one
process and with the same backend. All photos have 500 x 375 pixels.

Cost, on two cores that compute 10 photos/s of B/16: two minutes for the processes, 5 for the folder with S/16, 20 with B/16.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path

import numpy as np

from allmlp.hardware.compute_threads import limit_spinning
from allmlp.provenance import record, spread

RESULT = Path(__file__).parent / "results" / "predicting.json"
SIZE = (500, 375)
BATCH_SIZE = 32

TIMM = """
import sys
import timm, torch
from PIL import Image
weights, photo = sys.argv[1:]
model = timm.create_model("mixer_b16_224", checkpoint_path=weights).eval()
transform = timm.data.create_transform(**timm.data.resolve_model_data_config(model), is_training=False)
with torch.inference_mode():
    scores, classes = model(transform(Image.open(photo).convert("RGB"))[None]).softmax(1)[0].topk(5)
print(classes.tolist(), scores.tolist())
"""


def write_photos(folder, count):
    """Write JPEGs: clothing photos that come with allmlp, enlarged."""
    from PIL import Image

    from allmlp import open_dataset
    from allmlp.data import decode

    split = open_dataset("clothing").splits["test"]
    folder.mkdir()
    for number in range(count):
        index = number % len(split)
        pixels = decode(split.read(index), name=split.where(index))
        image = Image.fromarray(pixels).resize(SIZE, Image.Resampling.BICUBIC)
        image.save(folder / f"{number:04d}.jpg", quality=92)


def model_of(name):
    from allmlp import load_checkpoint
    from allmlp.bench import random_checkpoint
    from allmlp.model import variant_config

    return load_checkpoint(name) if name == "starter" else random_checkpoint(variant_config(name), source=name)


def exported(name, folder):
    from allmlp import export

    path = folder / f"{name.replace('/', '')}.onnx"
    return path if path.exists() else export(model_of(name), to="onnx", out=path)


def run(*command):
    subprocess.run(
        [sys.executable, *map(str, command)], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )


def start_ups(photo, folder, num_rounds, model):
    """Return the seconds of fresh processes that classify one photo, and their ratios to timm's."""
    import torch

    from allmlp.bench import alternated_rounds
    from allmlp.bench.peers import timm_model
    from allmlp.model import variant_config

    weights = folder / "timm.pth"
    torch.save(timm_model(variant_config("B/16")).state_dict(), weights)
    programs = {"timm B/16, its own weights": partial(run, "-c", TIMM, weights, photo)}
    for name in (model, "starter"):
        for backend in ("onnxruntime", "openvino"):
            command = ("-m", "allmlp", "predict", exported(name, folder), photo, "--backend", backend)
            programs[f"allmlp {name}, {backend}"] = partial(run, *command)
    times = alternated_rounds(programs, num_rounds=num_rounds, min_rounds=num_rounds, seconds=float("inf"))
    theirs = next(iter(times.values()))
    return {
        name: {
            "seconds": spread(values),
            "share_of_timm": round(statistics.median(a / b for a, b in zip(values, theirs, strict=True)), 3),
        }
        for name, values in times.items()
    }


def folder_rate(name, photos, folder, backend, num_rounds):
    """Return the photos per second of a folder and of the model alone, and the share of the second in the first."""
    from allmlp import Predictor, open_model
    from allmlp.bench import alternated_rounds
    from allmlp.data import decode

    model = open_model(exported(name, folder), backend=backend)
    predictor = Predictor(model, batch_size=BATCH_SIZE)
    some = [decode(path.read_bytes(), name=path.name) for path in photos[:BATCH_SIZE]]
    batch = model.preparation.normalise(np.stack([model.preparation.resize(pixels) for pixels in some]))

    def alone():
        for start in range(0, len(photos), BATCH_SIZE):
            model.forward(batch[: len(photos) - start])

    calls = {"folder": lambda: list(predictor.stream(photos)), "model": alone}
    times = alternated_rounds(calls, num_rounds=num_rounds, min_rounds=num_rounds, seconds=float("inf"))
    shares = [b / a for a, b in zip(times["folder"], times["model"], strict=True)]
    return {
        "backend": backend,
        **{
            f"{key}_photos_per_second": spread([len(photos) / each for each in values]) for key, values in times.items()
        },
        "share_of_model_rate": spread(shares),
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--photos", type=int, default=500, help="in the folder (default: 500)")
    parser.add_argument("--start-up-model", default="B/16", help="next to timm's B/16 (default: B/16)")
    parser.add_argument("--folder-models", nargs="*", default=["S/16", "B/16"])
    parser.add_argument("--backend", default="onnxruntime", help="of the folder (default: onnxruntime)")
    parser.add_argument("--result", type=Path, default=RESULT)
    arguments = parser.parse_args()
    limit_spinning()  # before torch is loaded, as in the command
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        os.environ["ALLMLP_HOME"] = str(folder / "cache")  # nothing is tuned
        write_photos(folder / "photos", arguments.photos)
        photos = sorted((folder / "photos").iterdir())
        started = start_ups(photos[0], folder, arguments.rounds, arguments.start_up_model)
        print(started)
        folders = {}
        for model in arguments.folder_models:
            folders[model] = folder_rate(model, photos, folder, arguments.backend, arguments.rounds)
            print(model, folders[model])
    figures = {"num_photos": arguments.photos, "size": SIZE, "start_up": started, "folders": folders}
    models = " ".join(arguments.folder_models)
    command = (
        f"python benchmarks/predicting.py --rounds {arguments.rounds} --photos {arguments.photos} "
        f"--start-up-model {arguments.start_up_model} --folder-models {models} --backend {arguments.backend}"
    )
    print("wrote", record(arguments.result, figures, command=command))


if __name__ == "__main__":
    main()
