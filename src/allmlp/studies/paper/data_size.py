"""Figure 2, right: a Mixer overfits on few photos, and gains more than a ViT or a ResNet from more of them."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator
from numpy.typing import NDArray
from torch import nn

from allmlp.errors import DataError
from allmlp.io.display import counted, summarise
from allmlp.metrics import FewShotOptions, LabelledFeatures, few_shot
from allmlp.provenance import spread
from allmlp.studies.drawing import COLOURS, curve, new_figure, panels, percent_axis
from allmlp.studies.learning.fit import Schedule, fit, predicted
from allmlp.studies.learning.networks import features, make_network, multiply_adds
from allmlp.studies.learning.photos import StudyPhotos
from allmlp.studies.spreads import mean_and_std, verdict
from allmlp.studies.study import Arm, ArmContext, ArmResult, FullScale, Study, StudyOptions, Table
from allmlp.studies.table3 import row_of

__all__ = ["NETWORKS", "SHARES", "STUDY", "nested_subset", "reserved_examples"]

IMAGE_SIZE = (32, 32)
SHARES = (0.01, 0.03, 0.1, 0.3, 1.0)  # the paper's, and a smaller one, since there are fewer steps to overfit in
# Each about 22 million multiply-adds per photo. The Mixer has the proportions of table 1: D_S = C / 2 and D_C = 4 C.
NETWORKS: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "Mixer": (
        "mixer",
        {"patch_size": 4, "num_blocks": 4, "hidden_dim": 96, "tokens_mlp_dim": 48, "channels_mlp_dim": 384},
    ),
    "ViT": ("vit", {"patch_size": 4, "hidden_dim": 64, "num_blocks": 6, "num_heads": 4}),
    "ResNet": ("resnet", {"layers": [1, 2, 2], "widths": [16, 32, 64]}),
}
MEASURES = {"five_shot": "linear 5-shot", "top1": "all test photos"}
_NUM_SEEDS, _NUM_STEPS = 3, 440
_NUM_SHOTS, _NUM_DRAWS = 5, 10
_RESERVED = 25  # photos per class from which the examples of 5-shot are drawn; no network is trained on them
_MIN_PHOTOS = 50


def nested_subset(labels: NDArray[np.int64], share: float, seed: int) -> NDArray[np.int64]:
    """Return the sorted indices of a share of the photos that are not reserved for 5-shot, the same share of every class.

    With the same seed, a smaller share is part of a larger one, and no photo is one of `reserved_examples`. Every class must
    have more than 25 photos.
    """
    chosen = []
    for order in _class_orders(labels, seed):
        others = order[_RESERVED:]
        chosen.append(others[: max(1, round(share * len(others)))])
    return np.sort(np.concatenate(chosen))


def reserved_examples(labels: NDArray[np.int64], seed: int) -> NDArray[np.int64]:
    """Return the sorted indices of 25 photos per class, from which the examples of linear 5-shot are drawn."""
    return np.sort(np.concatenate([order[:_RESERVED] for order in _class_orders(labels, seed)]))


def _class_orders(labels: NDArray[np.int64], seed: int) -> list[NDArray[np.int64]]:
    """Return the indices of each class in random order, a function of the seed and the class."""
    return [
        np.random.default_rng([seed, int(label)]).permutation(np.flatnonzero(labels == label))
        for label in np.unique(labels)
    ]


def _check_number_of_photos(photos: StudyPhotos) -> None:
    counts = np.bincount(photos.train.labels, minlength=len(photos.class_names))
    few = [f"{name} ({count})" for name, count in zip(photos.class_names, counts, strict=True) if count < _MIN_PHOTOS]
    if few:
        raise DataError(
            f"this study needs at least {_MIN_PHOTOS} training photos per class; too few: {summarise(few)}. "
            "Use other photos (--data)."
        )


def arms(options: StudyOptions) -> list[Arm]:
    schedule = Schedule(num_steps=options.num_steps or _NUM_STEPS, num_scores=2)
    return [
        Arm(
            f"{name}, {100 * share:g} % of the photos",
            {"network": name, "kind": kind, "widths": dict(widths), "share": share, "schedule": schedule.settings()},
            seed,
        )
        for seed in range(options.num_seeds or _NUM_SEEDS)
        for share in SHARES
        for name, (kind, widths) in NETWORKS.items()
    ]


def run(arm: Arm, context: ArmContext) -> Mapping[str, Any]:
    settings = arm.settings
    photos = context.photos(IMAGE_SIZE)
    _check_number_of_photos(photos)
    chosen = nested_subset(photos.train.labels, settings["share"], arm.seed)
    network = make_network(
        settings["kind"],
        seed=arm.seed,
        image_size=IMAGE_SIZE,
        num_classes=len(photos.class_names),
        widths=settings["widths"],
    )
    subset = photos._replace(train=photos.train.subset(chosen))
    schedule = Schedule(**settings["schedule"])
    facts = {
        "photos": len(chosen),
        "epochs": round(schedule.num_steps * schedule.batch_size / len(chosen), 2),
        "parameters": sum(parameter.numel() for parameter in network.parameters()),
        "multiply_adds": multiply_adds(network, IMAGE_SIZE),
    }
    learnt = fit(
        network, subset, schedule, seed=arm.seed, folder=context.folder, report=context.report, device=context.device
    )
    return {**facts, **learnt, "five_shot": _five_shot(network, photos, arm.seed, device=context.device)}


def _five_shot(network: nn.Module, photos: StudyPhotos, seed: int, *, device: str) -> float:
    """Return the mean linear 5-shot top-1 on the scored photos, over draws from the reserved training photos."""
    network.eval()
    reserved = reserved_examples(photos.train.labels, seed)
    examples, scored = photos.train.subset(reserved), photos.scored
    frozen = features(network)
    (result,) = few_shot(
        LabelledFeatures(predicted(frozen, examples.images, device=device), examples.labels, tuple(map(str, reserved))),
        LabelledFeatures(predicted(frozen, scored.images, device=device), scored.labels),
        photos.class_names,
        FewShotOptions(shots=(_NUM_SHOTS,), num_draws=_NUM_DRAWS, seed=seed),
    )
    return float(f"{result.mean:.5g}")


def _figures(results: Sequence[ArmResult], network: str, share: float) -> list[Mapping[str, Any]]:
    """Return the figures of a network with a share of the photos, by seed."""
    found = {
        result.arm.seed: result.figures
        for result in results
        if (result.arm.settings["network"], result.arm.settings["share"]) == (network, share)
    }
    return [found[seed] for seed in sorted(found)]


def _values(results: Sequence[ArmResult], network: str, share: float, measure: str) -> list[float]:
    return [figures[measure] for figures in _figures(results, network, share)]


def _shares(results: Sequence[ArmResult]) -> list[float]:
    """Return the shares of the photos, from the smallest."""
    return sorted({result.arm.settings["share"] for result in results})


def _gains(results: Sequence[ArmResult], network: str, measure: str) -> list[float]:
    """Return by how much a network is better with all photos than with the smallest share, by seed."""
    shares = _shares(results)
    few, most = (_values(results, network, share, measure) for share in (shares[0], shares[-1]))
    return [with_most - with_few for with_few, with_most in zip(few, most, strict=True)]


def table(results: Sequence[ArmResult]) -> Table:
    rows = []
    for name in NETWORKS:
        for share in _shares(results):
            runs = _figures(results, name, share)
            loss = np.mean([figures["curve"][-1]["train_loss"] for figures in runs])
            five_shot, top1 = (spread(_values(results, name, share, measure)) for measure in MEASURES)
            rows.append(
                (
                    name,
                    f"{runs[0]['multiply_adds'] / 1e6:.0f} M",
                    f"{100 * share:g} %",
                    f"{runs[0]['photos']:,}",
                    f"{runs[0]['epochs']:.3g}",
                    f"{loss:.2f}",
                    mean_and_std(five_shot, scale=100),
                    mean_and_std(top1, scale=100),
                    str(top1["n"]),
                )
            )
    columns = (
        "network",
        "multiply-adds",
        "share",
        "photos",
        "epochs",
        "training loss",
        "5-shot top-1, %",
        "top-1, %",
        "n",
    )
    return Table(columns, rows)


def agreement(results: Sequence[ArmResult]) -> str:
    """Compare the gains from the smallest share to all photos, in linear 5-shot, as the paper does.

    It agrees if the Mixer gains more than both other networks with every seed, of at least three (by chance, three seeds do in
    1 of 27 cases), and points the same way if it does so in the mean. It does not agree if the Mixer gains less than one of
    them with every seed, of at least three; otherwise, it points the other way.
    """
    gains = {name: _gains(results, name, "five_shot") for name in NETWORKS}
    leads = [
        [mixers - others for mixers, others in zip(gains["Mixer"], gains[name], strict=True)]
        for name in NETWORKS
        if name != "Mixer"
    ]
    num_seeds = len(gains["Mixer"])
    always_leads = all(value > 0 for lead in leads for value in lead)
    never_leads = any(all(value < 0 for value in lead) for lead in leads)
    holds = all(float(np.mean(lead)) > 0 for lead in leads)
    first_words = verdict(holds=holds, is_sure=num_seeds > 2 and (always_leads or never_leads))
    means = {
        measure: {name: 100 * np.mean(_gains(results, name, measure)) for name in NETWORKS} for measure in MEASURES
    }
    few_shot_means, full_means = means["five_shot"], means["top1"]
    return (
        f"{first_words}: from {100 * _shares(results)[0]:g} to 100 % of the photos, with the same number of steps, the Mixer "
        f"gains {few_shot_means['Mixer']:.1f} points of linear 5-shot, the ViT {few_shot_means['ViT']:.1f} and the ResNet "
        f"{few_shot_means['ResNet']:.1f}; in top-1 by their own classifiers, {full_means['Mixer']:.1f}, "
        f"{full_means['ViT']:.1f} and {full_means['ResNet']:.1f} ({counted(num_seeds, 'seed')}, which also draw the subsets "
        "and the examples)."
    )


def figure(results: Sequence[ArmResult]) -> Figure:
    """Draw both accuracies against the share of the training photos, one line per network."""
    drawing = new_figure(height=3.6)
    axes, shares = panels(drawing, list(MEASURES.values())), _shares(results)
    for panel, measure in zip(axes, MEASURES, strict=True):
        for colour, name in zip(COLOURS, NETWORKS, strict=False):
            by_share = [_values(results, name, share, measure) for share in shares]
            runs = [list(values) for values in zip(*by_share, strict=True)]
            curve(panel, [100 * share for share in shares], runs, label=name, color=colour)
        panel.set_xscale("log")
        panel.set_xticks([100 * share for share in shares], [f"{100 * share:g} %" for share in shares])
        panel.xaxis.set_minor_locator(NullLocator())
        percent_axis(panel, "top-1", x="share of the training photos (the same number of steps)")
    axes[0].legend(fontsize=8, frameon=False)
    return drawing


_EPOCHS = {0.03: 233, 0.1: 70, 0.3: 23, 1.0: 7}  # section 3.3


def _full_scale(recipe: str, variant: str, changes: str) -> list[FullScale]:
    """Return one training per share, with the paper's epochs. Table 3 has the cost for all photos; its L/16 has 14 epochs."""
    row = row_of(variant, "JFT-300M")
    core_days = round(1000 * row.cost * _EPOCHS[1.0] / row.epochs, 6)
    return [
        FullScale(
            f"allmlp train PHOTOS_{100 * share:g}_PERCENT --recipe {recipe}{changes} --epochs {_EPOCHS[share]}",
            variant,
            _EPOCHS[share] * share * 300e6,
            core_days if share == 1.0 else None,
        )
        for share in _EPOCHS
    ]


