"""Recipe for pre-training the weights that come with allmlp."""

import dataclasses

from allmlp.data import Augmentation
from allmlp.model import MixerTemplate
from allmlp.recipes.small import cifar10
from allmlp.training import Recipe

__all__ = ["starter"]


def starter() -> Recipe:
    """The Mixer with 1.80 M parameters from which `allmlp finetune` starts, trained on Tiny-ImageNet.

    Command: `allmlp train TINY_IMAGENET --recipe starter`; experiments/starter/arrange.py prepares the folder.
    Expected: 46.7 % on Tiny-ImageNet's validation photos. The weights were then trained in further rounds, with smaller crops,
        more mixing and a teacher; their model card has the commands and the accuracy of each.
    Cost: 16 epochs of 100,000 photos of 64 pixels in 200 classes: about 2 hours on one core with bfloat16.
    Source: ours; the training settings of recipe cifar10, with inception crops of at least half of the photo.
    """
    return Recipe(
        name="starter",
        model=MixerTemplate(
            image_size=(64, 64),
            patch_size=8,
            num_blocks=8,
            hidden_dim=160,
            tokens_mlp_dim=80,
            channels_mlp_dim=640,
            gelu="erf",
        ),
        num_epochs=16,
        batch_size=200,
        augmentation=Augmentation(crop="inception", min_crop_area=0.5, flip=True, cutmix=1.0, mix_probability=0.5),
        optimizer=dataclasses.replace(cifar10().optimizer, weight_decay=0.1),
        ema_decay=0.998,
    )
