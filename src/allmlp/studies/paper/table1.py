"""Table 1 and cost: parameters, GFLOPs and speed of the seven Mixers, next to ViTs and ResNets of about the same GFLOPs."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import nn

from allmlp.bench import ratios_of
from allmlp.model import VARIANTS
from allmlp.studies.drawing import COLOURS, log_axis, new_figure, panels
from allmlp.studies.learning.networks import make_network, multiply_adds
from allmlp.studies.learning.rates import (
    affordable,
    inference_call,
    measured_rates,
    training_call,
    with_batch_that_fits,
)
from allmlp.studies.spreads import verdict
from allmlp.studies.study import Arm, ArmContext, ArmResult, FullScale, Study, StudyOptions, Table

__all__ = ["GROUPS", "PAPER_PARAMETERS", "PAPER_RATES", "STUDY"]

IMAGE_SIZE, NUM_CLASSES = (224, 224), 1000
# Networks of a group take turns. By name: the variant of the Mixer, or timm's name.
GROUPS: Mapping[str, Mapping[str, str]] = {
    "about 2 GFLOPs": {"Mixer-S/32": "S/32", "ViT-S/32": "vit_small_patch32_224", "ResNet-18": "resnet18"},
    "about 8 GFLOPs": {
        "Mixer-S/16": "S/16",
        "Mixer-B/32": "B/32",
        "ViT-S/16": "vit_small_patch16_224",
        "ViT-B/32": "vit_base_patch32_224",
        "ResNet-50": "resnet50",
    },
    "about 25 GFLOPs": {"Mixer-B/16": "B/16", "ViT-B/16": "vit_base_patch16_224", "ResNet-152": "resnet152"},
    "large, patches of 32": {"Mixer-L/32": "L/32", "ViT-L/32": "vit_large_patch32_224"},
    "large, patches of 16": {"Mixer-L/16": "L/16", "ViT-L/16": "vit_large_patch16_224"},
    "huge": {"Mixer-H/14": "H/14", "ViT-H/14": "vit_huge_patch14_224"},
}
# Table 1: millions, without the classifier. Table 3: images/s per TPU-v3 core at 224 pixels.
PAPER_PARAMETERS = {"S/32": 19, "S/16": 18, "B/32": 60, "B/16": 59, "L/32": 206, "L/16": 207, "H/14": 431}
PAPER_RATES = {
    "Mixer-S/32": 11_489,
    "Mixer-S/16": 3_994,
    "Mixer-B/32": 4_208,
    "Mixer-B/16": 1_384,
    "Mixer-L/32": 1_314,
    "Mixer-L/16": 419,
    "Mixer-H/14": 194,
    "ViT-B/16": 861,
    "ViT-L/16": 280,
    "ViT-H/14": 87,
}
MEASURES = ("inference", "training")
_FAMILIES = ("Mixer", "ViT", "ResNet")
_BATCH_SIZE, _GPU_BATCH_SIZE, _NUM_ROUNDS = 8, 256, 9  # with 8 images, a GPU mostly waits for its next kernel
_SECONDS_PER_GROUP = 120.0
_MIN_ROUNDS = 3  # for more than a direction


def arms(options: StudyOptions) -> list[Arm]:
    """Return one arm per group. A seed is a repetition; a step is one round of turns."""
    num_rounds = min(_NUM_ROUNDS, options.num_steps or _NUM_ROUNDS)
    shared = {"batch_size": _BATCH_SIZE, "gpu_batch_size": _GPU_BATCH_SIZE, "num_rounds": num_rounds}
    return [
        Arm(group, {"networks": dict(networks), **shared}, seed)
        for seed in range(options.num_seeds or 1)
        for group, networks in GROUPS.items()
    ]


def run(arm: Arm, context: ArmContext) -> Mapping[str, Any]:
    figures = {name: counts(source) for name, source in arm.settings["networks"].items()}
    for measure in MEASURES:
        rates = _measured(arm, figures, measure, context)
        for name, entry in figures.items():
            entry[measure] = rates.get(name)
    return {"networks": figures, "num_threads": torch.get_num_threads()}


def _measured(
    arm: Arm, counts: Mapping[str, Mapping[str, Any]], measure: str, context: ArmContext
) -> Mapping[str, Mapping[str, Any]]:
    """Return the rates of the networks that this machine computes in reasonable time."""
    settings, device = arm.settings, context.device
    largest = settings["batch_size" if device == "cpu" else "gpu_batch_size"]
    chosen = affordable(counts, training=measure == "training", batch_size=largest, device=device)
    for name in counts:
        if name not in chosen:
            context.report(f"  {measure} of {name} is not measured: it would take too much time or memory here")
    if not chosen:
        return {}
    context.report(f"  {measure}: {', '.join(chosen)} take turns")
    make = inference_call if measure == "inference" else training_call

    def rates(batch_size: int) -> Mapping[str, Mapping[str, Any]]:
        networks = {name: _network(settings["networks"][name], NUM_CLASSES, arm.seed) for name in chosen}
        calls = {name: make(each, IMAGE_SIZE, batch_size=batch_size, device=device) for name, each in networks.items()}
        options: dict[str, Any] = {
            "num_rounds": settings["num_rounds"],
            "seconds": _SECONDS_PER_GROUP,
            "device": device,
        }
        return measured_rates(calls, batch_size=batch_size, **options)

    return with_batch_that_fits(rates, largest)


def _network(source: str, num_classes: int, seed: int) -> nn.Module:
    """Return a variant of the Mixer, with the erf GELU as in ViT, or a network of timm's."""
    kind: str
    widths: dict[str, Any]
    if source in VARIANTS:
        names = ("patch_size", "num_blocks", "hidden_dim", "tokens_mlp_dim", "channels_mlp_dim")
        kind, widths = "mixer", {name: getattr(VARIANTS[source], name) for name in names}
    else:
        kind, widths = "published", {"name": source}
    return make_network(kind, seed=seed, image_size=IMAGE_SIZE, num_classes=num_classes, widths=widths)


