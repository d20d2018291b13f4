"""Figure 4: a Mixer does not care in which order its patches come, or the pixels within them; a ResNet does."""

import base64
import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure
from PIL import Image
from torch import Tensor

from allmlp.io.display import counted
from allmlp.provenance import spread
from allmlp.studies.drawing import COLOURS, curve, new_figure, panels, percent_axis, same_range
from allmlp.studies.learning.fit import Inputs, Schedule, fit
from allmlp.studies.learning.networks import make_network, multiply_adds
from allmlp.studies.learning.photos import StudyPhotos
from allmlp.studies.spreads import mean_and_std, verdict
from allmlp.studies.study import Arm, ArmContext, ArmResult, Study, StudyOptions, Table
from allmlp.studies.table3 import paper_training

__all__ = ["ORDERS", "STUDY", "permutation"]

IMAGE_SIZE, PATCH_SIZE = (32, 32), 4
ORDERS = ("as they are", "patches and pixels within them", "all pixels")
# Each about 40 million multiply-adds per photo.
NETWORKS: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "Mixer": (
        "mixer",
        {"patch_size": 4, "num_blocks": 8, "hidden_dim": 128, "tokens_mlp_dim": 64, "channels_mlp_dim": 256},
    ),
    "ResNet": ("resnet", {"layers": [3, 3, 3], "widths": [16, 32, 64]}),
}
_PAPERS_DROPS = {"Mixer": 0.45, "ResNet": 0.75}  # with all pixels shuffled, relative (section 3.4, figure 4)
_KEPT, _LOST = 1.0, 2.0  # points of top-1: the largest change that is none, and the smallest loss
_PERMUTATION_SEED = 0
_NUM_SEEDS, _NUM_STEPS = 2, 1000


def permutation(order: str, image_size: tuple[int, int], patch_size: int) -> np.ndarray[Any, np.dtype[np.int64]]:
    """Return which pixel (H * W,) of a photo, by its number in rows, comes to each place; the same for all photos and runs.

    "patches and pixels within them" moves whole patches, and moves the pixels within every patch by one further
    permutation, which all patches share. "all pixels" moves each pixel anywhere.

    Source: section 3.4 and figure 4.
    """
    height, width = image_size
    places = np.arange(height * width).reshape(height, width)
    draws = np.random.default_rng(_PERMUTATION_SEED)
    if order == ORDERS[0]:
        return places.ravel()
    if order == ORDERS[2]:
        return draws.permutation(places.ravel())
    rows, columns = height // patch_size, width // patch_size
    patches = places.reshape(rows, patch_size, columns, patch_size).transpose(0, 2, 1, 3).reshape(rows * columns, -1)
    patches = patches[draws.permutation(len(patches))][:, draws.permutation(patch_size**2)]
    return patches.reshape(rows, columns, patch_size, patch_size).transpose(0, 2, 1, 3).ravel()


def shuffled(order: str, image_size: tuple[int, int], patch_size: int, *, device: str) -> Inputs:
    """Return the function that permutes the pixels of images (B, 3, H, W)."""
    pixels = torch.from_numpy(permutation(order, image_size, patch_size)).to(device)

    def apply(images: Tensor) -> Tensor:
        return images.flatten(2)[:, :, pixels].reshape(images.shape)

    return apply


def arms(options: StudyOptions) -> list[Arm]:
    schedule = Schedule(num_steps=options.num_steps or _NUM_STEPS, num_scores=6)
    return [
        Arm(
            f"{name}, {order}",
            {"network": name, "kind": kind, "widths": dict(widths), "order": order, "schedule": schedule.settings()},
            seed,
        )
        for seed in range(options.num_seeds or _NUM_SEEDS)
        for name, (kind, widths) in NETWORKS.items()
        for order in ORDERS
    ]


