"""Accuracy of trained weights at other image sizes, immediately after each kind of conversion and after brief fine-tuning.

    python experiments/resolution/run.py CIFAR10 RUN

RUN is a Mixer trained on CIFAR-10 at its native 32 × 32 pixels, for example by

    allmlp train CIFAR10 --recipe cifar10 --set num_epochs=10 --set max_minutes=none --out RUN

Methods: "resample" and "block" are those of `Checkpoint.at_resolution`. "pseudo-inverse" and "interpolation" replace the damped
pseudo-inverse of "resample" by FlexiViT's undamped one (arXiv 2212.08013) and by the interpolation from the new grid to the old
one. "random" re-initialises the weights of token mixing and keeps all others. "resize the photos" keeps the Mixer and resizes
each image back to 32 × 32. "patch size" is `Checkpoint.at_patch_size`.

Every Mixer is fine-tuned on the same 9,984 training photos once (78 steps of 128), in the same order, with AdamW and horizontal
flips, and scored on all 10,000 test photos. Images of other sizes are CIFAR-10's, resized (bicubic), so larger images have no
additional detail.
"""

import argparse
import dataclasses
import math
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

from allmlp import Checkpoint, MlpMixer, Preprocessing, load_checkpoint, open_dataset
from allmlp.data import resized_images
from allmlp.hardware.devices import is_bfloat16_faster
from allmlp.provenance import record

RESULT = Path(__file__).parent / "results" / "resolution.json"
SIZES = (16, 24, 40, 48, 64)
NUM_TRAINING, BATCH_SIZE, LEARNING_RATE, WARM_UP_STEPS = 10_000, 128, 5e-4, 8


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", help="CIFAR-10 as photos, with a test split")
    parser.add_argument("run", help="a Mixer trained on CIFAR-10 at 32 × 32")
    parser.add_argument("--sizes", type=int, nargs="+", default=list(SIZES))
    parser.add_argument("--num-test", type=int, default=None, help="score fewer test photos, to try the program")
    arguments = parser.parse_args()
    base = load_checkpoint(arguments.run)
    photos = Photos(arguments.data, base, num_test=arguments.num_test)
    native_size = base.config.image_size[0]
    rows = [measure("as it is", base, base, photos, native_size)]
    for size in arguments.sizes:
        for method, checkpoint in conversions(base, size):
            rows.append(measure(method, checkpoint, base, photos, size))
    figures = {
        "base": {"source": base.source, "image_size": list(base.config.image_size), "top1": rows[0]["at_once"]},
        "num_training": NUM_TRAINING,
        "num_test": len(photos.test_labels),
        "learning_rate": LEARNING_RATE,
        "rows": rows,
    }
    print("wrote", record(RESULT, figures, command="python experiments/resolution/run.py CIFAR10 RUN"))


