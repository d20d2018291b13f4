"""Packing of a finished run of recipe `starter` as the weights that come with allmlp.

    python experiments/starter/pack.py RUN

PHOTOS was written by arrange.py, and RUN by `allmlp train PHOTOS --recipe starter --out RUN`, or by one more round from the
weights in the package: `allmlp finetune PHOTOS --from starter --recipe starter --out RUN`, or distil.py. The weights are
rounded to bfloat16, scored in this form on Tiny-ImageNet's 10,000 validation photos, and written into the package with a model
card.
"""

import argparse
import dataclasses
import json
import shlex
from itertools import count
from pathlib import Path

import torch

from allmlp.checkpoints import load_checkpoint, save_checkpoint
from allmlp.data import evaluation_batches, open_dataset, resized_images
from allmlp.inference import eager_forward
from allmlp.io.atomic_write import write_text
from allmlp.metrics import score_batches
from allmlp.model import num_parameters
from allmlp.provenance import record

ROOT = Path(__file__).resolve().parents[2]
TARGET = ROOT / "src" / "allmlp" / "checkpoints" / "starter"
RESULT = Path(__file__).parent / "results" / "starter.json"

SOURCE = "starter: pre-trained on Tiny-ImageNet by allmlp's recipe of that name; comes with allmlp"

CARD = """# starter

The weights from which `allmlp finetune` is initialised by default: an MLP-Mixer of {parameters:.2f} M parameters for
photos of 64 × 64 pixels, pre-trained on Tiny-ImageNet.

**Data.** Tiny-ImageNet (Stanford, CS231N): 100,000 training photos of 200 of ImageNet's classes, reduced to 64 × 64 pixels. The
photos belong to their photographers; ImageNet gives access to researchers for non-commercial research and education
(image-net.org/download). Whether that restricts weights trained on them is not settled: for commercial use, seek legal advice
or train on your own photos (`allmlp train`).

**Training.** Recipe `starter`, seed {seed}, {epochs:.3g} epochs{in_rounds}:

    python experiments/starter/arrange.py TINY_IMAGENET PHOTOS
{commands}
    python experiments/starter/pack.py RUN{num_rounds}

{rounds}

{teacher}**Accuracy.** {top1:.2%} top-1, {top5:.2%} top-5 on the 10,000 validation photos of Tiny-ImageNet, where chance
is 0.5 %. {choice}Rounding the weights to bfloat16 changed top-1 by {change:+.2%}.

**Limits.** It is small and was trained for hours, not weeks: expect much less of it than of the published Mixers, which are
10 to 115 times as large. Photos of 64 × 64 pixels show no fine detail. Its 200 classes are objects, animals and scenes as
photographed for the web, mostly in North America and Europe; there are no classes of people, and nothing was done to reduce
bias. It is meant to be fine-tuned, not to be used as it is.
"""


