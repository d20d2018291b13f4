"""Section 3.2 and appendix C: fine-tuning at a higher resolution than in pre-training, with the patch size kept."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from allmlp.io.display import counted
from allmlp.model import Method, MixerConfig, MlpMixer, at_resolution, num_multiply_adds, variant_config
from allmlp.provenance import spread
from allmlp.studies.drawing import COLOURS, curve, new_figure, panels, percent_axis
from allmlp.studies.learning.fit import Schedule, fit, scored_top1
from allmlp.studies.learning.networks import make_network
from allmlp.studies.spreads import mean_and_std, verdict_on_gain
from allmlp.studies.study import Arm, ArmContext, ArmResult, FullScale, Study, StudyOptions, Table
from allmlp.studies.table3 import paper_training

__all__ = ["KEPT", "METHODS", "RAISED", "SCRATCH", "STUDY", "raised"]

LOW, HIGH = (16, 16), (32, 32)
WIDTHS = {"patch_size": 4, "num_blocks": 6, "hidden_dim": 96, "tokens_mlp_dim": 32, "channels_mlp_dim": 192}
METHODS: Sequence[Method] = ("block", "resample")
KEPT = "fine-tuned at 16 pixels"
RAISED: Mapping[Method, str] = {
    "block": "fine-tuned at 32 pixels, blocks (appendix C)",
    "resample": "fine-tuned at 32 pixels, resampled",
}
SCRATCH: Mapping[Method, str] = {
    "block": "from scratch at 32 pixels, as wide as blocks",
    "resample": "from scratch at 32 pixels, as wide as resampled",
}
_NUM_SEEDS, _NUM_STEPS = 3, 3000
_FULL_SCALE_STEPS = 20_000  # of fine-tuning on ImageNet: ViT, which appendix C follows
_STEPS_PER_FINETUNING_STEP = 4


def arms(options: StudyOptions) -> list[Arm]:
    num_steps = options.num_steps or _NUM_STEPS
    pretraining = Schedule(num_steps=num_steps, pad_pixels=2, num_scores=4)
    finetuning = Schedule(
        num_steps=max(1, num_steps // _STEPS_PER_FINETUNING_STEP), learning_rate=5e-4, weight_decay=0.0, num_scores=3
    )
    shared = {"widths": dict(WIDTHS), "pretraining": pretraining.settings()}

    def settings(is_pretrained: bool, method: Method | None, pad_pixels: int) -> dict[str, Any]:
        changed = {**finetuning.settings(), "pad_pixels": pad_pixels}
        return {**shared, "is_pretrained": is_pretrained, "method": method, "finetuning": changed}

    return [
        arm
        for seed in range(options.num_seeds or _NUM_SEEDS)
        for arm in (
            Arm(KEPT, settings(True, None, 2), seed),
            *(Arm(RAISED[method], settings(True, method, 4), seed) for method in METHODS),
            *(Arm(SCRATCH[method], settings(False, method, 4), seed) for method in METHODS),
        )
    ]


def raised(network: MlpMixer, method: Method | None) -> MlpMixer:
    """Return the same Mixer at the high size, with its weights converted; None returns it as it is."""
    if method is None:
        return network
    config, weights = at_resolution(network.config, network.state_dict(), HIGH, method=method)
    higher = MlpMixer(config)
    higher.load_state_dict(weights)
    return higher


def run(arm: Arm, context: ArmContext) -> Mapping[str, Any]:
    """Pre-train and fine-tune, or train from scratch for as many multiply-adds. An interrupted arm continues."""
    settings = arm.settings
    method = settings["method"]
    pretraining, finetuning = Schedule(**settings["pretraining"]), Schedule(**settings["finetuning"])
    low = _mixer(settings["widths"], LOW, arm.seed, len(context.photos(LOW).class_names))
    high = raised(low, method)
    budget = _cost(pretraining, low.config) + _cost(finetuning, high.config)
    if settings["is_pretrained"]:
        return _pretrained_and_finetuned(low, method, pretraining, finetuning, arm, context)
    widths = {**settings["widths"], "tokens_mlp_dim": high.config.tokens_mlp_dim}
    network = _mixer(widths, HIGH, arm.seed, high.config.num_classes)
    num_steps = max(1, round(budget / _cost(Schedule(num_steps=1, batch_size=pretraining.batch_size), network.config)))
    schedule = Schedule(**{**pretraining.settings(), "num_steps": num_steps, "pad_pixels": finetuning.pad_pixels})
    return _figures(network, _fit(network, schedule, HIGH, arm, context, "training"), schedule)


def _pretrained_and_finetuned(
    network: MlpMixer, method: Method | None, pretraining: Schedule, finetuning: Schedule, arm: Arm, context: ArmContext
) -> dict[str, Any]:
    size = LOW if method is None else HIGH
    before = _figures(network, _fit(network, pretraining, LOW, arm, context, "pre-training"), pretraining)
    network = raised(network.cpu(), method).to(context.device)
    at_once = scored_top1(network, context.photos(size).scored, device=context.device)
    context.report(f"  at {size[0]} pixels, before fine-tuning: top-1 {at_once:.1%}")
    after = _figures(network, _fit(network, finetuning, size, arm, context, "fine-tuning"), finetuning)
    start = before["multiply_adds_in_training"]
    moved = [{**point, "cost": point["cost"] + start} for point in after["curve"]]
    return {
        **after,
        "pretraining_curve": before["curve"],
        "at_once": at_once,
        "curve": [{"cost": start, "top1": at_once}, *moved],
        "multiply_adds_in_training": start + after["multiply_adds_in_training"],
        "minutes": round(before["minutes"] + after["minutes"], 2),
        "core_hours": before["core_hours"] + after["core_hours"],
        "pretraining_images_per_second": before["images_per_second"],
    }


def _fit(
    network: MlpMixer, schedule: Schedule, size: tuple[int, int], arm: Arm, context: ArmContext, stage: str
) -> Mapping[str, Any]:
    folder = context.folder / stage
    folder.mkdir(exist_ok=True)
    context.report(f"  {stage} at {size[0]} pixels, {schedule.num_steps:,} steps")
    return fit(
        network,
        context.photos(size),
        schedule,
        seed=arm.seed,
        folder=folder,
        report=context.report,
        device=context.device,
    )


def _figures(network: MlpMixer, figures: Mapping[str, Any], schedule: Schedule) -> dict[str, Any]:
    """Return the figures of a training with its cost, and the cost up to each score."""
    per_photo = num_multiply_adds(network.config)
    curve = [{"cost": per_photo * point["photos_seen"], "top1": point["top1"]} for point in figures["curve"]]
    return {
        **figures,
        "curve": curve,
        "parameters": sum(parameter.numel() for parameter in network.parameters()),
        "multiply_adds": per_photo,
        "multiply_adds_in_training": _cost(schedule, network.config),
    }


def _mixer(widths: Mapping[str, Any], size: tuple[int, int], seed: int, num_classes: int) -> MlpMixer:
    network = make_network("mixer", seed=seed, image_size=size, num_classes=num_classes, widths=widths)
    assert isinstance(network, MlpMixer)
    return network


def _cost(schedule: Schedule, config: MixerConfig) -> int:
    """Return the multiply-adds of the forward pass over all photos of a training; its backward pass takes twice as many."""
    return schedule.num_steps * schedule.batch_size * num_multiply_adds(config)


def table(results: Sequence[ArmResult]) -> Table:
    rows = []
    for name in dict.fromkeys(result.arm.name for result in results):
        runs = [result.figures for result in results if result.arm.name == name]
        rows.append(
            (
                name,
                f"{runs[0]['parameters'] / 1e6:.2f} M",
                f"{runs[0]['multiply_adds'] / 1e6:.1f} M",
                f"{runs[0]['multiply_adds_in_training'] / 1e12:.2f} T",
                f"{spread([run['images_per_second'] for run in runs])['median']:,.0f}",
                _percent([run["at_once"] for run in runs if "at_once" in run]),
                _percent([run["top1"] for run in runs]),
                str(len(runs)),
            )
        )
    columns = (
        "Mixer",
        "parameters",
        "multiply-adds per photo",
        "multiply-adds in training",
        "photos/s in training",
        "before fine-tuning, %",
        "top-1, %",
        "n",
    )
    return Table(columns, rows)


def _percent(values: Sequence[float]) -> str:
    if not values:
        return ""
    return mean_and_std(spread(values), scale=100)


def _difference(results: Sequence[ArmResult], name: str, other: str) -> dict[str, float]:
    """Return the spread over seeds of one arm's top-1 minus another's of the same seed, in points."""
    top1 = {(result.arm.name, result.arm.seed): result.figures["top1"] for result in results}
    seeds = sorted({result.arm.seed for result in results})
    return spread([100 * (top1[name, seed] - top1[other, seed]) for seed in seeds])


def agreement(results: Sequence[ArmResult]) -> str:
    gain = _difference(results, RAISED["block"], KEPT)
    resampled = _difference(results, RAISED["resample"], KEPT)
    scratch = {method: _difference(results, RAISED[method], SCRATCH[method]) for method in METHODS}
    return (
        f"{verdict_on_gain(gain)}: fine-tuning at 32 pixels instead of the 16 of pre-training changes top-1 by {_points(gain)} "
        f"with appendix C's blocks, and by {_points(resampled)} with resampled token mixing. Compared with the same network "
        f"from scratch at 32 pixels, at the same cost in all, pre-training at 16 pixels changes it by "
        f"{_points(scratch['block'])} with blocks and by {_points(scratch['resample'])} resampled "
        f"({counted(gain['n'], 'seed')}, paired)."
    )


def _points(figures: Mapping[str, float]) -> str:
    return f"{mean_and_std(figures, signed=True)} points"


def figure(results: Sequence[ArmResult]) -> Figure:
    """Draw top-1 against the cost of training so far; the paper has this comparison in a table only."""
    drawing = new_figure(width=8.4, height=5.0)
    (axes,) = panels(drawing, ["Pre-training at 16 pixels, then fine-tuning; or from scratch at 32 pixels"])
    before = [result.figures["pretraining_curve"] for result in results if result.arm.name == KEPT]
    _draw(axes, before, label="pre-training at 16 pixels", color=COLOURS[7])
    styles = {KEPT: COLOURS[7], RAISED["block"]: COLOURS[0], RAISED["resample"]: COLOURS[1]}
    styles |= {SCRATCH["block"]: COLOURS[0], SCRATCH["resample"]: COLOURS[1]}
    for name, colour in styles.items():
        runs = [result.figures["curve"] for result in results if result.arm.name == name]
        dashes = ":" if name == KEPT else "--" if name in SCRATCH.values() else "-"
        _draw(axes, runs, label=name, color=colour, linestyle=dashes)
    percent_axis(axes, "top-1 on test photos", x="multiply-adds in training so far, 10¹² (forward passes)")
    drawing.legend(fontsize=8, frameon=False, loc="outside lower center", ncols=2, handlelength=3)
    return drawing


def _draw(axes: Axes, runs: Sequence[Sequence[Mapping[str, float]]], **style: Any) -> None:
    costs = [point["cost"] / 1e12 for point in runs[0]]
    curve(axes, costs, [[point["top1"] for point in points] for points in runs], **style)


def _cost_at_448(variant: str) -> float:
    """Return the multiply-adds at 448 pixels as a multiple of those at 224: token mixing grows by appendix C."""
    config = variant_config(variant)
    larger = dataclasses.replace(config, image_size=(448, 448), tokens_mlp_dim=4 * config.tokens_mlp_dim)
    return num_multiply_adds(larger) / num_multiply_adds(config)


def _trainings(recipe: str, run: str) -> list[FullScale]:
    """Return the paper's pre-training by a recipe, and the fine-tunings at 224 and at 448 pixels that are compared."""
    pretraining = paper_training(recipe)
    variant, photos = pretraining.variant, _FULL_SCALE_STEPS * 512
    larger = (
        f'python -c "from allmlp import load_checkpoint, save_checkpoint; '
        f"save_checkpoint(load_checkpoint('{run}').at_resolution(448, 'block'), '{run}-448')\" && "
    )
    steps = f"--set num_steps={_FULL_SCALE_STEPS} --set num_epochs=0"
    finetuning = "allmlp finetune imagenet --recipe finetune_paper --from"
    return [
        dataclasses.replace(pretraining, command=f"{pretraining.command} --out {run}"),
        FullScale(f"{finetuning} {run} {steps}", variant, photos),
        FullScale(
            f"{larger}{finetuning} {run}-448 --set augmentation.pad_pixels=32 {steps}",
            variant,
            photos,
            relative_cost=_cost_at_448(variant),
        ),
    ]


