"""Training from scratch on few or small photos, on a laptop or one GPU."""

import dataclasses

from allmlp.data import Augmentation
from allmlp.model import MixerConfig
from allmlp.training import DataConfig, OptimizerConfig, Recipe, ScheduleConfig

__all__ = ["cifar10", "demo", "photos64", "photos128"]

# torch.optim.Muon for the matrices of the blocks, AdamW for the rest; found here on the embedded photos and CIFAR-10.
_MUON = OptimizerConfig(name="muon", learning_rate=0.02, adamw_learning_rate=2e-3, weight_decay=0.05, momentum=0.95)


def demo() -> Recipe:
    """A Mixer of 1.15 M parameters on 1,000 photos of clothing in minutes, the data that comes with allmlp.

    allmlp demo
    """
    return Recipe(
        name="demo",
        model=MixerConfig(
            image_size=(64, 64),
            patch_size=8,
            num_blocks=8,
            hidden_dim=128,
            tokens_mlp_dim=64,
            channels_mlp_dim=512,
        ),
        num_epochs=60,
        batch_size=100,
        augmentation=Augmentation(crop="inception", min_crop_area=0.3, flip=True, mixup=0.2, cutmix=1.0),
        optimizer=_MUON,
        schedule=ScheduleConfig(warmup=0.05),
        ema_decay=0.998,
    )


def cifar10() -> Recipe:
    """The 0.67 M Mixer of omihub777/MLP-Mixer-CIFAR on 32-pixel photos.

    allmlp train CIFAR10 --recipe cifar10
    """
    return Recipe(
        name="cifar10",
        model=MixerConfig(
            image_size=(32, 32),
            patch_size=4,
            num_blocks=8,
            hidden_dim=128,
            tokens_mlp_dim=64,
            channels_mlp_dim=512,
        ),
        num_epochs=10,
        batch_size=256,
        data=DataConfig(mean=(0.4914, 0.4822, 0.4465), std=(0.2470, 0.2435, 0.2616)),
        augmentation=Augmentation(crop="pad", pad_pixels=4, flip=True, cutmix=1.0, mix_probability=0.5),
        optimizer=_MUON,
        ema_decay=0.998,
    )


def photos64() -> Recipe:
    """The demo's Mixer for your own few or small photos, at 64 pixels.

    allmlp train PHOTOS --recipe photos64
    """
    return dataclasses.replace(demo(), name="photos64")


def photos128() -> Recipe:
    """A Mixer for some thousand photos of your own, at 128 pixels.

    allmlp train PHOTOS --recipe photos128
    """
    return dataclasses.replace(
        demo(),
        name="photos128",
        model=MixerConfig(
            image_size=(128, 128),
            patch_size=16,
            num_blocks=8,
            hidden_dim=256,
            tokens_mlp_dim=128,
            channels_mlp_dim=1024,
        ),
    )