STUDY = Study(
    name="data_size",
    title="Number of training photos (figure 2, right)",
    claim="Trained for the same number of steps on 3, 10, 30 and 100 % of the photos, Mixers overfit strongly on the smallest "
    "share, and gain more from more photos than ResNets, and even than ViTs (section 3.3, figure 2).",
    outcome="On JFT-300M, judged by linear 5-shot on ImageNet: all Mixers (B/32, L/32, L/16) overfit strongly on 3 %, ResNets "
    "less; Mixer-L/32 and L/16 improve faster than ResNets, and the lead of ViT-L/16 over Mixer-L/16 shrinks with more photos.",
    setup="CIFAR-10 instead of JFT-300M, 32 pixels, patches of 4; a Mixer, a ViT and a ResNet of about the same multiply-adds, "
    "the same schedule for all. A seed draws nested subsets per class. Linear 5-shot is on the classes of the training itself, "
    f"not on other photos: {_NUM_DRAWS} draws of {_NUM_SHOTS} from {_RESERVED} photos per class that no network is trained on. "
    "Nothing ends early, whereas the paper stops by the accuracy on validation photos. The commands at the paper's scale train "
    "the Mixers only, on shares of your photos that you choose.",
    data="cifar10",
    arms=arms,
    run=run,
    minutes=41,
    table=table,
    agreement=agreement,
    figure=figure,
    full_scale=(
        *_full_scale("jft_b16", "B/32", " --set model.patch_size=32"),
        *_full_scale("jft_l16", "L/32", " --set model.patch_size=32"),
        *_full_scale("jft_l16", "L/16", ""),
    ),
    extras={"timm": "studies"},
)
