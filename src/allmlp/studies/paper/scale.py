"""Figure 3: accuracy against training cost and against throughput, for Mixers of many sizes next to ViTs and ResNets."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import nn

from allmlp.io.display import counted
from allmlp.provenance import spread
from allmlp.studies.drawing import COLOURS, log_axis, new_figure, panels, percent_axis
from allmlp.studies.frontier import frontier, shortfalls
from allmlp.studies.learning.fit import Schedule, fit, hours_unit
from allmlp.studies.learning.networks import make_network, multiply_adds
from allmlp.studies.learning.rates import inference_call, measured_rates, with_batch_that_fits
from allmlp.studies.spreads import mean_and_std, verdict
from allmlp.studies.study import Arm, ArmContext, ArmResult, Study, StudyOptions, Table
from allmlp.studies.table3 import paper_training

__all__ = ["NETWORKS", "RATES", "SIZES", "STUDY"]

SIZES = (24, 32)
RATES = "images per second"


def _mixer(num_blocks: int, width: int) -> dict[str, int]:
    """Return a Mixer with the proportions of table 1: D_S = C / 2 and D_C = 4 C."""
    widths = {"hidden_dim": width, "tokens_mlp_dim": width // 2, "channels_mlp_dim": 4 * width}
    return {"patch_size": 4, "num_blocks": num_blocks, **widths}


def _vit(num_blocks: int, width: int) -> dict[str, int]:
    return {"patch_size": 4, "num_blocks": num_blocks, "hidden_dim": width, "num_heads": width // 16}


NETWORKS: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "Mixer-2/32": ("mixer", _mixer(2, 32)),
    "Mixer-2/64": ("mixer", _mixer(2, 64)),
    "Mixer-4/64": ("mixer", _mixer(4, 64)),
    "Mixer-4/96": ("mixer", _mixer(4, 96)),
    "Mixer-8/96": ("mixer", _mixer(8, 96)),
    "Mixer-6/128": ("mixer", _mixer(6, 128)),
    "ViT-2/32": ("vit", _vit(2, 32)),
    "ViT-2/64": ("vit", _vit(2, 64)),
    "ViT-4/64": ("vit", _vit(4, 64)),
    "ViT-6/96": ("vit", _vit(6, 96)),
    "ResNet-8, quarter width": ("resnet", {"layers": [1, 1, 1], "widths": [4, 8, 16]}),
    "ResNet-8, half width": ("resnet", {"layers": [1, 1, 1], "widths": [8, 16, 32]}),
    "ResNet-8": ("resnet", {"layers": [1, 1, 1], "widths": [16, 32, 64]}),
    "ResNet-20": ("resnet", {"layers": [3, 3, 3], "widths": [16, 32, 64]}),
}
"""Mixers and ViTs are named by their number of blocks and their width, ResNets by their number of layers.

