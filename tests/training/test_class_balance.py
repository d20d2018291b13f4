"""Class weights and the balanced sampler: the loss against torch's and scikit-learn's, and runs that use them."""

import dataclasses

import numpy as np
import pytest
import torch
from sklearn.utils.class_weight import compute_class_weight
from tests.training.same_run import assert_same_run
from tests.training.small_runs import CLASSES, TINY, write_photos
from torch.nn import functional as F

from allmlp import ConfigError, train
from allmlp.data import hold_out, open_dataset
from allmlp.training import NoProgress
from allmlp.training.distributed.process_group import ProcessGroup
from allmlp.training.input_pipeline import InputPipeline
from allmlp.training.recipe.resolve import resolve
from allmlp.training.step.loss import balanced_class_weights, classification_loss

KINDS = ("softmax", "sigmoid")
FEW = dataclasses.replace(TINY, num_epochs=2)


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """12 blue photos, 6 green, 4 red, and as many again to test on."""
    root = write_photos(tmp_path_factory.mktemp("photos") / "data", per_class=12)
    for name, count in zip(CLASSES, (12, 6, 4), strict=True):
        for path in sorted((root / "train" / name).iterdir())[count:]:
            path.unlink()
    return root


@pytest.fixture
def case():
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(6, 4, generator=generator)
    soft = torch.softmax(torch.randn(6, 4, generator=generator), dim=1)
    classes = torch.tensor([0, 3, 1, 1, 2, 0])
    return logits, soft, classes, torch.tensor([0.3, 2.0, 1.0, 0.7])


@pytest.mark.parametrize("counts", [(5, 3, 2), (100, 1, 7), (4, 4, 4)])
def test_balanced_weights_are_scikit_learns(counts):
    labels = np.repeat(np.arange(3), counts)
    weights = balanced_class_weights(torch.from_numpy(labels), 3)
    wanted = compute_class_weight("balanced", classes=np.arange(3), y=labels)
    np.testing.assert_allclose(weights.numpy(), wanted, rtol=1e-6)
    assert float(weights[labels].mean()) == pytest.approx(1.0, rel=1e-6)


def test_a_class_without_samples_has_no_weight_and_does_not_count():
    weights = balanced_class_weights(torch.tensor([0, 0, 0, 2]), 4)
    assert weights.tolist() == pytest.approx([4 / 6, 0.0, 2.0, 0.0])


