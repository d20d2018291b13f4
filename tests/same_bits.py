"""Digests of what the commands compute, to prove that a change of the code changes no result.

    .venv/bin/python tests/same_bits.py before.json              # on one commit
    .venv/bin/python tests/same_bits.py after.json               # on the other, on the same machine
    .venv/bin/python tests/same_bits.py --compare before.json after.json

Everything goes through the command line, so that the program runs on commits whose modules have other names. It takes five
short trainings (from scratch with Muon; fine-tuned with frozen blocks; streamed with RandAugment, erasing, mixup and
accumulation; resumed after a kill; of two processes), then evaluates, predicts, embeds, inspects and converts what they leave.
Times, paths, versions and remarks are left out; everything else is compared bit for bit. Takes some minutes on two cores.
"""

import argparse
import csv
import hashlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image
from safetensors.numpy import load_file

CLASSES = ("blue", "green", "red")
TIMED = {"seconds", "images_per_second", "minutes"}
SMALL = (
    "model.image_size=[16,16]",
    "model.patch_size=4",
    "model.num_blocks=2",
    "model.hidden_dim=16",
    "model.tokens_mlp_dim=8",
    "model.channels_mlp_dim=24",
    "model.dropout=0.1",
    "num_epochs=3",
    "batch_size=16",
    "max_minutes=none",
    "precision=float32",
    "saving.every_steps=2",
    "saving.every_minutes=none",
)
STREAMED = (
    "data.storage=stream",
    "augmentation.crop=inception",
    "augmentation.pad_pixels=4",
    "augmentation.rand_augment_layers=2",
    "augmentation.rand_augment_magnitude=15",
    "augmentation.random_erasing=0.5",
    "augmentation.mixup=0.4",
    "accumulation=2",
)
# Dropout draws otherwise on another number of processes; here their number is the same on both commits.
TRAININGS = {
    "scratch": ("train", "photos", "--recipe", "demo", *SMALL),
    "frozen": ("finetune", "photos", "max_minutes=none", "transfer.trained_blocks=2", "num_epochs=2", "batch_size=16"),
    "streamed": ("train", "photos", "--recipe", "demo", *SMALL, *STREAMED),
    "killed": ("train", "photos", "--recipe", "demo", *SMALL, "seed=1", "num_epochs=40"),
    "two_processes": ("train", "photos", "--recipe", "demo", *SMALL, "seed=2"),
}
QUESTIONS = {
    "evaluate": ("evaluate", "{run}", "photos", "--json"),
    "evaluate validation": ("evaluate", "{run}", "photos", "--split", "validation", "--json"),
    "evaluate at another size": ("evaluate", "{run}", "photos", "--image-size", "32x48", "--json"),
    "shots": ("evaluate", "{run}", "photos", "--shots", "1,5", "--draws", "2", "--json"),
    "predict": ("predict", "{run}", "photos/test", "--format", "json"),
    "predict csv": ("predict", "{run}", "photos/test/red", "--format", "csv", "--top-k", "1", "--batch-size", "3"),
    "inspect": ("inspect", "{run}", "--json"),
    "embed": ("embed", "{run}", "photos/test", "-o", "{run}-features.npz"),
    "embed a split": ("embed", "{run}", "photos", "--split", "test", "-o", "{run}-split.npz"),
    "convert to allmlp": ("convert", "{run}", "{run}-allmlp", "--to", "allmlp"),
    "convert to google": ("convert", "{run}", "{run}.npz", "--to", "google"),
    "convert from google": ("convert", "{run}.npz", "{run}-from-google", "--to", "allmlp"),
}
# Of a file of weights as timm writes it: timm's form holds the widths of table 1 only.
FILE_QUESTIONS = {
    "inspect": ("inspect", "timm.safetensors", "--json"),
    "convert to allmlp": ("convert", "timm.safetensors", "ours", "--to", "allmlp"),
    "convert to timm": ("convert", "ours", "theirs", "--to", "timm"),
    "convert to google": ("convert", "theirs", "google.npz", "--to", "google", "--image-size", "256x192"),
    "predict": ("predict", "theirs", "photos/test/red", "--format", "json"),
}


def write_photos(root: Path, *, per_class: int = 20) -> None:
    """Write photos whose class is their colour, with noise, in two sizes and two formats."""
    generator = np.random.default_rng(0)
    for split in ("train", "test"):
        for label, name in enumerate(CLASSES):
            for index in range(per_class):
                pixels = generator.integers(0, 120, (40 + 16 * (index % 2), 48, 3))
                pixels[..., 2 - label] += 110
                path = root / split / name / f"{index:02}.{'png' if index % 3 else 'jpg'}"
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(pixels.astype(np.uint8)).save(path)


def command(name: str) -> list[str]:
    """Return the command line of a training: its settings behind --set."""
    words = TRAININGS[name]
    settings = [part for word in words if "=" in word for part in ("--set", word)]
    return [*(word for word in words if "=" not in word), *settings, "--device", "cpu"]


