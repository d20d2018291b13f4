"""One more round of training for the starter, from its own weights and with the answers of a teacher (teacher.py).

    python -m experiments.starter.distil PHOTOS TEACHER --out RUN --max-minutes 72 [--epochs 9]

PHOTOS was written by arrange.py, TEACHER by teacher.py. The same command resumes the run. pack.py packs it.
"""

import argparse
import dataclasses
from pathlib import Path

from experiments.starter.teacher import teacher

from allmlp.recipes import load_recipe
from allmlp.training import ConsoleProgress, DistillationConfig, TransferConfig, train


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos")
    parser.add_argument("teacher", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--max-minutes", type=float, required=True)
    parser.add_argument("--epochs", type=int, default=9)
    arguments = parser.parse_args()
    recipe = load_recipe("starter")
    recipe = dataclasses.replace(
        recipe,
        num_epochs=arguments.epochs,
        max_minutes=arguments.max_minutes,
        accumulation=2,  # half batches stay in the caches of laptop CPUs
        best_by="last",
        augmentation=dataclasses.replace(recipe.augmentation, min_crop_area=0.35, mix_probability=0.6),
        optimizer=dataclasses.replace(recipe.optimizer, learning_rate=0.006, adamw_learning_rate=6e-4),
        transfer=TransferConfig(checkpoint="starter"),
        distillation=DistillationConfig(teacher="EfficientNet-lite1, trained on ImageNet", weight=0.5),
    )
    train(
        recipe,
        arguments.photos,
        arguments.out,
        progress=ConsoleProgress(),
        resume=arguments.out.exists(),
        teacher=teacher(arguments.teacher),
    )


if __name__ == "__main__":
    main()
