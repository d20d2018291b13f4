"""The paper's recipes: every number equals a table that was copied by hand from the paper and from the authors' code."""

import dataclasses

import numpy as np
import pytest

from allmlp import Checkpoint, MlpMixer, Preprocessing
from allmlp.data import Augmentation
from allmlp.data.augmentation.crops import draw_crops
from allmlp.model import VARIANTS, num_parameters
from allmlp.recipes import RECIPES, load_recipe
from allmlp.training.recipe.configs import DataConfig, OptimizerConfig, ScheduleConfig
from allmlp.training.recipe.resolve import with_checkpoint
from allmlp.training.step.schedule import learning_rate_factor

# Table 4; the variants' patch of 16 (H: 14).  epochs, lr, wd, RandAugment, mixup, dropout, stochastic depth
TABLE_4 = {
    "imagenet_b16": ("B/16", 300, 0.001, 0.1, 15, 0.5, 0.0, 0.1),
    "imagenet_l16": ("L/16", 300, 0.001, 0.1, 15, 0.5, 0.0, 0.1),
    "imagenet21k_b16": ("B/16", 300, 0.001, 0.1, 10, 0.2, 0.0, 0.1),
    "imagenet21k_l16": ("L/16", 300, 0.001, 0.1, 20, 0.5, 0.0, 0.1),
    "jft_s16": ("S/16", 5, 0.003, 0.03, None, 0.0, 0.0, 0.0),
    "jft_b16": ("B/16", 7, 0.003, 0.03, None, 0.0, 0.0, 0.0),
    "jft_l16": ("L/16", 14, 0.001, 0.03, None, 0.0, 0.0, 0.0),
    "jft_h14": ("H/14", 14, 0.001, 0.03, None, 0.0, 0.0, 0.0),
}
PRETRAINING = (*TABLE_4, "big_vision_b16")

# Table 1:  layers, patch, C, D_C, D_S, and the parameters with 1,000 classes as the authors' code counts them
TABLE_1 = {
    "S/16": (8, 16, 512, 2048, 256, 18_528_264),
    "B/16": (12, 16, 768, 3072, 384, 59_880_472),
    "L/16": (24, 16, 1024, 4096, 512, 208_196_168),
    "H/14": (32, 14, 1280, 5120, 640, 432_350_952),
}


def augmentation_of(magnitude, mixup):
    layers = {} if magnitude is None else {"rand_augment_layers": 2, "rand_augment_magnitude": magnitude}
    crop = {"crop": "inception", "crop_law": "tensorflow", "min_crop_area": 0.05}
    return Augmentation(**crop, flip=True, mixup=mixup, **layers)


@pytest.mark.parametrize("name", TABLE_4)
def test_numbers_are_those_of_table_4(name):
    variant, epochs, rate, decay, magnitude, mixup, dropout, depth = TABLE_4[name]
    recipe = load_recipe(name)
    model = recipe.model.with_num_classes(1000)  # ImageNet's, which table 1 counts the parameters for
    assert recipe.model.num_classes is None  # the data decides
    assert (recipe.num_epochs, recipe.num_steps) == (epochs, None)
    assert (recipe.optimizer.learning_rate, recipe.optimizer.weight_decay) == (rate, decay)
    assert recipe.augmentation == augmentation_of(magnitude, mixup)
    assert (model.dropout, model.stochastic_depth) == (dropout, depth)
    widths = (model.num_blocks, model.patch_size, model.hidden_dim, model.channels_mlp_dim, model.tokens_mlp_dim)
    assert (*widths, num_parameters(model)) == TABLE_1[variant]
    assert (recipe.loss, recipe.head_bias) == ("softmax", 0.0)


@pytest.mark.parametrize("name", PRETRAINING)
def test_what_all_rows_share_is_appendix_bs(name):
    recipe = load_recipe(name)
    assert recipe.model.image_size == (224, 224) and recipe.model.gelu == "tanh"
    assert recipe.batch_size == 4096
    optimizer = recipe.optimizer
    assert (optimizer.name, optimizer.betas, optimizer.clip_norm) == ("adamw", (0.9, 0.999), 1.0)
    assert (recipe.schedule.warmup_steps, recipe.schedule.decay) == (10_000, "linear")
    pixels = {"crop_fraction": 224 / 256, "interpolation": "bilinear", "law": "big_vision"}
    assert recipe.data == DataConfig(**pixels, holdout=0.01)
    assert recipe.ema_decay is None and recipe.max_minutes is None
    assert (recipe.class_weights, recipe.sampler) == ("none", "uniform")


def test_big_visions_numbers_are_those_of_its_file():
    """mlp_mixer_i1k.py: lr 0.001, wd 1e-4, linear_end 1e-5, init_head_bias -6.9, randaug(2,15), mixup p 0.5, depth 0.1."""
    recipe = load_recipe("big_vision_b16")
    assert (recipe.loss, recipe.head_bias, recipe.num_epochs) == ("sigmoid", -6.9, 300)
    assert recipe.augmentation == augmentation_of(15, 0.5)
    assert (recipe.model.stochastic_depth, recipe.model.dropout) == (0.1, 0.0)
    rate, decay = recipe.optimizer.learning_rate, recipe.optimizer.weight_decay
    # Its step: w -= schedule × (lr × adam + wd × w). Ours: w -= schedule × lr × (adam + weight_decay × w).
    assert rate == 0.001 and rate * decay == pytest.approx(1e-4, rel=1e-12)
    num_steps = round(1_281_167 * 0.99 * 300 / 4096)
    for step in (10_000, 50_000, num_steps - 1):
        progress = (step - 10_000) / (num_steps - 10_000)
        factor = learning_rate_factor(recipe.schedule, step=step, num_steps=num_steps)
        assert factor == pytest.approx(1e-5 + (1.0 - 1e-5) * (1.0 - progress), rel=1e-9)
    assert {
        field for field, value in dataclasses.asdict(recipe).items() if value != _asdict("imagenet_b16")[field]
    } == {
        "name",
        "loss",
        "head_bias",
        "schedule",
    }


