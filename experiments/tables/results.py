"""Tables of docs/results.md."""

from experiments.tables.markdown import caption, percent, read, table


def clothing():
    result = read("experiments/clothing/results/clothing.json")
    mixer, ridge = result["mixer"], read("experiments/clothing/results/ridge.json")
    transfer = read("experiments/transfer/results/clothing.json")
    tuned = transfer["arms"]["ours"]
    return (
        "Clothing, 10 classes, 900 training photos of 64 × 64 pixels, 372 test photos:\n\n"
        "| | test top-1 % | balanced accuracy % | minutes |\n|---|---|---|---|\n"
        f"| Mixer fine-tuned from `starter`, recipe `finetune`, {transfer['num_epochs']} epochs, {tuned['top1']['n']} seeds "
        f"| {percent(tuned['top1'])} | {percent(tuned['balanced_accuracy'])} | |\n"  # no minutes: these runs shared the machine
        f"| Mixer from scratch, recipe `demo`, {mixer['num_epochs']} epochs, {mixer['top1']['n']} seeds (mean ± std) "
        f"| {percent(mixer['top1'])} | {percent(mixer['balanced_accuracy'])} | {mixer['minutes']['mean']:.1f} |\n"
        f"| ridge regression on the pixels of all 1,000 photos, cross-validated regularisation "
        f"| {100 * ridge['top1']:.1f} | {100 * ridge['balanced_accuracy']:.1f} | |\n\n"
        + "".join(map(caption, ({**transfer, **tuned}, result, ridge)))
    )


def cifar10():
    result = read("experiments/cifar10/results/cifar10.json")
    rows = "".join(
        f"| {run['seed']} | {100 * run['top1']:.2f} | {run['num_epochs']} | {run['minutes']:.1f} "
        f"| {run['images_per_second']:.0f} | {run['precision']} | {run['device']}, {run['commit']} |\n"
        for run in result["runs"]
    )
    outcome = f"On average {percent(result['top1'])} %"
    if len({run["device"] for run in result["runs"]}) > 1:  # a mean over different machines has no meaning
        outcome = "The faster the machine, the more epochs fit into that time and the higher the accuracy"
    return (
        "CIFAR-10, recipe `cifar10` (patches of 4, 8 blocks, C 128, D_S 64, D_C 256; 0.61 M parameters), "
        f"limited to {result['bound_minutes']:g} minutes. {outcome}:\n\n"
        "| seed | test top-1 % | epochs | minutes | photos/s, including validation | precision | machine, commit |\n"
        f"|---|---|---|---|---|---|---|\n{rows}\n{caption(result)}"
    )


def training_step():
    names = ("training_step", "training_step_float32")  # of processors with and without fast bfloat16
    return "\n\n".join(training_step_of(read(f"benchmarks/results/{name}.json")) for name in names)


def training_step_of(result):
    times, ratios = [], []
    for batch, figures in result["batch"].items():
        for name, time in figures["milliseconds"].items():
            memory, share = figures["peak_mebibytes"][name], figures["share_of_limit"][name]
            times.append((batch, name, f"{time['median']:.0f}", str(memory), f"{share:.0%}"))
        for name, ratio in figures["speed_ratio"].items():
            ratios.append((batch, name, f"{ratio['median']:.2f} × ({ratio['min']:.2f} to {ratio['max']:.2f})"))
    columns = (
        "batch",
        "implementation",
        "ms per step (median)",
        "peak memory, MiB",
        "share of the machine's matrix-product rate",
    )
    turns = next(iter(result["batch"].values()))["milliseconds"]["timm float32"]["n"]
    speed_ups = ("batch", "speed-up (above 1: the first is faster)", "median of the ratios of the turns (min to max)")
    return (
        f"{table(columns, times)}\n{table(speed_ups, ratios)}\n{turns} "
        "alternating turns. GELU is erf unless marked tanh. Peak memory is measured for the whole process, including torch. "
        f"{caption(result)}" + step_parts(result.get("parts", {}))  # an older result has no parts
    )


def step_parts(parts):
    """Return the table of the parts of our training step, and of the optimizers' shares."""
    rows = [
        (precision, name, f"{share:.1%}")
        for precision in ("float32", "bfloat16")
        if precision in parts
        for name, share in (
            *parts[precision]["share_of_the_step"].items(),
            *((f"optimizer: {name}", share) for name, share in parts[precision]["optimizer_share"].items()),
        )
    ]
    heading = f"Where the time of our step goes, batch {parts.get('batch')}, by torch's profiler; the optimizers by the clock:"
    return f"\n{heading}\n\n{table(('precision', 'part', 'share of the step'), rows)}" if rows else ""


def feeding():
    result = read("benchmarks/results/feeding.json")
    rows = []
    for batch, figures in result["batch"].items():
        feeding, update = (figures[f"{part}_milliseconds"]["median"] for part in ("feeding", "update"))
        rows.append((batch, f"{feeding:.1f}", f"{update:.0f}", f"{figures['feeding_share']['median']:.1%}"))
    figures = table(("batch size", "creating a batch, ms", "update, ms", "input pipeline's share of the step"), rows)
    settings = f"recipe `cifar10`, photos in memory, {result['precision']}"
    return f"Cost of the input pipeline on CIFAR-10 ({settings}):\n\n{figures}\n{caption(result)}"


TABLES = {"clothing": clothing, "cifar10": cifar10, "training_step": training_step, "feeding": feeding}