def test_the_weighted_softmax_loss_is_torchs_for_rows_of_probabilities(case):
    logits, soft, _, weights = case
    ours = classification_loss(logits, soft, "softmax", class_weights=weights)
    assert float(ours) == pytest.approx(float(F.cross_entropy(logits, soft, weight=weights)), rel=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_a_hard_labels_whole_loss_is_multiplied_by_its_classs_weight(kind, case):
    logits, _, classes, weights = case
    rows = F.one_hot(classes, 4).float()
    ours = classification_loss(logits, rows, kind, class_weights=weights)
    each = [classification_loss(logits[i : i + 1], rows[i : i + 1], kind) for i in range(6)]
    assert float(ours) == pytest.approx(float((torch.stack(each) * weights[classes]).mean()), rel=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_a_mixed_labels_loss_is_the_mix_of_the_losses(kind, case):
    logits, soft, _, weights = case
    mixed = 0.0
    for label in range(4):
        rows = torch.zeros_like(soft)
        rows[:, label] = 1.0
        each = torch.stack([classification_loss(logits[i : i + 1], rows[i : i + 1], kind) for i in range(6)])
        mixed += float((soft[:, label] * weights[label] * each).mean())
    assert float(classification_loss(logits, soft, kind, class_weights=weights)) == pytest.approx(mixed, rel=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_weights_of_one_change_nothing_and_parts_of_a_batch_add_up(kind, case):
    logits, soft, _, weights = case
    plain, ones = (classification_loss(logits, soft, kind, class_weights=w) for w in (None, torch.ones(4)))
    assert float(plain) == pytest.approx(float(ones), rel=1e-6)
    whole = classification_loss(logits, soft, kind, class_weights=weights)
    halves = [
        classification_loss(logits[part], soft[part], kind, class_weights=weights) for part in ([0, 1, 2], [3, 4, 5])
    ]
    assert float(whole) == pytest.approx(float(torch.stack(halves).mean()), rel=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_large_logits_stay_finite(kind, case):
    logits, soft, _, weights = case
    assert torch.isfinite(classification_loss(1e4 * logits, soft, kind, class_weights=weights))


def feed(recipe, photos, *, rank=0, count=1):
    dataset = hold_out(open_dataset(photos), fraction=0.1, seed=0)
    recipe = resolve(recipe, dataset, "cpu")
    return InputPipeline(recipe, dataset, ranks=ProcessGroup(rank, count, "cpu"), progress=NoProgress())


def test_a_batch_carries_the_weights_of_what_is_left_to_train_on(photos):
    recipe = dataclasses.replace(FEW, class_weights="balanced")
    (batch,) = feed(recipe, photos).batches(first_step=0, num_steps=1)
    assert batch.class_weights.tolist() == pytest.approx(
        [19 / (3 * n) for n in (11, 5, 3)]
    )  # a tenth, at least 1, held out
    assert all(part.class_weights is batch.class_weights for part in batch.parts(2))
    assert next(feed(FEW, photos).batches(first_step=0, num_steps=1)).class_weights is None


def test_two_processes_make_the_batch_of_one_and_repeats_look_different(photos):
    recipe = dataclasses.replace(FEW, sampler="balanced", num_epochs=4)
    alone, *both = (feed(recipe, photos, rank=rank, count=count) for rank, count in ((0, 1), (0, 2), (1, 2)))
    for step in range(4):
        (whole,) = alone.batches(first_step=step, num_steps=step + 1)
        parts = [next(each.batches(first_step=step, num_steps=step + 1)) for each in both]
        assert torch.equal(torch.cat([part.images for part in parts]), whole.images)
        assert torch.equal(torch.cat([part.labels for part in parts]), whole.labels)
        assert len({image.numpy().tobytes() for image in whole.images}) == 16
        assert len(set(whole.keys.tolist())) < 16  # the 3 red photos come more than once, each time cropped anew


@pytest.mark.parametrize("changes", [{"sampler": "balanced"}, {"class_weights": "balanced", "loss": "sigmoid"}])
def test_a_balanced_run_goes_on_bit_for_bit(changes, photos, tmp_path):
    class Stop(NoProgress):
        def step(self, step, **figures):
            if step == 1:
                raise KeyboardInterrupt

    recipe = dataclasses.replace(FEW, **changes)
    whole = train(recipe, photos, tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        train(recipe, photos, tmp_path / "run", progress=Stop())
    train(recipe, photos, tmp_path / "run", resume=True)
    assert_same_run(tmp_path / "run", whole.directory)
    plain = train(FEW, photos, tmp_path / "plain")
    assert (plain.sample_digest == whole.sample_digest) == ("sampler" not in changes)


def test_accumulated_parts_take_the_step_of_the_whole_batch(photos, tmp_path):
    """Rounding apart: weights divide by the batch's size, not by its weights, which differ from part to part."""
    model = dataclasses.replace(FEW.model, dropout=0.0)
    recipe = dataclasses.replace(FEW, model=model, class_weights="balanced", num_epochs=1)
    losses = []
    for accumulation in (1, 4):
        result = train(dataclasses.replace(recipe, accumulation=accumulation), photos, tmp_path / f"{accumulation}")
        losses.append(float((result.directory / "results.csv").read_text().splitlines()[1].split(",")[4]))
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)


def test_both_at_once_are_refused():
    with pytest.raises(ConfigError, match=r"both balanced, .* rare classes twice.*sampler=uniform"):
        dataclasses.replace(TINY, class_weights="balanced", sampler="balanced")
