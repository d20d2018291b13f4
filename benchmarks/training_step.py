"""Training step of Mixer-nano, ours against timm's: time, its parts, peak memory, and the losses of 200 steps.

    python benchmarks/training_step.py

All contestants have the same widths, initial weights, batches, loss, and AdamW settings. Each runs in a separate process, so
that its memory can be measured, and they take turns of a few steps, so that drift of the machine affects all of them equally.
Ours runs the code of `allmlp train`, including its settings of glibc's allocator and of waiting threads ("default waiting" is
without the latter). timm's runs eagerly, the default of its training script, and also with our allocator setting, which shows
the effect of that setting.

At the end, torch's profiler divides ours into its parts, and the optimizers of three recipes take turns step by step.

results/training_step.json is of a processor with fast bfloat16, training_step_float32.json of one without.
"""

import argparse
import multiprocessing
import time
from pathlib import Path

import numpy as np

from allmlp.hardware.compute_threads import limit_spinning
from allmlp.provenance import record, spread
from step_parts import measure_parts

RESULTS = Path(__file__).parent / "results"

CONTESTANTS = (
    "timm float32",
    "timm float32, our allocator setting",
    "timm bfloat16",
    "ours float32",
    "ours float32, default waiting",
    "ours float32, compiled",
    "ours bfloat16",
    "ours bfloat16, compiled",
    "ours bfloat16, tanh GELU",
)
CURVES = {"timm float32": 4.0, "ours float32": 2.0, "ours bfloat16": 1.0}  # with the width of the line
RATIOS = (
    ("ours float32", "timm float32"),
    ("ours float32", "timm float32, our allocator setting"),
    ("ours float32", "ours float32, default waiting"),
    ("ours float32, compiled", "timm float32"),
    ("ours bfloat16", "timm float32"),
    ("ours bfloat16", "timm bfloat16"),
    ("ours bfloat16, compiled", "timm float32"),
    ("ours bfloat16, tanh GELU", "timm float32"),
)
OPTIMIZERS = {"fused AdamW": "imagenet_b16", "Muon": "cifar10", "SGD with momentum": "finetune_paper"}  # by recipe
WIDTHS = {"num_blocks": 8, "hidden_dim": 128, "tokens_mlp_dim": 64, "channels_mlp_dim": 512}


def precisions():
    """Return the precisions that training uses on this machine; others are emulated, slowly."""
    from allmlp.hardware.devices import is_bfloat16_faster

    return ("float32", "bfloat16") if is_bfloat16_faster("cpu") else ("float32",)


def measured_here(name):
    """Return whether a contestant computes in a precision that training uses on this machine."""
    return "bfloat16" not in name or "bfloat16" in precisions()


def batches(batch_size, count):
    """Yield (images, labels): the embedded clothing photos at 32 x 32, in a fixed order."""
    from allmlp.data import Preprocessing, evaluation_batches, open_dataset, resized_images

    split = open_dataset("clothing").splits["train"]
    preprocessing = Preprocessing(image_size=32)
    images = np.stack(list(resized_images(split, preprocessing)))
    generator = np.random.default_rng(0)
    for _ in range(count):
        chosen = generator.integers(0, len(split), batch_size)
        (batch,) = evaluation_batches(
            images[chosen], split.labels[chosen], preprocessing, num_classes=10, batch_size=batch_size
        )
        yield batch.images, batch.labels


def make_state(precision, gelu, optimizer):
    from allmlp.model import MixerConfig
    from allmlp.training import Recipe
    from allmlp.training.step.state import TrainState

    recipe = Recipe(
        name="benchmark",
        model=MixerConfig(image_size=(32, 32), patch_size=4, num_classes=10, gelu=gelu, **WIDTHS),
        num_epochs=1,
        batch_size=1,
        optimizer=optimizer,
        precision=precision,
    )
    return recipe, TrainState(recipe)


def training_batch(images, labels):
    from allmlp.training.step.batch import TrainingBatch

    return TrainingBatch(images, labels, None, np.zeros(0, np.uint64))