def _asdict(name):
    return dataclasses.asdict(load_recipe(name))


@pytest.mark.parametrize(("name", "fit"), [("finetune_paper", "crop"), ("finetune_paper_squash", "squash")])
def test_fine_tuning_is_section_3s(name, fit):
    recipe = load_recipe(name)
    assert recipe.optimizer == OptimizerConfig(
        name="sgd", learning_rate=0.03, weight_decay=0.0, momentum=0.9, clip_norm=1.0
    )
    assert recipe.optimizer.learning_rate in {0.003, 0.01, 0.03, 0.06}
    assert (recipe.batch_size, recipe.schedule.decay, recipe.loss) == (512, "cosine", "softmax")
    assert recipe.data == DataConfig(fit=fit, crop_fraction=224 / 256, interpolation="bilinear", law="big_vision")
    assert recipe.augmentation.mixup == recipe.augmentation.rand_augment_layers == recipe.model.stochastic_depth == 0.0
    # "Steps scaled to the data": on CIFAR-10 the released code's 10,000, of which 500 are warm-up, within 3 %.
    num_steps = recipe.num_epochs * 50_000 / 512
    assert num_steps == pytest.approx(10_000, rel=0.03)
    assert recipe.schedule.warmup * num_steps == pytest.approx(500, rel=0.03)


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("finetune_paper", "bilinear"),
        ("finetune_paper_squash", "bilinear"),
        ("finetune_cifar", "bilinear"),
        ("finetune", "bicubic"),
    ],
)
def test_a_fine_tuning_scales_photos_as_its_recipe_says_and_else_as_its_checkpoint(name, wanted):
    """The recipe as a run resolves it; the checkpoint scales bicubically, as the published ones do."""
    recipe = load_recipe(name)
    config = dataclasses.replace(
        recipe.model.with_num_classes(10), num_blocks=1, hidden_dim=8, tokens_mlp_dim=8, channels_mlp_dim=8
    )
    checkpoint = Checkpoint(
        config=config,
        weights=MlpMixer(config).state_dict(),
        preprocessing=Preprocessing(image_size=config.image_size, interpolation="bicubic"),
        class_names=tuple(map(str, range(config.num_classes))),
        source="a test",
    )
    assert with_checkpoint(recipe, checkpoint).data.interpolation == wanted


@pytest.mark.parametrize("name", ["finetune_paper", "finetune_paper_squash"])
def test_fine_tuning_sees_any_224_of_256_pixels_and_nothing_outside_of_the_photo(name):
    recipe = load_recipe(name)
    sizes = np.tile([512, 512], (4_000, 1))
    draws = np.random.default_rng(0).random((4_000, 64))
    boxes, flips = draw_crops(
        recipe.augmentation, draws, sizes, image_size=(224, 224), fit=recipe.data.fit, crop_fraction=224 / 256
    )
    assert np.allclose(boxes[:, 2:], 448)  # of 512: two photo pixels for one
    assert set(np.round(boxes[:, 0], 6)) == set(np.round(boxes[:, 1], 6)) == set(range(0, 65, 2))
    assert 0.45 < flips.mean() < 0.55


def test_fine_tuning_on_cifar_is_the_released_codes():
    """common.py and mixer_base16_cifar10.py; input_pipeline.py: area 0.05 to 1, flip; evaluation squashes to 224."""
    recipe = load_recipe("finetune_cifar")
    assert recipe.optimizer == load_recipe("finetune_paper").optimizer
    assert (recipe.batch_size, recipe.num_steps, recipe.num_epochs) == (512, 10_000, 0)
    assert recipe.schedule == ScheduleConfig(warmup_steps=500, decay="cosine")
    assert recipe.augmentation == augmentation_of(None, 0.0)
    pixels = {"fit": "squash", "crop_fraction": 1.0, "interpolation": "bilinear", "law": "vit_jax"}
    assert recipe.data == DataConfig(**pixels, holdout=0.02)
    assert recipe.model == VARIANTS["B/16"].as_template()


@pytest.mark.parametrize("name", [*PRETRAINING, "finetune_paper", "finetune_paper_squash", "finetune_cifar"])
def test_what_was_not_measured_here_says_so(name):
    assert "Untested at scale here." in " ".join(RECIPES[name].__doc__.split())


@pytest.mark.parametrize(
    ("name", "variant"),
    [("imagenet_b16", "B/32"), ("jft_s16", "S/32"), ("jft_b16", "B/32"), ("jft_l16", "L/32")],
)
def test_a_patch_of_32_makes_the_other_variant(name, variant):
    model = dataclasses.replace(load_recipe(name).model, patch_size=32, stochastic_depth=0.0)
    assert model == VARIANTS[variant].as_template()
    assert "model.patch_size=32" in RECIPES[name].__doc__
