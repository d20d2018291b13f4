"""Appendix A.1: untied and grouped token mixing, views and pyramids, next to the plain Mixer."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from matplotlib.figure import Figure

from allmlp.io.display import counted
from allmlp.provenance import spread
from allmlp.studies.drawing import COLOURS, dots, new_figure, panels
from allmlp.studies.learning.fit import Schedule, fit
from allmlp.studies.learning.networks import make_network, multiply_adds
from allmlp.studies.spreads import is_surely_above, is_surely_below, mean_and_std, verdict
from allmlp.studies.study import Arm, ArmContext, ArmResult, FullScale, Study, StudyOptions, Table

__all__ = ["PLAIN", "STUDY", "VARIANTS", "Variant"]

IMAGE_SIZE = (32, 32)
# 64 tokens, 13 million multiply-adds per photo.
WIDTHS = {"patch_size": 4, "num_blocks": 6, "hidden_dim": 64, "tokens_mlp_dim": 64, "channels_mlp_dim": 192}
_NUM_SEEDS, _NUM_STEPS = 3, 1300


class Variant(NamedTuple):
    """A token mixing.

    kind: of the network (`NETWORKS`).
    options: of this kind.
    bounds: between which its gain over the plain Mixer, in points, is what the paper's words allow; None if it is not the
        paper's.
    at_equal_cost: whether it is trained a second time, in fewer steps, for as many multiply-adds as the plain Mixer.
    """

    kind: str
    options: Mapping[str, Any]
    bounds: tuple[float, float] | None = None
    at_equal_cost: bool = False


PLAIN = "plain"
_NOTICEABLE, _MUCH = 1.0, 3.0  # points of top-1, as we read the words of appendix A.1
# Its words: no noticeable improvement; an improvement of less than 1 to 2 %; one of 3 to 4 % for the smallest Mixer, and none
# for larger ones; not much lost (on JFT-300M). What improved, or did not, is not noticeably worse.
VARIANTS: Mapping[str, Variant] = {
    PLAIN: Variant("mixer", {}),
    "untied across channels": Variant("mixer_untied", {}, bounds=(-_NOTICEABLE, _NOTICEABLE)),
    "4 channels grouped by reshape": Variant("mixer_grouped", {"num_grouped": 4}, bounds=(-_NOTICEABLE, 2.0)),
    "4 views grouped": Variant("mixer_views", {"num_grouped": 4}, bounds=(-_NOTICEABLE, 4.0), at_equal_cost=True),
    "pyramid, 64 to 16 tokens": Variant(
        "mixer_pyramid", {"tokens": [64, 64, 32, 32, 16, 16]}, bounds=(-_MUCH, _NOTICEABLE)
    ),
    "linear, one matrix": Variant("mixer_linear", {}),
    "no LayerNorm before it": Variant("mixer_without_token_norm", {}),
    "LayerNorm after the sums": Variant("mixer_norm_after", {}),
}
_AT_EQUAL_COST = ", at equal cost"


def arms(options: StudyOptions) -> list[Arm]:
    schedule = Schedule(num_steps=options.num_steps or _NUM_STEPS, num_scores=3)
    return [
        Arm(
            name + (_AT_EQUAL_COST if is_equal_cost else ""),
            {
                "variant": name,
                "kind": variant.kind,
                "widths": {**WIDTHS, **variant.options},
                "is_equal_cost": is_equal_cost,
                "plain_widths": dict(WIDTHS),
                "schedule": schedule.settings(),
            },
            seed,
        )
        for seed in range(options.num_seeds or _NUM_SEEDS)
        for name, variant in VARIANTS.items()
        for is_equal_cost in ((False, True) if variant.at_equal_cost else (False,))
    ]


def run(arm: Arm, context: ArmContext) -> Mapping[str, Any]:
    settings = arm.settings
    photos = context.photos(IMAGE_SIZE)
    facts: dict[str, Any] = {"seed": arm.seed, "image_size": IMAGE_SIZE, "num_classes": len(photos.class_names)}
    network = make_network(settings["kind"], widths=settings["widths"], **facts)
    cost, plain_cost = (
        multiply_adds(net, IMAGE_SIZE)
        for net in (network, make_network("mixer", widths=settings["plain_widths"], **facts))
    )
    schedule = Schedule(**settings["schedule"])
    if settings["is_equal_cost"]:
        num_steps = max(1, round(schedule.num_steps * plain_cost / cost))
        schedule = dataclasses.replace(schedule, num_steps=num_steps)
    figures = fit(
        network, photos, schedule, seed=arm.seed, folder=context.folder, report=context.report, device=context.device
    )
    return {
        "parameters": sum(parameter.numel() for parameter in network.parameters()),
        "multiply_adds": cost,
        "num_steps": schedule.num_steps,
        **figures,
    }


def table(results: Sequence[ArmResult]) -> Table:
    rows = []
    for name in dict.fromkeys(result.arm.name for result in results):
        runs = [result for result in results if result.arm.name == name]
        first = runs[0].figures
        top1, gain = spread([run.figures["top1"] for run in runs]), _gain(results, name)
        rows.append(
            (
                name,
                "yes" if VARIANTS[runs[0].arm.settings["variant"]].bounds is not None else "",
                f"{first['parameters'] / 1e6:.2f} M",
                f"{first['multiply_adds'] / 1e6:.1f} M",
                f"{first['num_steps']:,}",
                f"{spread([run.figures['images_per_second'] for run in runs])['median']:,.0f}",
                mean_and_std(top1, scale=100),
                mean_and_std(gain, signed=True) if name != PLAIN else "",
                str(top1["n"]),
            )
        )
    columns = (
        "token mixing",
        "in A.1",
        "parameters",
        "multiply-adds",
        "steps",
        "photos/s in training",
        "top-1, %",
        "minus plain, points",
        "n",
    )
    return Table(columns, rows)


def _gain(results: Sequence[ArmResult], name: str) -> dict[str, float]:
    """Return the spread over seeds of an arm's top-1 minus the plain Mixer's of the same seed, in points."""
    top1 = {(result.arm.name, result.arm.seed): result.figures["top1"] for result in results}
    seeds = [result.arm.seed for result in results if result.arm.name == name]
    return spread([100 * (top1[name, seed] - top1[PLAIN, seed]) for seed in seeds])


def agreement(results: Sequence[ArmResult]) -> str:
    """Return whether no change of the token mixing gains or loses more than the paper's words allow.

    It agrees if that holds for each gain plus and minus its standard deviation over seeds, and points the same way if it holds
    for the means only. It does not agree if a mean is surely beyond a bound (Student's t over seeds), and points the other way
    if a mean is beyond a bound, but not surely.
    """
    bounds = {name: variant.bounds for name, variant in VARIANTS.items() if variant.bounds is not None}
    gains = {name: _gain(results, name) for name in bounds}
    num_seeds = next(iter(gains.values()))["n"]
    lost = [name for name, (least, _) in bounds.items() if gains[name]["mean"] < least]
    gained = [name for name, (_, most) in bounds.items() if gains[name]["mean"] > most]
    surely = [name for name in lost if is_surely_below(gains[name], bounds[name][0])]
    surely += [name for name in gained if is_surely_above(gains[name], bounds[name][1])]
    unsure = [
        name
        for name, (least, most) in bounds.items()
        if gains[name]["mean"] - gains[name]["std"] < least or gains[name]["mean"] + gains[name]["std"] > most
    ]
    is_within = not lost and not gained
    is_sure = num_seeds > 1 and not unsure if is_within else bool(surely)
    listed = "; ".join(
        f"{name} {mean_and_std(gain, signed=True)} ({bounds[name][0]:+g} to {bounds[name][1]:+g})"
        for name, gain in gains.items()
    )
    return (
        f"{verdict(holds=is_within, is_sure=is_sure)}: {_reason(lost, gained, surely, unsure)}. Minus the plain Mixer of the "
        f"same seed, after the same number of steps, in points of top-1, and in brackets what the words of appendix A.1 allow, "
        f"as we read them: {listed} ({counted(num_seeds, 'seed')})."
    )


def _reason(lost: Sequence[str], gained: Sequence[str], surely: Sequence[str], unsure: Sequence[str]) -> str:
    """Return which changes lose or gain more than the paper's words allow, surely if there are any such."""
    if not lost and not gained:
        doubt = f", as far as the seeds tell (unsure: {', '.join(unsure)})" if unsure else ""
        return f"nothing gained or lost beyond the paper's words{doubt}"
    parts = [
        f"more {what} than the paper's words allow: {', '.join(chosen)}"
        for what, names in (("gained", gained), ("lost", lost))
        if (chosen := [name for name in names if not surely or name in surely])
    ]
    return "; ".join(parts) + ("" if surely else ", but not surely")


def figure(results: Sequence[ArmResult]) -> Figure:
    """Draw a row per arm; the paper has no plot of this."""
    rows, colours = {}, {}
    for name in dict.fromkeys(result.arm.name for result in results):
        runs = [result for result in results if result.arm.name == name]
        label = f"{name} ({runs[0].figures['multiply_adds'] / 1e6:.1f} M)"
        rows[label] = [run.figures["top1"] for run in runs]
        is_papers = VARIANTS[runs[0].arm.settings["variant"]].bounds is not None
        colours[label] = COLOURS[0] if is_papers or name == PLAIN else COLOURS[7]
    drawing = new_figure(height=3.9)
    (axes,) = panels(drawing, ["Token mixing (multiply-adds per photo); grey: not in appendix A.1"])
    dots(axes, rows, x="top-1 on test photos", colours=colours, reference=next(iter(rows)))
    return drawing


STUDY = Study(
    name="token_mixing",
    title="Other token mixing (appendix A.1)",
    claim="Changes of the token mixing did not help: separate MLPs for all channels, several channels mixed together "
    "by a reshape or by learned views, and fewer tokens with depth (appendix A.1, things that did not help).",
    outcome="On JFT-300M, untying gave no noticeable improvement. Grouping by reshape improved linear 5-shot top-1 on "
    "ImageNet by less than 1 to 2 %. Views improved Mixer-S/32 by 3 to 4 % (top-5 on ImageNet), and larger Mixers "
    "not. Pyramids trained much faster on JFT-300M without losing much, which did not carry over to ImageNet and "
    "ImageNet-21k.",
    setup="CIFAR-10 instead of JFT-300M, 32 pixels, 64 tokens, top-1 instead of 5-shot; the same number of steps for "
    "all, and for what costs more a second arm at the cost of the plain Mixer. What the paper leaves open is our "
    "reading: 4 channels per group; a hidden width of token mixing that stays the same; views that become channels "
    "again by a reshape; a pyramid of 64, 32 and 16 tokens with two blocks each, without a skip connection where "
    "tokens become fewer. Three more changes are not the paper's: linear token mixing, no LayerNorm before token "
    "mixing, and LayerNorm after the sums as in the first Transformer. The commands at the paper's scale train the "
    "plain Mixer, since no recipe has these changes.",
    data="cifar10",
    arms=arms,
    run=run,
    minutes=39,
    table=table,
    agreement=agreement,
    figure=figure,
    full_scale=(
        FullScale("allmlp train PHOTOS --recipe jft_s16 --set model.patch_size=32", "S/32", 5 * 300e6, 10.0),
        FullScale("allmlp train PHOTOS --recipe jft_b16", "B/16", 7 * 300e6, 80.0),
    ),
)