def make_ours(precision, gelu, *, is_compiled=False):
    import torch

    from allmlp.training import OptimizerConfig
    from allmlp.training.step.update import update

    optimizer = OptimizerConfig(name="adamw", learning_rate=1e-3, weight_decay=0.1, clip_norm=None)
    recipe, state = make_state(precision, gelu, optimizer)
    model = torch.compile(state.model) if is_compiled else state.model
    return state.model, lambda images, labels: update(state, model, training_batch(images, labels), recipe, 1.0)


def make_timm(precision):
    import torch
    from timm.models.mlp_mixer import MlpMixer

    model = MlpMixer(num_classes=10, img_size=32, patch_size=4, num_blocks=8, embed_dim=128, mlp_ratio=(0.5, 4.0))
    matrices = [parameter for parameter in model.parameters() if parameter.ndim >= 2]
    rest = [parameter for parameter in model.parameters() if parameter.ndim < 2]
    optimizer = torch.optim.AdamW(
        [{"params": matrices, "weight_decay": 0.1}, {"params": rest, "weight_decay": 0.0}], lr=1e-3, fused=True
    )

    def step(images, labels):
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bfloat16"):
            logits = model(images)
        loss = torch.nn.functional.cross_entropy(logits.float(), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return float(loss.detach())

    return model, step


def initialise(model):
    """Initialise a model from a fixed seed; both implementations have their parameters in the same order."""
    import torch

    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.ndim >= 2:
                flat = parameter.view(len(parameter), -1)
                flat.copy_(torch.randn(flat.shape, generator=generator) / flat.shape[1] ** 0.5)
            else:
                parameter.fill_(1.0 if "norm" in name and name.endswith("weight") else 0.0)


def peak_memory():
    """Return the peak resident memory of this process in MiB. (getrusage's survives exec and may be the parent's.)"""
    (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) / 1024


def contestant(name, batch_size, num_threads, pipe):
    """Run a contestant: receive a number of steps, take them, and send their times, their losses and the peak memory in MiB."""
    if name.startswith("ours") and "default waiting" not in name:
        limit_spinning()  # before torch is loaded
    import torch

    from allmlp.hardware.devices import reuse_freed_memory

    torch.set_num_threads(num_threads)
    precision = "bfloat16" if "bfloat16" in name else "float32"
    if name.startswith("ours") or "allocator" in name:
        reuse_freed_memory()
    if name.startswith("timm"):
        model, step = make_timm(precision)
    else:
        model, step = make_ours(precision, "tanh" if "tanh" in name else "erf", is_compiled="compiled" in name)
    initialise(model)
    data = ((torch.from_numpy(images), torch.from_numpy(labels)) for images, labels in batches(batch_size, 10**9))
    while (steps := pipe.recv()) is not None:
        seconds, losses = [], []
        for images, labels in (next(data) for _ in range(steps)):
            start = time.perf_counter()
            losses.append(step(images, labels))
            seconds.append(time.perf_counter() - start)
        pipe.send((seconds, losses, peak_memory()))


def measure(batch_size, arguments):
    """Run all contestants in turns at one batch size."""
    context = multiprocessing.get_context("spawn")
    pipes, processes = {}, []
    for name in filter(measured_here, CONTESTANTS):
        pipes[name], child_pipe = context.Pipe()
        arguments_of_contestant = (name, batch_size, arguments.threads, child_pipe)
        process = context.Process(target=contestant, args=arguments_of_contestant, daemon=True)
        process.start()
        child_pipe.close()  # so that recv raises EOFError if the contestant dies
        processes.append(process)
    seconds = {name: [] for name in pipes}
    losses = {name: [] for name in pipes}
    peaks = {}
    for turn in range(arguments.turns + 1):
        for name, pipe in pipes.items():
            pipe.send(arguments.steps)
            times, values, peaks[name] = pipe.recv()
            losses[name] += values
            if turn:  # the first turn is warm-up
                seconds[name].append(float(np.median(times)))
    if batch_size == arguments.curve_batch:
        for name, pipe in ((name, pipes[name]) for name in CURVES if name in pipes):
            if len(losses[name]) < 200:
                pipe.send(200 - len(losses[name]))
                losses[name] += pipe.recv()[1]
    for pipe in pipes.values():
        pipe.send(None)
    for process in processes:
        process.join()
    result = {
        "milliseconds": {name: spread([1000 * value for value in values]) for name, values in seconds.items()},
        "peak_mebibytes": {name: round(value) for name, value in peaks.items()},
        "speed_ratio": {
            f"{name} / {reference}": spread([b / a for a, b in zip(seconds[name], seconds[reference], strict=True)])
            for name, reference in RATIOS
            if measured_here(name)
        },
    }
    for name in pipes:
        print(
            f"batch {batch_size}: {name:<36} {result['milliseconds'][name]['median']:8.1f} ms  {peaks[name]:6.0f} MiB"
        )
    for name, ratio in result["speed_ratio"].items():
        print(f"batch {batch_size}: {name:<42} {ratio['median']:.2f} x  ({ratio['min']:.2f} to {ratio['max']:.2f})")
    return result, losses


def parts_of_ours(arguments):
    """Return the parts of our step and its optimizers, by precision."""
    import torch

    from allmlp.hardware.devices import reuse_freed_memory
    from allmlp.recipes import load_recipe

    reuse_freed_memory()
    (arrays,) = batches(arguments.curve_batch, 1)
    batch = training_batch(*map(torch.from_numpy, arrays))
    result = {}
    for precision in precisions():
        states = {
            name: make_state(precision, "erf", load_recipe(recipe).optimizer) for name, recipe in OPTIMIZERS.items()
        }
        result[precision] = measured = measure_parts(states, batch, arguments.turns)
        for name, share in (*measured["share_of_the_step"].items(), *measured["optimizer_share"].items()):
            print(f"batch {arguments.curve_batch}, {precision}: {name:<20} {share:6.1%} of the step")
    return result


def hardware_limit(num_threads):
    """Return the highest measured GFLOP/s of a large square matrix product, by precision."""
    import torch

    from allmlp.bench import matrix_product_gflops

    torch.set_num_threads(num_threads)
    return {precision: round(matrix_product_gflops(precision, side=2048)) for precision in precisions()}


def plot(losses, path):
    """Draw the losses of the first 200 steps."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 4), layout="constrained")
    axes = figure.add_subplot()
    for name, values in losses.items():
        axes.plot(values, label=name, linewidth=CURVES[name])
    axes.set(xlabel="step", ylabel="training loss", title="Same weights, batches and optimizer")
    axes.legend()
    figure.savefig(path, dpi=110)
    print("wrote", path)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--turns", type=int, default=7, help="measured turns per contestant")
    parser.add_argument("--steps", type=int, default=4, help="steps per turn; the median of a turn counts")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--batch", type=int, nargs="+", default=[128, 512])
    parser.add_argument("--curve-batch", type=int, default=128, help="the batch size whose first 200 losses are kept")
    arguments = parser.parse_args()

    from allmlp.hardware.devices import instruction_sets
    from allmlp.model import MixerConfig, num_multiply_adds

    config = MixerConfig(image_size=(32, 32), patch_size=4, num_classes=10, **WIDTHS)
    step_gflop = 3 * 2e-9 * num_multiply_adds(config)  # backward costs twice forward
    limit = hardware_limit(arguments.threads)
    print("instruction sets:", ", ".join(instruction_sets()), "| matrix products, GFLOP/s:", limit)
    figures = {"matrix_product_gflops": limit, "gflop_per_image": round(step_gflop, 4), "batch": {}}
    for batch_size in arguments.batch:
        result, losses = measure(batch_size, arguments)
        for name in losses:
            rate = step_gflop * batch_size / (result["milliseconds"][name]["median"] / 1000)
            precision = "bfloat16" if "bfloat16" in name else "float32"
            result.setdefault("share_of_limit", {})[name] = round(rate / limit[precision], 3)
        figures["batch"][str(batch_size)] = result
        if batch_size == arguments.curve_batch:
            figures["losses"] = {
                name: [round(value, 5) for value in losses[name][:200]] for name in CURVES if name in losses
            }
    figures["parts"] = {"batch": arguments.curve_batch, **parts_of_ours(arguments)}
    command = f"python benchmarks/training_step.py --turns {arguments.turns} --steps {arguments.steps}"
    path = RESULTS / ("training_step.json" if "bfloat16" in precisions() else "training_step_float32.json")
    print("wrote", record(path, figures, command=command))
    if "losses" in figures:
        plot(figures["losses"], path.with_suffix(".png"))


if __name__ == "__main__":
    main()