def counts(source: str) -> dict[str, Any]:
    """Return the parameters without the classifier, as in table 1, and the multiply-adds with one of 1,000 classes."""
    with torch.device("meta"):  # no memory, and no time, for weights whose values do not matter
        bare, whole = _network(source, 0, 0), _network(source, NUM_CLASSES, 0)
        parameters = sum(parameter.numel() for parameter in bare.parameters())
        return {"parameters": parameters, "multiply_adds": multiply_adds(whole, IMAGE_SIZE)}


def _merged(results: Sequence[ArmResult]) -> dict[str, dict[str, Any]]:
    """Return the figures of each network, with the means of its rates over repetitions."""
    found: dict[str, list[Mapping[str, Any]]] = {}
    for result in results:
        for name, figures in result.figures["networks"].items():
            found.setdefault(name, []).append(figures)
    merged = {}
    for name, repetitions in found.items():
        merged[name] = dict(repetitions[0])
        for measure in MEASURES:
            rates = [figures[measure] for figures in repetitions if figures[measure] is not None]
            merged[name][measure] = _mean_rate(rates) if rates else None
    return merged


def _mean_rate(rates: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    names = [name for name in ("images_per_second", "images_per_core_second") if name in rates[0]]
    return {name: float(np.mean([rate[name] for rate in rates])) for name in names}


def _gflops(figures: Mapping[str, Any]) -> float:
    return 2e-9 * float(figures["multiply_adds"])


def table(results: Sequence[ArmResult]) -> Table:
    rows = []
    for name, figures in _merged(results).items():
        family, _, variant = name.partition("-")
        inference, training = figures["inference"] or {}, figures["training"] or {}
        per_core = training.get("images_per_core_second")
        rows.append(
            (
                name,
                f"{figures['parameters'] / 1e6:.2f}",
                str(PAPER_PARAMETERS[variant]) if family == "Mixer" else "",
                f"{_gflops(figures):.2f}",
                _rate(inference.get("images_per_second")),
                f"{PAPER_RATES[name]:,}" if name in PAPER_RATES else "",
                _rate(training.get("images_per_second")),
                "-" if per_core is None else f"{1e6 / per_core / 3600:.1f}",
            )
        )
    columns = (
        "network",
        "parameters, M",
        "table 1, M",
        "GFLOPs",
        "images/s, inference",
        "the paper's, on a TPU-v3 core",
        "images/s, training",
        "core-hours per million training photos",
    )
    return Table(columns, rows)


def _rate(rate: float | None) -> str:
    return "-" if rate is None else f"{rate:,.0f}" if rate >= 99.5 else f"{rate:#.3g}"


def agreement(results: Sequence[ArmResult]) -> str:
    """Compare the parameters with table 1, and the speed of each Mixer with that of the ViT of the same name.

    It agrees if all counts are within a million of the paper's, and every Mixer that was measured is faster, by the median of
    the ratios of at least three rounds; it points the same way if the counts are right and more than half of the Mixers are
    faster, or if this machine is too slow to measure any. It does not agree with a wrong count, nor if half or fewer are
    faster; with fewer rounds, the latter points the other way.
    """
    merged = _merged(results)
    wrong = [
        variant
        for variant, millions in PAPER_PARAMETERS.items()
        if abs(merged[f"Mixer-{variant}"]["parameters"] / 1e6 - millions) >= 1
    ]
    ratios = _ratios(results)
    num_faster = sum(ratio > 1 for ratio in ratios.values())
    has_rounds = bool(ratios) and _rounds(results)[0] >= _MIN_ROUNDS
    is_faster = not ratios or num_faster > len(ratios) / 2
    is_sure = bool(wrong) or (has_rounds and (num_faster == len(ratios) or not is_faster))
    first_words = verdict(holds=is_faster and not wrong, is_sure=is_sure)
    counts = f"{len(PAPER_PARAMETERS) - len(wrong)} of {len(PAPER_PARAMETERS)} counts are within a million of table 1"
    shown = ", ".join(f"{variant} {ratio:.2f}" for variant, ratio in ratios.items())
    papers = ", ".join(
        f"{variant} {PAPER_RATES[f'Mixer-{variant}'] / PAPER_RATES[f'ViT-{variant}']:.2f}"
        for variant in VARIANTS
        if f"ViT-{variant}" in PAPER_RATES
    )
    return (
        f"{first_words}: {counts}. In inference, {num_faster} of {len(ratios)} Mixers are faster than the ViT of the same "
        f"name: {shown or 'none was measured'} times as fast; in the paper {papers} times (n = {_num_rounds(results)} rounds)."
    )


def _ratios(results: Sequence[ArmResult]) -> dict[str, float]:
    """Return how many times as fast as the ViT of its name each Mixer is in inference, where both were measured."""
    found: dict[str, list[float]] = {}
    for result in results:
        networks = result.figures["networks"]
        times = {name: figures["inference"]["rounds"] for name, figures in networks.items() if figures["inference"]}
        for variant in VARIANTS:
            if {f"Mixer-{variant}", f"ViT-{variant}"} <= times.keys():
                found.setdefault(variant, []).append(ratios_of(times, f"Mixer-{variant}", f"ViT-{variant}"))
    return {variant: float(np.mean(values)) for variant, values in found.items()}


def _rounds(results: Sequence[ArmResult]) -> list[int]:
    """Return the different numbers of rounds of inference, in order."""
    return sorted(
        {
            len(figures["inference"]["rounds"])
            for result in results
            for figures in result.figures["networks"].values()
            if figures["inference"]
        }
    )


def _num_rounds(results: Sequence[ArmResult]) -> str:
    counts = _rounds(results)
    return "0" if not counts else str(counts[0]) if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"


def figure(results: Sequence[ArmResult]) -> Figure:
    """Draw the speed of inference and of training against GFLOPs, both in powers of ten."""
    merged = _merged(results)
    drawing = new_figure(width=10.5, height=4.2)
    for panel, measure in zip(panels(drawing, MEASURES), MEASURES, strict=True):
        _draw(panel, merged, measure)
    return drawing


def _draw(axes: Axes, merged: Mapping[str, Mapping[str, Any]], measure: str) -> None:
    log_axis(axes, "x", "GFLOPs per image, forward pass (2 x multiply-adds)")
    log_axis(axes, "y", "images per second")
    for colour, family in zip(COLOURS, _FAMILIES, strict=False):
        points = {
            name: (_gflops(figures), figures[measure]["images_per_second"])
            for name, figures in merged.items()
            if name.startswith(family) and figures[measure] is not None
        }
        if not points:
            continue
        axes.plot(*zip(*points.values(), strict=True), "o", markersize=5, color=colour, label=family)
        for index, name in enumerate(sorted(points, key=points.__getitem__)):
            text = name.partition("-")[2]
            axes.annotate(
                text, points[name], textcoords="offset points", fontsize=7, color=colour, **_label(family, index)
            )
    if axes.lines:
        axes.legend(fontsize=8, frameon=False, loc="lower left")


def _label(family: str, index: int) -> dict[str, Any]:
    """Return where the name of a point is: many points are close."""
    if family == "ViT":
        return {"xytext": (4, -8 if index % 2 else 2), "ha": "left"}
    return {"xytext": (0, 5 if family == "Mixer" else -11), "ha": "center"}


STUDY = Study(
    name="table1",
    title="Parameters, GFLOPs and speed (table 1)",
    claim="The seven Mixers have 18 to 431 million parameters without the classifier (table 1), and a Mixer runs faster than a "
    "ViT of the same scale (table 3).",
    outcome="At 224 pixels, Mixer-B/16 computes 1,384 images/s per TPU-v3 core and ViT-B/16 861, Mixer-L/16 419 and ViT-L/16 "
    "280, Mixer-H/14 194 and ViT-H/14 87 (table 3).",
    setup="Random weights and images, float32, 1,000 classes, 224 pixels, batches of "
    f"{_BATCH_SIZE}, on a GPU of {_GPU_BATCH_SIZE} or as many as fit its memory; timm's ViTs and ResNets. Networks of about "
    "the same cost take turns in one process. GFLOPs are twice the multiply-adds of matrix products and convolutions in one "
    "image's forward pass. A training step is forward, backward and AdamW; its core-hours are processor time, without reading "
    "photos. A dash stands for a network that would take over a minute or a third of this machine's memory, and is only "
    "counted. Mixer-S and timm's ViT-S differ in width and depth.",
    data=None,
    arms=arms,
    run=run,
    minutes=25,
    table=table,
    agreement=agreement,
    figure=figure,
    full_scale=(
        FullScale("allmlp train imagenet --recipe imagenet_b16", "B/16", 300 * 1.28e6, 10.0),
        FullScale("allmlp train imagenet --recipe imagenet_l16", "L/16", 300 * 1.28e6, 40.0),
        FullScale("allmlp train PHOTOS --recipe imagenet21k_b16", "B/16", 300 * 14e6, 150.0),
        FullScale("allmlp train PHOTOS --recipe imagenet21k_l16", "L/16", 300 * 14e6, 410.0),
    ),
    extras={"timm": "studies"},
)