def run(arguments: list[str], folder: Path, *, launcher: tuple[str, ...] = ()) -> str:
    done = subprocess.run(
        [sys.executable, *launcher, "-m", "allmlp", *arguments], cwd=folder, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise SystemExit(f"allmlp {' '.join(arguments)}: exit {done.returncode}\n{done.stderr}")
    return done.stdout


def kill_in_the_middle(arguments: list[str], folder: Path, out: Path) -> None:
    """Start a training and kill it once it has saved some steps, before it is done."""
    process = subprocess.Popen(
        [sys.executable, "-m", "allmlp", *arguments], cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    deadline = time.monotonic() + 300
    while time.monotonic() < deadline and process.poll() is None:
        steps = [int(path.name[5:]) for path in (folder / out / "resume").glob("step-*")]
        if steps and max(steps) >= 6:
            break
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    if (folder / out / "metrics.json").exists():
        raise SystemExit("the training that was to be killed was done before")


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]


def digest_arrays(path: Path) -> dict[str, str]:
    """Return a digest of every array of an .npz or .safetensors file: the containers' own bytes may hold times."""
    arrays = dict(np.load(path)) if path.suffix == ".npz" else load_file(path)
    return {name: sha256(f"{value.dtype}{value.shape}".encode() + value.tobytes()) for name, value in arrays.items()}


def facts_of_run(path: Path) -> Iterator[tuple[str, object]]:
    """Yield everything that a run leaves, but for how long it took."""
    for name in ("best", "last"):
        for file in sorted((path / "checkpoints" / name).iterdir()):
            yield f"checkpoints/{name}/{file.name}", sha256(file.read_bytes())
    with (path / "results.csv").open(newline="") as file:
        rows = [{key: value for key, value in row.items() if key not in TIMED} for row in csv.DictReader(file)]
    yield "results.csv", rows
    metrics = json.loads((path / "metrics.json").read_text())
    for name in ("sample_digest", "evaluations", "num_skipped", "temperature"):
        yield f"metrics.json/{name}", metrics[name]
    saves = sorted((path / "resume").glob("step-*"))
    yield "newest save", {saves[-1].name: digest_arrays(saves[-1] / "state.safetensors")}
    yield "recipe.json", json.loads((path / "recipe.json").read_text())


def write_timm(path: Path) -> None:
    """Write a random S/32 of three classes in timm's names."""
    import timm
    import torch
    from safetensors.torch import save_file

    torch.manual_seed(0)
    save_file(timm.create_model("mixer_s32_224", num_classes=len(CLASSES)).state_dict(), path)


def answers(folder: Path, questions: Mapping[str, Sequence[str]], name: str = "") -> Iterator[tuple[str, object]]:
    """Yield what the commands answer to `questions` about a run or a file, and digests of what they write."""
    for question, words in questions.items():
        arguments = [word.format(run=name) for word in words]
        text = run(arguments, folder)
        if "--json" in arguments or "json" in arguments:
            yield question, _only_results(json.loads(text))
        elif "csv" in arguments:
            yield question, text
        else:
            target = folder / (arguments[-1] if arguments[0] == "embed" else arguments[2])
            if target.is_dir():
                yield question, {path.name: sha256(path.read_bytes()) for path in sorted(target.iterdir())}
            else:
                yield question, digest_arrays(target)


def _only_results(value: object) -> object:
    if isinstance(value, dict):
        return {key: _only_results(each) for key, each in value.items() if "second" not in key and key != "remark"}
    return [_only_results(each) for each in value] if isinstance(value, list) else value


def measure(folder: Path) -> dict[str, object]:
    write_photos(folder / "photos")
    facts: dict[str, object] = {}
    for name in TRAININGS:
        print(name, flush=True)
        two = name == "two_processes"
        launcher = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2") if two else ()
        if name == "killed":
            kill_in_the_middle([*command(name), "--resume", name], folder, Path(name))
            run([*command(name), "--resume", name], folder)
        else:
            run([*command(name), "--out", name], folder, launcher=launcher)
        facts |= {f"{name}: {fact}": value for fact, value in facts_of_run(folder / name)}
    for name in ("scratch", "frozen"):
        print(f"what {name} answers", flush=True)
        facts |= {f"{name}: {question}": value for question, value in answers(folder, QUESTIONS, name)}
    write_timm(folder / "timm.safetensors")
    facts |= {f"a file: {question}": value for question, value in answers(folder, FILE_QUESTIONS)}
    return facts


def compare(before: Path, after: Path) -> int:
    """Print what differs and return an exit code."""
    mine, theirs = (json.loads(path.read_text()) for path in (before, after))
    differing = [name for name in {**mine, **theirs} if mine.get(name) != theirs.get(name)]
    for name in differing:
        print(f"{name}\n  before {json.dumps(mine.get(name))[:2000]}\n  after  {json.dumps(theirs.get(name))[:2000]}")
    print(f"{len({**mine, **theirs}) - len(differing)} facts equal, {len(differing)} differ")
    return bool(differing)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", type=Path, nargs="+", metavar="JSON")
    parser.add_argument("--compare", action="store_true", help="compare two files in the place of making one")
    arguments = parser.parse_args()
    if arguments.compare:
        sys.exit(compare(*arguments.files))
    os.environ.pop("RANK", None)
    with tempfile.TemporaryDirectory() as folder:
        facts = measure(Path(folder))
    arguments.files[0].write_text(json.dumps(facts, indent=1))
    print("wrote", arguments.files[0], f"({len(facts)} facts)")


if __name__ == "__main__":
    main()