The cheapest are a ResNet and a ViT, so that every Mixer has a rival of at most its cost.
"""

_FAMILIES = ("Mixer", "ViT", "ResNet")
_NUM_SEEDS, _NUM_STEPS = 2, 600
_RATE_BATCH, _RATE_ROUNDS, _RATE_SECONDS = 64, 15, 90.0
_GPU_RATE_BATCH = 4096  # in which networks as small as these keep a GPU busy
_NOISE, _SLIGHTLY = 0.005, 0.1  # up to which accuracies are equal (or the mean std over seeds), and slightly different


class _Point(NamedTuple):
    """A network at an image size: means over seeds, and its speed."""

    name: str
    size: int
    figures: Mapping[str, Any]
    top1: Mapping[str, float]
    core_hours: float
    images_per_second: float

    @property
    def training_cost(self) -> float:
        """Multiply-adds of the whole training: the backward pass costs twice the forward pass."""
        return float(3 * self.figures["multiply_adds"] * self.figures["photos_seen"])

    @property
    def is_mixer(self) -> bool:
        return self.name.startswith("Mixer")


def arms(options: StudyOptions) -> list[Arm]:
    schedule = Schedule(num_steps=options.num_steps or _NUM_STEPS, num_scores=2)
    trainings = [
        Arm(
            f"{name}, {size} pixels",
            {"network": name, "kind": kind, "widths": dict(widths), "size": size, "schedule": schedule.settings()},
            seed,
        )
        for seed in range(options.num_seeds or _NUM_SEEDS)
        for size in SIZES
        for name, (kind, widths) in NETWORKS.items()
    ]
    networks = {name: {"kind": kind, "widths": dict(widths)} for name, (kind, widths) in NETWORKS.items()}
    batches = {"batch_size": _RATE_BATCH, "gpu_batch_size": _GPU_RATE_BATCH}
    settings = {"networks": networks, "sizes": list(SIZES), **batches, "num_rounds": _RATE_ROUNDS}
    return [*trainings, Arm(RATES, settings)]


def run(arm: Arm, context: ArmContext) -> Mapping[str, Any]:
    return _rates(arm, context) if arm.name == RATES else _training(arm, context)


def _training(arm: Arm, context: ArmContext) -> Mapping[str, Any]:
    settings, image_size = arm.settings, _image_size(arm.settings["size"])
    photos = context.photos(image_size)
    network = _network(settings, image_size, len(photos.class_names), arm.seed)
    schedule = Schedule(**settings["schedule"])
    facts = {
        "parameters": sum(parameter.numel() for parameter in network.parameters()),
        "multiply_adds": multiply_adds(network, image_size),
        "photos_seen": schedule.num_steps * schedule.batch_size,
    }
    learnt = fit(
        network, photos, schedule, seed=arm.seed, folder=context.folder, report=context.report, device=context.device
    )
    return {**facts, **learnt}


def _rates(arm: Arm, context: ArmContext) -> Mapping[str, Any]:
    """Let all networks take turns. Their weights do not matter for their speed."""
    settings, device = arm.settings, context.device

    def rates(batch_size: int) -> Mapping[str, Any]:
        calls = {}
        for size in settings["sizes"]:
            for name, entry in settings["networks"].items():
                network = _network(entry, _image_size(size), 10, arm.seed)
                calls[f"{name}, {size} pixels"] = inference_call(
                    network, _image_size(size), batch_size=batch_size, device=device
                )
        context.report(f"  {len(calls)} networks take turns, in batches of {batch_size:,}")
        options: dict[str, Any] = {"num_rounds": settings["num_rounds"], "seconds": _RATE_SECONDS, "device": device}
        return measured_rates(calls, batch_size=batch_size, **options)

    return with_batch_that_fits(rates, settings["batch_size" if device == "cpu" else "gpu_batch_size"])


def _network(entry: Mapping[str, Any], image_size: tuple[int, int], num_classes: int, seed: int) -> nn.Module:
    return make_network(
        entry["kind"], seed=seed, image_size=image_size, num_classes=num_classes, widths=entry["widths"]
    )


def _image_size(side: int) -> tuple[int, int]:
    return side, side


def _points(results: Sequence[ArmResult]) -> list[_Point]:
    rates = next(result.figures for result in results if result.arm.name == RATES)
    by_name: dict[str, list[ArmResult]] = {}
    for result in results:
        if result.arm.name != RATES:
            by_name.setdefault(result.arm.name, []).append(result)
    points = []
    for name, runs in by_name.items():
        settings, rate = runs[0].arm.settings, rates[name]
        points.append(
            _Point(
                settings["network"],
                settings["size"],
                runs[0].figures,
                spread([run.figures["top1"] for run in runs]),
                spread([run.figures["core_hours"] for run in runs])["mean"],
                rate.get("images_per_core_second", rate["images_per_second"]),
            )
        )
    return points


def _frontiers(points: Sequence[_Point]) -> tuple[set[int], set[int]]:
    """Return which points are on the frontier of accuracy against training cost, and of accuracy against throughput.

    Training cost is in multiply-adds: trainings do not take turns, so that their hours also depend on what else ran.
    """
    values = [point.top1["mean"] for point in points]
    by_cost = frontier([point.training_cost for point in points], values)
    return set(by_cost), set(frontier([1 / point.images_per_second for point in points], values))


def table(results: Sequence[ArmResult]) -> Table:
    points = _points(results)
    by_cost, by_speed = _frontiers(points)
    rows = [
        (
            point.name,
            f"{point.size}",
            f"{point.figures['parameters'] / 1e6:.2f} M",
            f"{point.figures['multiply_adds'] / 1e6:.1f} M",
            f"{point.training_cost / 1e12:#.3g}",
            f"{point.core_hours:#.3g}",
            f"{point.images_per_second:,.0f}",
            mean_and_std(point.top1, scale=100),
            " and ".join(name for name, found in (("cost", by_cost), ("throughput", by_speed)) if index in found),
            str(point.top1["n"]),
        )
        for index, point in enumerate(points)
    ]
    columns = (
        "network",
        "pixels",
        "parameters",
        "multiply-adds",
        "of training, 10^12",
        f"{hours_unit(points[0].figures)} of training",
        _rate_unit(points),
        "top-1, %",
        "on the frontier of",
        "n",
    )
    return Table(columns, rows)


def _rate_unit(points: Sequence[_Point]) -> str:
    return "images/s per core" if hours_unit(points[0].figures) == "core-hours" else "images/s"


def agreement(results: Sequence[ArmResult]) -> str:
    """Compare how far the cheaper and the dearer half of the Mixers are below ViTs and ResNets of at most their training cost.

    Cost is in multiply-adds; Mixers without such a rival are left out. It agrees if the dearer half is level with its rivals
    in the mean, up to the noise, the cheaper half is below its own by at most ten points ("slightly"), and there are at least
    two seeds; it points the same way if the dearer half is level, or closer than the cheaper half. Otherwise it does not agree,
    or with one seed points the other way.
    """
    points = _points(results)
    rivals = [index for index, point in enumerate(points) if not point.is_mixer]
    below = shortfalls([point.training_cost for point in points], [point.top1["mean"] for point in points], rivals)
    mixers = [(point.training_cost, under) for point, under in zip(points, below, strict=True) if point.is_mixer]
    compared = sorted((cost, under) for cost, under in mixers if under is not None)
    half = len(compared) // 2
    cheap, dear = (float(np.mean([under for _, under in part])) for part in (compared[:half], compared[half:]))
    noise = max(_NOISE, float(np.mean([point.top1["std"] for point in points])))
    num_seeds = points[0].top1["n"]
    is_level = dear <= noise
    is_sure = num_seeds > 1 and (noise < cheap <= _SLIGHTLY if is_level else dear >= cheap)
    left_out = len(mixers) - len(compared)
    on_cost, on_speed = (sum(points[index].is_mixer for index in found) for found in _frontiers(points))
    return (
        f"{verdict(holds=is_level or dear < cheap, is_sure=is_sure)}: the cheaper {half} of the {len(compared)} Mixers are "
        f"{100 * cheap:.1f} points below the best ViT or ResNet of at most their training cost in multiply-adds, the dearer "
        f"{len(compared) - half} are {100 * dear:.1f} points below"
        f"{f' ({left_out} Mixers without such a rival are left out)' if left_out else ''}; {on_cost} Mixers are on "
        f"the frontier of accuracy and training cost, {on_speed} on that of accuracy and throughput "
        f"({counted(num_seeds, 'seed')}; differences up to {100 * noise:.1f} points are noise)."
    )


def figure(results: Sequence[ArmResult]) -> Figure:
    """Draw accuracy against the core-hours of training, the multiply-adds of training, and throughput, with the frontiers."""
    points = _points(results)
    values = [point.top1["mean"] for point in points]
    hours, compute = [point.core_hours for point in points], [point.training_cost / 1e12 for point in points]
    rates = [point.images_per_second for point in points]
    drawing = new_figure(width=11.5, height=4.0)
    axes = panels(drawing, ["training cost", "training cost, on any machine", "throughput"])
    _draw(axes[0], points, hours, frontier(hours, values), f"{hours_unit(points[0].figures)} of training")
    _draw(axes[1], points, compute, frontier(compute, values), r"multiply-adds of training, $10^{12}$")
    _draw(axes[2], points, rates, frontier([1 / rate for rate in rates], values), _rate_unit(points))
    handles, labels = axes[0].get_legend_handles_labels()
    drawing.legend(handles, labels, fontsize=8, frameon=False, loc="outside lower center", ncols=len(labels))
    return drawing


def _draw(axes: Axes, points: Sequence[_Point], x: Sequence[float], best: Sequence[int], label: str) -> None:
    for colour, family in zip(COLOURS, _FAMILIES, strict=False):
        for size, marker in zip(SIZES, "so", strict=True):
            chosen = [index for index, each in enumerate(points) if each.name.startswith(family) and each.size == size]
            axes.scatter(
                [x[index] for index in chosen],
                [points[index].top1["mean"] for index in chosen],
                s=22,
                marker=marker,
                color=colour,
                label=f"{family}, {size} pixels",
                zorder=3,
            )
    means = [points[index].top1["mean"] for index in best]
    axes.plot([x[index] for index in best], means, color=COLOURS[-1], linewidth=1, linestyle="--", label="frontier")
    log_axis(axes, "x", label)
    percent_axis(axes, "top-1 on test photos")


STUDY = Study(
    name="scale",
    title="Scale (figure 3)",
    claim="Small Mixers are slightly below the frontier of accuracy against training cost and throughput; large ones are "
    "on it (section 3.2, figure 3).",
    outcome="Trained on JFT-300M and measured on ImageNet, Mixer-S/32 reaches 68.70 % at 11,489 images/s per TPU-v3 core and "
    "10 core-days of training; Mixer-H/14 reaches 86.32 % at 194 images/s and 1,010 core-days, ViT-H/14 86.65 % at 87 images/s "
    "and 2,300 core-days (table 3).",
    setup="CIFAR-10, six Mixers with the proportions of table 1, four ViTs and four ResNets, each at 24 and 32 pixels with "
    "patches of 4, so that the tokens grow with the pixels, and the same schedule for all. They are scored as they are "
    "trained, whereas the paper fine-tunes on ImageNet. All is in float32, and on the CPU, core-hours and throughput are by "
    f"processor time; for the throughput of inference, all networks take turns, in batches of {_RATE_BATCH}, on a GPU of "
    f"{_GPU_RATE_BATCH:,} or as many as fit its memory. Trainings do not take turns, so that their hours also depend on what "
    "else ran: costs are compared by multiply-adds. The commands at the paper's scale train the Mixers only.",
    data="cifar10",
    arms=arms,
    run=run,
    minutes=45,
    table=table,
    agreement=agreement,
    figure=figure,
    full_scale=(
        paper_training("jft_s16", "S/32"),
        paper_training("jft_s16"),
        paper_training("jft_b16", "B/32"),
        paper_training("jft_b16"),
        paper_training("jft_l16", "L/32"),
        paper_training("jft_l16"),
        paper_training("jft_h14"),
    ),
    extras={"timm": "studies"},
)
