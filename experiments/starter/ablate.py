"""What pays in the training of the starter: each arm differs from recipe `starter` in one thing, for as many multiply-adds.

    python -m experiments.starter.ablate PHOTOS [--epochs 2] [--seed 0] [--arms NAME...] [--work runs/starter_ablation]

PHOTOS was written by arrange.py. An epoch of 32-pixel photos costs a quarter of an epoch of 64-pixel photos, so the arm that
starts with them gets more epochs. The figure is the top-1 on Tiny-ImageNet's validation photos after the last epoch, of the
averaged weights. Runs that are finished in --work are not repeated; --arms trains only these and writes no result.
"""

import argparse
import dataclasses
from pathlib import Path

from experiments.draws import once

from allmlp import train
from allmlp.provenance import record
from allmlp.recipes import load_recipe
from allmlp.training import OptimizerConfig, TransferConfig

RESULT = Path(__file__).parent / "results" / "ablation.json"


def arms(epochs):
    """Return the arms by name: a list of recipes, each of which goes on from the weights of the one before."""
    starter = dataclasses.replace(load_recipe("starter"), num_epochs=epochs, best_by="last")

    def changed(**changes):
        return [dataclasses.replace(starter, **changes)]

    def augmented(**changes):
        return changed(augmentation=dataclasses.replace(starter.augmentation, **changes))

    small = dataclasses.replace(
        starter, num_epochs=2 * epochs, model=dataclasses.replace(starter.model, image_size=(32, 32))
    )
    large = dataclasses.replace(
        starter, num_epochs=epochs - epochs // 2, transfer=TransferConfig(checkpoint="", image_size=(64, 64))
    )
    return {
        "recipe starter": [starter],
        "no CutMix": augmented(cutmix=0.0, mix_probability=0.0),
        "crops of at least 0.35 of the photo": augmented(min_crop_area=0.35),
        "shifts by 6 pixels instead of inception crops": augmented(crop="pad", pad_pixels=6, min_crop_area=1.0),
        "colour jitter": augmented(color_jitter=0.3, hue_jitter=0.05),
        "AdamW instead of Muon": changed(optimizer=OptimizerConfig(name="adamw", learning_rate=3e-3, weight_decay=0.1)),
        "32-pixel photos first": [small, large],
    }


def measured(recipes, photos, folder):
    """Train the recipes of an arm one after another; return its figures."""
    runs = []
    for number, recipe in enumerate(recipes):
        before = str(folder / f"{number - 1}") if runs else recipe.transfer.checkpoint
        transfer = dataclasses.replace(recipe.transfer, checkpoint=before)
        runs.append(train(dataclasses.replace(recipe, transfer=transfer), photos, folder / f"{number}", resume=True))
    scores = runs[-1].evaluations["validation"]
    return {
        "top1": scores.top1,
        "loss": scores.loss,
        "num_epochs": [run.recipe.num_epochs for run in runs],
        "minutes": round(sum(run.seconds for run in runs) / 60, 1),
        "precision": runs[-1].recipe.precision,
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos")
    parser.add_argument("--epochs", type=int, default=2, help="even")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--arms", nargs="+", metavar="NAME")
    parser.add_argument("--work", type=Path, default=Path("runs/starter_ablation"))
    arguments = parser.parse_args()
    figures = {}
    for name, recipes in arms(arguments.epochs).items():
        if name not in (arguments.arms or [name]):
            continue
        folder = arguments.work / name.replace(" ", "_")
        seeded = [dataclasses.replace(recipe, seed=arguments.seed) for recipe in recipes]
        figures[name] = once(folder.with_suffix(".json"), measured, seeded, arguments.photos, folder)
        print(name, figures[name], flush=True)
    if arguments.arms is None:
        command = f"python -m experiments.starter.ablate PHOTOS --epochs {arguments.epochs} --seed {arguments.seed}"
        print("wrote", record(RESULT, {"epochs": arguments.epochs, "arms": figures}, command=command))


if __name__ == "__main__":
    main()