def run(arm: Arm, context: ArmContext) -> Mapping[str, Any]:
    settings = arm.settings
    photos = context.photos(IMAGE_SIZE)
    network = make_network(
        settings["kind"],
        seed=arm.seed,
        image_size=IMAGE_SIZE,
        num_classes=len(photos.class_names),
        widths=settings["widths"],
    )
    facts = {
        "example": _example(photos, settings["order"]),
        "parameters": sum(parameter.numel() for parameter in network.parameters()),
        "multiply_adds": multiply_adds(network, IMAGE_SIZE),
    }
    inputs = shuffled(settings["order"], IMAGE_SIZE, PATCH_SIZE, device=context.device)
    schedule = Schedule(**settings["schedule"])
    learnt = fit(
        network,
        photos,
        schedule,
        seed=arm.seed,
        folder=context.folder,
        report=context.report,
        device=context.device,
        inputs=inputs,
    )
    return {**facts, **learnt}


def _example(photos: StudyPhotos, order: str) -> str:
    """Return four of the scored photos, in a square, as the network sees them: a PNG in base64. Fewer are repeated."""
    pixels = permutation(order, IMAGE_SIZE, PATCH_SIZE)
    chosen = np.resize(np.arange(len(photos.scored.labels)), 4)
    shown = photos.scored.images[chosen].reshape(4, len(pixels), 3)[:, pixels].reshape(4, *IMAGE_SIZE, 3)
    square = np.concatenate([np.concatenate(list(pair), axis=1) for pair in (shown[:2], shown[2:])])
    file = io.BytesIO()
    Image.fromarray(square).save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode()


def _top1(results: Sequence[ArmResult], network: str, order: str) -> list[float]:
    return [
        result.figures["top1"]
        for result in results
        if (result.arm.settings["network"], result.arm.settings["order"]) == (network, order)
    ]


def table(results: Sequence[ArmResult]) -> Table:
    rows = []
    for name in NETWORKS:
        first = next(result.figures for result in results if result.arm.settings["network"] == name)
        unchanged = spread(_top1(results, name, ORDERS[0]))["mean"]
        for order in ORDERS:
            figures = spread(_top1(results, name, order))
            rows.append(
                (
                    name,
                    order,
                    f"{first['parameters'] / 1e6:.2f} M",
                    f"{first['multiply_adds'] / 1e6:.0f} M",
                    mean_and_std(figures, scale=100),
                    f"{100 * (figures['mean'] / unchanged - 1):+.0f} %" if order != ORDERS[0] and unchanged else "",
                    str(figures["n"]),
                )
            )
    columns = ("network", "pixels shuffled", "parameters", "multiply-adds", "top-1, %", "change, relative", "n")
    return Table(columns, rows)


def agreement(results: Sequence[ArmResult]) -> str:
    """Return whether only the ResNet loses by shuffled patches, and both networks by all pixels shuffled.

    The noise of a change is the sum of the standard deviations over seeds with and without shuffling. It agrees if shuffled
    patches change the Mixer's top-1 by at most a point, or the noise if that is more, and the other three changes are losses of
    more than two points and more than their noise; though not in size, if a network loses less than half of what the paper's
    loses, relative to photos as they are. It does not agree if one of the four is beyond its bound by more than its noise. In
    between, and with a single seed, it only points one way or the other.
    """
    means = {(name, order): spread(_top1(results, name, order)) for name in NETWORKS for order in ORDERS}
    change = {key: 100 * (figures["mean"] - means[key[0], ORDERS[0]]["mean"]) for key, figures in means.items()}
    noise = {key: 100 * (figures["std"] + means[key[0], ORDERS[0]]["std"]) for key, figures in means.items()}
    kept, *losses = [("Mixer", ORDERS[1]), ("ResNet", ORDERS[1]), ("Mixer", ORDERS[2]), ("ResNet", ORDERS[2])]
    is_kept, is_lost = abs(change[kept]) <= _KEPT, all(change[key] < -_LOST for key in losses)
    agrees = abs(change[kept]) <= max(_KEPT, noise[kept]) and all(
        change[key] < -max(_LOST, noise[key]) for key in losses
    )
    contradicts = abs(change[kept]) > _KEPT + noise[kept] or any(change[key] > -_LOST + noise[key] for key in losses)
    num_seeds = means[kept]["n"]
    first_words = verdict(holds=agrees or (is_kept and is_lost), is_sure=num_seeds > 1 and (agrees or contradicts))
    is_smaller, size = _size_of_drops(means, num_photos=results[0].figures["curve"][-1]["photos_seen"])
    if agrees and num_seeds > 1 and is_smaller:
        first_words += ", though not in size"
    mixer, resnet, mixer_all, resnet_all = (change[key] for key in (kept, *losses))
    return (
        f"{first_words}: with patches and the pixels within them shuffled, the Mixer's top-1 changes by {mixer:+.1f} points "
        f"and the ResNet's by {resnet:+.1f}; with all pixels shuffled, by {mixer_all:+.1f} and {resnet_all:+.1f} "
        f"({counted(num_seeds, 'seed')}; the permutation is the same in all). {size}"
    )