def conversions(base, size):
    """Yield (method, checkpoint). A checkpoint may have a different image size; images are then resized back to it."""
    yield "resample", base.at_resolution(size, "resample")
    yield "pseudo-inverse", with_first_layers(base, size, lambda forth, _: torch.linalg.pinv(forth))
    yield "interpolation", with_first_layers(base, size, lambda _, back: back)
    if size % base.config.image_size[0] == 0:
        yield "block", base.at_resolution(size, "block")
    if size % base.config.grid[0] == 0:
        yield "patch size", base.at_patch_size(size // base.config.grid[0])
    yield "resize the photos", base
    yield "random", random_token_mixing(base, size)


def with_first_layers(base, size, make):
    """Return "resample" with W1' = W1 M, where M (S, S') = make(interpolation to the new grid, interpolation back)."""
    resampled = base.at_resolution(size, "resample")
    back = make(
        interpolation(base.config.grid, resampled.config.grid), interpolation(resampled.config.grid, base.config.grid)
    )
    weights = {
        key: (base.weights[key].double() @ back).float() if key.endswith("token_mixing.fc1.weight") else weight
        for key, weight in resampled.weights.items()
    }
    return dataclasses.replace(resampled, weights=weights)


def interpolation(old, new):
    """Return the matrix (S', S), float64, of torch's antialiased linear interpolation between two grids."""
    maps = torch.eye(old[0] * old[1], dtype=torch.float64).reshape(-1, 1, *old)
    return F.interpolate(maps, size=new, mode="bilinear", antialias=True).flatten(1).mT


def random_token_mixing(base, size):
    resampled = base.at_resolution(size, "resample")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        fresh = MlpMixer(resampled.config).state_dict()
    weights = {key: fresh[key] if ".token_mixing." in key else weight for key, weight in resampled.weights.items()}
    return dataclasses.replace(resampled, weights=weights)


class Photos:
    """CIFAR-10's images in memory at their native size."""

    def __init__(self, data, base, *, num_test):
        dataset = open_dataset(data)
        order = np.array([base.class_names.index(name) for name in dataset.class_names])
        chosen = np.random.default_rng(0).permutation(len(dataset.splits["train"]))[:NUM_TRAINING]
        train, test = dataset.splits["train"].subset(chosen), dataset.splits["test"]
        if num_test is not None:
            test = test.subset(range(num_test))
        self.test_labels, self.train_labels = order[test.labels], order[train.labels]
        native = Preprocessing(image_size=base.config.image_size)
        self.test = np.stack(list(resized_images(test, native, num_workers=1)))
        self.train = np.stack(list(resized_images(train, native, num_workers=1)))

    @staticmethod
    def model_input(images, checkpoint, size):
        """Resize images to `size`, then to the Mixer's image size; return its input (B, 3, H, W)."""
        to_size = Preprocessing(image_size=size)
        resized = np.stack([checkpoint.preprocessing.resize(to_size.resize(image)) for image in images])
        return torch.from_numpy(checkpoint.preprocessing.normalise(resized))


def measure(method: str, checkpoint: Checkpoint, base: Checkpoint, photos: Photos, size: int):
    if checkpoint.preprocessing.crop_fraction != 1:
        raise SystemExit(
            f"RUN has crop_fraction {checkpoint.preprocessing.crop_fraction:g}; this experiment needs a Mixer with 1."
        )
    model = checkpoint.build()
    row = {"size": size, "ratio": size / base.config.image_size[0], "way": method}
    row["at_once"] = score(model, checkpoint, photos, size)
    if method not in ("pseudo-inverse", "interpolation"):
        fine_tune(model, checkpoint, photos, size)
        row["after_one_epoch"] = score(model, checkpoint, photos, size)
    print(row, flush=True)
    return row


def score(model, checkpoint, photos, size):
    model.eval()
    num_correct = 0
    with torch.inference_mode():
        for start in range(0, len(photos.test), 250):
            chunk = slice(start, start + 250)
            logits = model(photos.model_input(photos.test[chunk], checkpoint, size))
            num_correct += int((logits.argmax(1).numpy() == photos.test_labels[chunk]).sum())
    return num_correct / len(photos.test)


def fine_tune(model, checkpoint, photos, size):
    model.train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=LEARNING_RATE, weight_decay=0.0)
    num_steps = NUM_TRAINING // BATCH_SIZE
    generator = torch.Generator().manual_seed(0)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        for step in range(num_steps):
            warm_up = min(1.0, (step + 1) / WARM_UP_STEPS)
            for group in optimizer.param_groups:
                group["lr"] = LEARNING_RATE * warm_up * (1 + math.cos(math.pi * step / num_steps)) / 2
            chunk = slice(step * BATCH_SIZE, (step + 1) * BATCH_SIZE)
            images = photos.model_input(photos.train[chunk], checkpoint, size)
            flipped = torch.rand(len(images), generator=generator) < 0.5
            images[flipped] = images[flipped].flip(-1)
            with torch.autocast("cpu", torch.bfloat16, enabled=is_bfloat16_faster("cpu")):
                loss = F.cross_entropy(model(images), torch.from_numpy(photos.train_labels[chunk]))
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()


if __name__ == "__main__":
    main()