TEACHER = """\
**Teacher.** In round {rounds}, half of each label was the answer of a convolutional network about the same augmented image:
{network} by Google (github.com/tensorflow/tpu, Apache 2.0), which its authors trained on the 1.28 million photos of
ImageNet, with a classifier for Tiny-ImageNet that we fitted ({top1:.1%} top-1 there). Tiny-ImageNet consists of photos of
ImageNet, so that the teacher may have been trained on photos of its validation split, and the accuracy below may be too high
for that reason. Accuracies on other photos are not affected.

"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    run = parser.parse_args().run
    facts = json.loads((run / "metrics.json").read_text())
    recipe = json.loads((run / "recipe.json").read_text())
    trained = json.loads((run / "environment.json").read_text())
    exact = load_checkpoint(run)
    rounded = dataclasses.replace(
        exact,
        weights={name: weight.to(torch.bfloat16) for name, weight in exact.weights.items()},
        config=dataclasses.replace(exact.config, stochastic_depth=0.0, dropout=0.0),
        source=SOURCE,
        temperature=1.0,  # like a threshold of "unknown", one that was fitted on Tiny-ImageNet does not apply to other classes
        unknown=None,
    )
    source = json.loads((run / "data.json").read_text())["source"]
    scores = score(rounded, source)
    save_checkpoint(rounded, TARGET)
    top1_float32 = facts["evaluations"]["validation"]["top1"]
    rounds = json.loads(RESULT.read_text())["rounds"] if recipe["transfer"]["checkpoint"] == "starter" else []
    rounds.append(
        {
            "num_epochs": facts["num_epochs"],
            "best_epoch": facts["best_epoch"],
            "seconds": facts["seconds"],
            "top1": top1_float32,
            "teacher": recipe["distillation"]["teacher"],
            "trained": {**trained, "command": as_round(trained["command"], source, len(rounds) + 1)},
        }
    )
    taught = [str(number) for number, each in enumerate(rounds, 1) if each.get("teacher")]
    figures = {
        "top1": scores.top1,
        "top5": scores.top5,
        "loss": scores.loss,
        "num_examples": scores.num_examples,
        "top1_float32": top1_float32,
        "seed": recipe["seed"],
        "parameters": num_parameters(exact.config),
        "bytes": sum(file.stat().st_size for file in TARGET.iterdir() if file.name != "README.md"),
        "rounds": rounds,
    }
    card = CARD.format(
        parameters=figures["parameters"] / 1e6,
        seed=figures["seed"],
        epochs=sum(each["num_epochs"] for each in rounds),
        in_rounds=" in rounds,\neach from the weights of the one before" if len(rounds) > 1 else "",
        commands="\n".join(f"    {command}" for each in rounds for command in commands(each)),
        num_rounds=len(rounds),
        rounds="\n".join(
            ["| round | epochs | hours | on | top-1 |", "|---|---|---|---|---|", *map(row, rounds, count(1))]
        ),
        teacher=teacher_text(taught) if taught else "",
        top1=scores.top1,
        top5=scores.top5,
        choice="" if recipe["best_by"] == "last" else "The epoch was chosen on the same photos. ",
        change=scores.top1 - top1_float32,
    )
    write_text(TARGET / "README.md", card)
    print("wrote", TARGET, record(RESULT, figures, command="python experiments/starter/pack.py RUN"))


def commands(figures):
    """Return the commands of a round: that of its teacher, if it has one, and its own."""
    fitted = (
        ["python -m experiments.starter.teacher PHOTOS WEIGHTS.pth --out TEACHER"] if figures.get("teacher") else []
    )
    return [*fitted, figures["trained"]["command"]]


def teacher_text(rounds):
    """Return the paragraph of the card about the teacher of these rounds."""
    teacher = json.loads((RESULT.parent / "teacher.json").read_text())
    return TEACHER.format(rounds=" and ".join(rounds), network=teacher["network"], top1=teacher["top1"])


def as_round(command, photos, number):
    """Return the command of a round as others would type it: with names for its data set, its run and the run before."""
    words = ["PHOTOS" if word == photos else word for word in shlex.split(command)]
    if words[0] == "distil.py":
        words = ["python", "-m", "experiments.starter.distil", "PHOTOS", "TEACHER", *words[3:]]
    for option, value in (("--out", f"RUN{number}"), ("--resume", f"RUN{number}"), ("--from", f"RUN{number - 1}")):
        if option in words:
            words[words.index(option) + 1] = value
    return shlex.join(words)


def row(figures, number):
    """Return a round as a row of the card's table."""
    trained = figures["trained"]
    device = " with ".join(filter(None, (trained["device"], trained.get("instruction_sets"))))
    cells = (
        number,
        f"{figures['num_epochs']:.3g}",
        f"{figures['seconds'] / 3600:.1f}",
        f"{device}, torch {trained['torch']}",
    )
    return f"| {' | '.join(map(str, cells))} | {figures['top1']:.2%} |"


def score(checkpoint, photos):
    """Score a checkpoint on the validation photos."""
    split = open_dataset(photos).splits["validation"]
    batches = evaluation_batches(
        resized_images(split, checkpoint.preprocessing, num_workers=2),
        split.labels,
        checkpoint.preprocessing,
        num_classes=len(checkpoint.class_names),
    )
    return score_batches(eager_forward(checkpoint, device="cpu"), batches, checkpoint.class_names)


if __name__ == "__main__":
    main()