def _size_of_drops(means: Mapping[tuple[str, str], Mapping[str, float]], *, num_photos: float) -> tuple[bool, str]:
    """Return whether all pixels shuffled cost a network less than half of what they cost the paper's, and a sentence."""
    top1 = {name: means[name, ORDERS[0]]["mean"] for name in NETWORKS}
    drops = {name: 1 - means[name, ORDERS[2]]["mean"] / top1[name] if top1[name] else 0.0 for name in NETWORKS}
    is_smaller = any(drops[name] < papers / 2 for name, papers in _PAPERS_DROPS.items())
    lost = " and the ".join(f"{name} loses {100 * drop:.0f} %" for name, drop in drops.items())
    reached = ""
    if is_smaller:
        values = " and ".join(f"{100 * value:.1f}" for value in top1.values())
        reached = f"; after {num_photos:,.0f} photos, they reach {values} % without shuffling"
    papers_drops = " and ".join(f"{100 * drop:.0f}" for drop in _PAPERS_DROPS.values())
    return is_smaller, (
        f"Relative to its top-1, the {lost} by all pixels shuffled, in the paper about {papers_drops} %{reached}."
    )


def figure(results: Sequence[ArmResult]) -> Figure:
    """Draw the inputs above, and the accuracy while the networks learn below."""
    drawing = new_figure(height=6.2)
    parts: Any = drawing.subfigures(2, 1, height_ratios=(0.8, 1))
    above, below = parts
    for axes, order in zip(above.subplots(1, len(ORDERS)), ORDERS, strict=True):
        example = next(result.figures["example"] for result in results if result.arm.settings["order"] == order)
        axes.imshow(np.asarray(Image.open(io.BytesIO(base64.b64decode(example)))), interpolation="nearest")
        axes.set_title(f"pixels shuffled: {order}" if order != ORDERS[0] else "photos as they are", fontsize=9)
        axes.set_axis_off()
    for name, panel in zip(NETWORKS, panels(below, list(NETWORKS)), strict=True):
        for colour, order in zip(COLOURS, ORDERS, strict=False):
            runs = [
                result.figures["curve"]
                for result in results
                if (result.arm.settings["network"], result.arm.settings["order"]) == (name, order)
            ]
            seen = [point["photos_seen"] / 1000 for point in runs[0]]
            curve(panel, seen, [[point["top1"] for point in points] for points in runs], label=order, color=colour)
        percent_axis(panel, "top-1 on test photos", x="thousand photos seen")
        panel.legend(fontsize=8, frameon=False, title="pixels shuffled", title_fontsize=8)
    same_range(below.axes)
    return drawing


STUDY = Study(
    name="permutations",
    title="Permuted pixels (figure 4)",
    claim="Under one fixed permutation of all photos, a Mixer learns as well when patches, and the pixels within them, are "
    "shuffled, while a ResNet loses much of its accuracy; both lose when all pixels are shuffled (section 3.4, figure 4).",
    outcome="On JFT-300M, Mixer-B/16 with patches and the pixels within them shuffled is the same as unshuffled; with all "
    "pixels shuffled its accuracy drops by about 45 %, and ResNet50's by about 75 %.",
    setup="CIFAR-10 instead of JFT-300M, 32 pixels, patches of 4 pixels; a Mixer and a ResNet of about the same "
    "multiply-adds, the same schedule for both. Photos are moved and mirrored before they are shuffled. The command at the "
    "paper's scale trains the Mixer on photos as they are, since no recipe shuffles pixels or trains a ResNet.",
    data="cifar10",
    arms=arms,
    run=run,
    minutes=46,
    table=table,
    agreement=agreement,
    figure=figure,
    full_scale=(paper_training("jft_b16"),),
    extras={"timm": "studies"},
)