STUDY = Study(
    name="resolution",
    title="Fine-tuning at a higher resolution (section 3.2, appendix C)",
    claim="Fine-tuning at a higher resolution than in pre-training, with the patch size kept, improves a Mixer; its "
    "token mixing grows with the tokens and is initialised with one copy of the trained MLP per part of the photo "
    "(section 3.2, appendix C).",
    outcome="On ImageNet, from 224 to 448 pixels: Mixer-L/16 pre-trained on ImageNet-21k from 82.89 to 84.15 %, on "
    "JFT-300M from 84.82 to 86.78 %; Mixer-H/14 from 86.32 to 87.94 % (table 3).",
    setup="CIFAR-10 at 16 pixels, then at 32, with patches of 4: the photos of pre-training and fine-tuning are the "
    "same, which the paper's are not. Fine-tuning takes a quarter of the steps, at half the learning rate and without "
    "weight decay, by AdamW instead of SGD. Token mixing is converted by appendix C's blocks, or resampled (ours; the "
    "hidden width stays). The controls are fine-tuning at the size of pre-training for as many steps, and both larger "
    "networks from scratch at 32 pixels for as many multiply-adds as pre-training and fine-tuning take together. The "
    "commands at the paper's scale are pre-training and both fine-tunings, without controls from scratch.",
    data="cifar10",
    arms=arms,
    run=run,
    minutes=33,
    table=table,
    agreement=agreement,
    figure=figure,
    full_scale=(
        *_trainings("imagenet21k_l16", "L16-21k"),
        *_trainings("jft_l16", "L16-jft"),
        *_trainings("jft_h14", "H14-jft"),
    ),
)
