"""Fine-tuning recipes: ours for few photos, the paper's, and the one of the authors' released code."""

import dataclasses

from allmlp.data import Augmentation
from allmlp.model import variant_config
from allmlp.recipes.small import demo
from allmlp.recipes.starter import starter
from allmlp.training import DataConfig, OptimizerConfig, Recipe, ScheduleConfig, TransferConfig

__all__ = ["finetune", "finetune_cifar", "finetune_paper", "finetune_paper_squash"]

_SGD = OptimizerConfig(name="sgd", learning_rate=0.03, weight_decay=0.0, momentum=0.9, clip_norm=1.0)


def finetune() -> Recipe:
    """Fine-tuning of any trained Mixer on few photos; by default, of the weights that come with allmlp.

    Command: `allmlp finetune PHOTOS`, or `allmlp finetune PHOTOS --from CHECKPOINT`.
    Expected: far better than training from scratch for as many steps, and better than the paper's fine-tuning: at least 70 %
        of the embedded clothing photos right, at least 65 % of Flowers-102 (20 test photos per class). Measured by
        experiments/transfer/run.py; docs/transfer.md has the table. Untested with other initial checkpoints: try --lr-grid.
    Cost: about 4 minutes on one CPU thread for 20 epochs of 900 photos of 64 pixels
        (experiments/transfer/results/clothing.json). The number of epochs follows from the number of photos.
    Source: ours, chosen in trials on validation photos of the embedded set and of Flowers-102. Earlier layers have lower
        learning rates (layer-wise decay, as in BEiT, arXiv 2106.08254). Strong colour jitter, which helps on few photos from
        scratch, hurt where colour identifies the class; cropping the central seven eighths for evaluation helped.
    """
    recipe = demo()
    return dataclasses.replace(
        recipe,
        name="finetune",
        model=dataclasses.replace(starter().model, stochastic_depth=0.1),
        num_epochs=20,
        data=DataConfig(crop_fraction=0.875, interpolation=None),
        augmentation=Augmentation(
            crop="inception",
            min_crop_area=0.5,
            flip=True,
            color_jitter=0.3,
            hue_jitter=0.05,
            mixup=0.4,
            cutmix=1.0,
            mix_probability=0.5,
        ),
        optimizer=OptimizerConfig(name="adamw", learning_rate=3e-3, weight_decay=0.05),
        transfer=TransferConfig(checkpoint="starter", layer_decay=0.8, cached_passes=8),
        max_minutes=None,
    )


def finetune_paper() -> Recipe:
    """The paper's fine-tuning: momentum SGD, no weight decay, batches of 512, photos resized by short side ("resmall-crop").

    Command: `allmlp finetune PHOTOS --recipe finetune_paper`, from b16-i21k unless `--from` names another checkpoint.
        `--lr-grid paper` tries the paper's learning rates: 0.003, 0.01, 0.03, 0.06. Training uses random crops of 224 out of
        256 pixels; for another image size, set augmentation.pad_pixels to a fourteenth of it.
    Expected: from the paper's ImageNet and ImageNet-21k weights at 224 pixels, a mean of 87.25 to 93.63 % over ImageNet,
        CIFAR, Pets and Flowers ("Avg 5"). Untested at scale here.
    Cost: 100 epochs of the variant at 224 pixels. On ImageNet, a tenth of which is held out, that is 225,000 steps; the
        paper takes 20,000: `--set num_steps=20000 --set num_epochs=0`. `allmlp study avg5` takes the paper's steps for each
        of its tasks.
    Source: the paper, section 3 and appendix C, which follows ViT (arXiv 2010.11929, table 4) for the number of steps. 100
        epochs are close to its 10,000 steps on CIFAR-10 (8,789 without the held-out tenth), of which the released code's 500
        warm-up steps are a fraction of 0.05. The paper does not state the crop during training; random crops of a larger
        photo are BiT's (arXiv 1912.11370).
    """
    return Recipe(
        name="finetune_paper",
        model=variant_config("B/16").as_template(),
        num_epochs=100,
        batch_size=512,
        data=DataConfig(fit="crop", crop_fraction=0.875, interpolation="bilinear", law="big_vision"),
        # Shifts of up to 16 pixels around the central 224 of 256: every crop of this size is possible.
        augmentation=Augmentation(crop="pad", pad_pixels=16, flip=True),
        optimizer=_SGD,
        schedule=ScheduleConfig(warmup=0.05, decay="cosine"),
        transfer=TransferConfig(checkpoint="b16-i21k"),
    )


def finetune_paper_squash() -> Recipe:
    """The paper's fine-tuning with both sides of a photo resized to 256 pixels, whatever its aspect ratio ("resize-crop").

    Command: `allmlp finetune PHOTOS --recipe finetune_paper_squash`.
    Expected: the paper's table 2, from the paper's weights. Untested at scale here.
    Cost: as for finetune_paper.
    Source: as for finetune_paper; table 2 has this pre-processing.
    """
    recipe = finetune_paper()
    return dataclasses.replace(
        recipe, name="finetune_paper_squash", data=dataclasses.replace(recipe.data, fit="squash")
    )


def finetune_cifar() -> Recipe:
    """The authors' released fine-tuning of Mixer-B/16 on CIFAR: 10,000 steps of 512 photos, inception crops.

    Command: `allmlp finetune cifar10 --recipe finetune_cifar`. For the authors' 20,000 steps on ImageNet:
        `--set num_steps=20000`.
    Expected: on CIFAR-10, 96.72 % from the ImageNet weights and 96.82 % from the ImageNet-21k weights; with L/16, 96.59 and
        98.34 % (the authors, in the source's README). Untested at scale here.
    Cost: 10,000 steps of 512 photos at 224 pixels: 3 to 10 hours on four V100 GPUs (the authors).
    Source: google-research/vision_transformer, vit_jax/configs/common.py and mixer_base16_cifar10.py, input_pipeline.py.
        It keeps momentum in bfloat16; here it is float32.
    """
    return Recipe(
        name="finetune_cifar",
        model=variant_config("B/16").as_template(),
        num_epochs=0,
        num_steps=10_000,
        batch_size=512,
        data=DataConfig(fit="squash", interpolation="bilinear", law="vit_jax", holdout=0.02),
        augmentation=Augmentation(crop="inception", crop_law="tensorflow", min_crop_area=0.05, flip=True),
        optimizer=_SGD,
        schedule=ScheduleConfig(warmup_steps=500, decay="cosine"),
        transfer=TransferConfig(checkpoint="b16-i21k"),
    )
