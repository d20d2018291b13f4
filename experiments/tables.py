"""Tables of docs/, from the JSON files of experiments, benchmarks and tests: `make tables` writes them.

A table is between `<!-- table: NAME -->` and `<!-- end -->`; its text is generated here and nowhere else.
"""

import itertools
import json
import re
from pathlib import Path

from allmlp.checkpoints import CATALOG
from allmlp.provenance import spread
from allmlp.recipes import DEVIATIONS, RECIPES

ROOT = Path(__file__).resolve().parent.parent

TRANSFER_ARMS = {
    "scratch": "from scratch, recipe `demo` with the same Mixer",
    "ours": "fine-tuned, recipe `finetune` unchanged",
    "paper": "fine-tuned as in the paper, with our batch size",
    "head": "only the classifier trained, recipe `finetune`",
}


def read(path):
    return json.loads((ROOT / path).read_text())


def caption(result):
    """Return the origin of figures: command, commit, device, instruction sets if they were recorded, and torch version."""
    facts = result["environment"]
    sets = f" with {facts['instruction_sets']}" if "instruction_sets" in facts else ""
    return f"`{facts['command']}`, commit {facts['commit']}, {facts['device']}{sets}, torch {facts['torch']}.\n"


def table(columns, rows):
    """Return a Markdown table with these cells."""
    lines = [f"| {' | '.join(cells)} |".replace("|  |", "| |") for cells in (columns, *rows)]
    return "\n".join([lines[0], "|" + "---|" * len(columns), *lines[1:]]) + "\n"


def percent(figures):
    """Write mean ± standard deviation in percent, or a single value without deviation."""
    mean = f"{100 * figures['mean']:.1f}"
    return mean if figures["n"] == 1 else f"{mean} ± {100 * figures['std']:.1f}"


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
        + "".join(map(caption, (transfer, result, ridge)))
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
    result = read("benchmarks/results/training_step.json")
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


def rand_augment():
    result = read("benchmarks/results/rand_augment.json")
    rows = []
    for size, figures in result["size"].items():
        ours = figures["two_layers_of_16"]["images_per_second"]
        shared = figures["one_layer_of_11"]
        columns = [ours["1"], ours["2"], *(shared[name]["1"]["images_per_second"] for name in ("ours", "torchvision"))]
        rows.append([f"{size} px", *(f"{rates['median']:,.0f}" for rates in columns)])
    cases = ("two layers of 16, 1 thread", "2 threads", "one layer of 11, 1 thread", "torchvision, 1 thread")
    levels_by_name = next(reversed(result["size"].values()))["one_layer_of_11"]["largest_difference"]
    differences = ", ".join(f"{name} by up to {levels}" for name, levels in levels_by_name.items() if levels)
    decoded = result["decoding_500x375"]["images_per_second"]
    return (
        f"Images per second at magnitude {result['magnitude']:g}, median of {decoded['n']} turns on a machine with other load:"
        f"\n\n{table(('image', *cases), rows)}\ntorchvision has equivalents of 11 of the 16 operations, for tensor batches; "
        f"{sum(not levels for levels in levels_by_name.values())} of them give the same bits as ours, the others differ "
        f"({differences} grey levels). One thread decodes {decoded['median']:,.0f} JPEGs of 500 × 375 pixels per second. "
        f"{caption(result)}"
    )


def muon():
    result = read("benchmarks/results/muon.json")
    rows = []
    for sets, measured in result.items():
        for recipe, figures in measured["recipes"].items():
            times, shares = figures["milliseconds"], figures["share_of_the_step"]
            cells = [f"{times[name]['median']:.0f} ms, {share:.1%}" for name, share in shares.items()]
            rows.append([recipe, sets, f"{times['gradient']['median']:.0f} ms", *cells, measured["training_takes"]])
    return (
        f"The optimizer step and its share of the training step, median of {times['Float32Muon']['n']} alternating turns:\n\n"
        + table(("recipe, precision", "processor", "gradient", *shares, "used in training"), rows)
        + "\n"
        + "".join(f"With {sets}: {caption(measured)}" for sets, measured in result.items())
    )


def resolution():
    result = read("experiments/resolution/results/resolution.json")
    methods = ("resample", "block", "patch size", "resize the photos", "random")
    rows = {(row["size"], row["way"]): row for row in result["rows"]}
    sizes = sorted({row["size"] for row in result["rows"] if row["way"] != "as it is"})

    def cell(size, method):
        row = rows.get((size, method))
        return "" if row is None else f"{100 * row['at_once']:.1f} → {100 * row['after_one_epoch']:.1f}"

    def before_fine_tuning(method):
        return ", ".join(f"{100 * rows[size, method]['at_once']:.1f}" for size in sizes)

    native_size = result["base"]["image_size"][0]
    native = rows[native_size, "as it is"]
    cells = [(str(size), f"{size / native_size:g}", *(cell(size, method) for method in methods)) for size in sizes]
    return (
        f"Test top-1 % before → after one epoch of fine-tuning on {result['num_training']:,} training photos, for a Mixer "
        f"trained on CIFAR-10 at 32 × 32 pixels ({result['base']['source']}), which reaches "
        f"{100 * native['at_once']:.1f} % at that size "
        f"({100 * native['after_one_epoch']:.1f} % after the same epoch):\n\n{table(('pixels', '×', *methods), cells)}\n"
        f"One run on {result['num_test']:,} test photos, a standard error of 0.4 points. Before fine-tuning, row by row, "
        f"`resample` with FlexiViT's undamped pseudo-inverse: {before_fine_tuning('pseudo-inverse')}; with interpolation "
        f"instead: {before_fine_tuning('interpolation')}. {caption(result)}"
    )


def catalogue():
    rows = []
    for model in CATALOG.values():
        source = f"hf:{model.hub_repository}" if model.hub_repository else model.url_path
        facts = (model.variant, model.trained_on, f"{model.config.num_classes:,}", model.config.gelu, model.accuracy)
        rows.append([f"`{model.name}`", *map(str, facts), str(source)])
    return table(("name", "variant", "trained on", "classes", "GELU", "ImageNet top-1", "file"), rows)


def deviations():
    rows = []
    for each in DEVIATIONS:
        names = list(each.applies_to)
        for prefix in ("imagenet", "jft_", "finetune_paper"):
            group = [name for name in RECIPES if name.startswith(prefix)]
            if set(group) <= set(names):
                names = [f"{prefix}*", *(name for name in names if name not in group)]
        rows.append((each.setting, each.ours, each.authors, each.why, ", ".join(f"`{name}`" for name in sorted(names))))
    return table(("setting", "ours", "the authors'", "why", "recipes"), rows)


def balance():
    result = read("experiments/balance/results/balance.json")
    rows = result["rows"]
    runs, scores = rows["plain"]["top1"]["n"], ("top1", "balanced_accuracy", "rare_recall")
    text = table(
        ("", "test top-1 %", "balanced accuracy %", "mean recall of the rare classes %"),
        ((name, *(percent(row[score]) for score in scores)) for name, row in rows.items()),
    )
    return (
        "The embedded clothing photos with every other class reduced to a tenth, recipe `demo`, "
        f"{result['num_epochs']} epochs, {result['num_training']} training photos including the hold-out, "
        f"{'one run each' if runs == 1 else f'{runs} seeds (mean ± std)'}:\n\n{text}\n{caption(result)}"
    )


def transfer():
    results = [
        (title, read(f"experiments/transfer/results/{name}.json"))
        for title, name in (("Clothing (embedded)", "clothing"), ("Flowers-102", "flowers102"))
    ]
    drawn = {"Flowers-102": " (20 per class, drawn from the official 6,149)"}
    columns = [column for title, _ in results for column in (f"{title}: learning rate", "test top-1 %")]
    rows = []
    for key, title in TRANSFER_ARMS.items():
        arms = [result["arms"][key] for _, result in results]
        cells = ((f"{arm['learning_rate']:g}", percent(arm["top1"])) for arm in arms)
        rows.append([title, *itertools.chain(*cells)])
    frozen = [cell for _, result in results for cell in ("", percent(result["five_shot"]))]
    rows.append(["linear classifier on the starter's frozen features, 5 photos per class, 3 draws", *frozen])
    photos = "\n".join(
        f"- {title}: {result['num_photos']['train']:,} training photos in {result['num_classes']} classes, "
        f"{result['num_photos']['test']:,} test photos{drawn.get(title, '')}; fine-tuning outperforms training from scratch by "
        f"{lead(result['arms'], 'ours', 'scratch')} and of the paper's fine-tuning by {lead(result['arms'], 'ours', 'paper')}."
        for title, result in results
    )
    runs = results[0][1]["arms"]["ours"]["top1"]["n"]
    return (
        f"{results[0][1]['num_epochs']} epochs each, {runs} seeds (mean ± std), learning rates chosen on validation photos, "
        f"except that recipe `finetune` keeps its own:\n\n{table(('', *columns), rows)}\n{photos}\n\n"
        + "".join(caption(result) for _, result in results)
    )


def lead(arms, name, other):
    """Write by how many points an arm is ahead of another: mean ± std of the differences between runs of the same seed."""
    pairs = zip(arms[name]["runs"], arms[other]["runs"], strict=True)
    differences = [run["test"] - other_run["test"] for run, other_run in pairs]
    return f"{percent(spread(differences))} points"


def optimizers():
    result = read("experiments/optimizers/results/optimizers.json")
    size, cost = result["parameters"] / 1e6, result["milliseconds_a_pass"]
    arms = sorted(result["arms"].items(), key=lambda item: -item[1]["top1"]["mean"])
    rows = []
    for name, arm in arms:
        settings = (f"{arm['learning_rate']:.2g}", str(arm["num_epochs"]), f"{arm['passes']:,}")
        rows.append((name, *settings, percent(arm["top1"]), f"{cost[name]:.0f}"))
    columns = ("optimizer", "learning rate", "epochs", "passes", "test top-1 %", "ms per pass")
    (first, best), (second, _) = arms[:2]
    return (
        f"The Mixer of recipe `cifar10` ({size:.2f} M parameters) on {result['photos']:,} photos of CIFAR-10, batch size "
        f"{result['batch_size']}, {best['runs'][0]['precision']}, {best['top1']['n']} seeds (mean ± std), learning rates "
        f"chosen on held-out photos:\n\n{table(columns, rows)}\n"
        "For the same number of forward and backward passes, "
        f"{first} outperforms {second} by {lead(result['arms'], first, second)}; a pass takes "
        f"{cost[first] / cost[second]:.2f} times as long. {caption(result)}"
    )


def reliability():
    result = read("tests/reliability/results/reliability.json")
    groups, rows = {}, []
    for name, outcome in result["results"].items():
        group = re.sub(r" [\d,]+ to [\d,]+$", "", name.split(" (")[0])  # "mutated zip files 0 to 499"
        groups.setdefault(group, []).append(outcome)
    for name, outcomes in groups.items():
        cases, passed = (sum(outcome[key] for outcome in outcomes) for key in ("cases", "passed"))
        finding = "detected" if name.startswith("control") else reliability_finding(outcomes)
        rows.append((name, f"{cases:,}", f"{passed:,}", finding, result["environment"]["device"]))
    cases, passed = (sum(outcome[key] for outcome in result["results"].values()) for key in ("cases", "passed"))
    minutes = sum(outcome["seconds"] for outcome in result["results"].values()) / 60
    figures = table(("test", "cases", "passed", "result", "machine"), rows)
    return f"{figures}\n{passed:,} of {cases:,} passed, in {minutes:.0f} minutes. {caption(result)}"


def at_most(seconds):
    """Return a bound that holds although the times were rounded to hundredths."""
    return f"at most {max(0.01, seconds):.2f} s"


def reliability_finding(outcomes):
    figures = [outcome["figures"] for outcome in outcomes]
    for key, start in (("seconds_to_end", "signal"), ("seconds_in_all", "start")):
        if key in figures[0]:
            return f"at most {max(figure[key] for figure in figures):.1f} s from {start} to exit"
    if "largest_difference" in figures[0]:
        return f"losses differ by at most {max(figure['largest_difference'] for figure in figures):.0e} (relative)"
    if "longest_seconds" in figures[0]:
        longest = max(figure["longest_seconds"] for figure in figures)
        return f"one clear error or numbers, each in {at_most(longest)}"
    if "kilobytes" in figures[0]:
        megabytes = max(figure["kilobytes"] for figure in figures) / 1000
        longest = max(figure["seconds"] for figure in figures)
        return f"one clear error or photos, each in {at_most(longest)} and {megabytes:.0f} MB"
    if "not_finite" in figures[0]:
        files = sum(figure["files_looked_at"] for figure in figures)
        return f"NaN or infinity in {sum(figure['not_finite'] for figure in figures)} of {files} files on disk"
    if "refused" in figures[0]:
        refused, slowest = sum(figure["refused"] for figure in figures), max(figure["slowest"] for figure in figures)
        return f"{refused:,} refused in one line, the others decoded, each in {at_most(slowest)}"
    if "values" in figures[0]:
        return f"{min(figure['values'] for figure in figures):,} values identical, bit for bit"
    if "same_scores" in figures[0]:
        return "same scores as one process, each photo counted once"
    return "newest intact snapshot found every time"


def few_shot():
    result = read("benchmarks/results/few_shot.json")
    counts = ("examples", "classes", "photos scored")
    times = ("seconds (median)", "CPU seconds", "seconds to solve the normal equations 31 times, without leave-one-out")
    rows = []
    for case in result["cases"]:
        numbers = [case["num_examples"], case["num_classes"], case["num_scored"]]
        seconds = [case["seconds"]["median"], case["processor_seconds"]["median"], case["normal_equations_seconds"]]
        rows.append([*(f"{number:,}" for number in numbers), *(f"{value:.1f}" for value in seconds)])
    return (
        f"{result['num_features']} features, {result['num_penalties']} regularisations, leave-one-out for each:\n\n"
        f"{table((*counts, *times), rows)}\nThe scores differ from NumPy's solution of the normal equations by at most "
        f"{max(result['largest_difference'].values()):.0e} of the largest score. {caption(result)}"
    )


def frozen_features():
    result = read("benchmarks/results/frozen_features.json")
    seconds = {name: values["median"] for name, values in result["seconds_per_epoch"].items()}
    first = seconds["while the passes are computed"]
    return (
        f"An epoch of the {result['photos']:,} embedded clothing photos (hold-out included) from the starter, with its "
        f"validation, takes {first:.1f} s while a pass is computed and {seconds['cached']:.2f} s afterwards; without a cache, "
        f"every epoch takes {seconds['computed']:.1f} s (medians, on a machine with other load). {caption(result)}"
    )


def speed():
    path = "benchmarks/results/speed.json"
    if not (ROOT / path).exists():
        return "Not measured yet: `python benchmarks/speed.py --training` writes the figures.\n"
    result, parts = read(path), []
    for name, measured in result["models"].items():
        rows = [
            (
                str(row["batch_size"]),
                row["precision"],
                row["contestant"],
                f"{row['images_per_second']:.3g}",
                f"{row['milliseconds']['median']:.3g} ({row['milliseconds']['min']:.3g} to {row['milliseconds']['max']:.3g})",
                f"{row['gflops']:.3g}",
                f"{row['share_of_matrix_product_rate']:.0%}",
                f"{row['speed_ratio']:.2f} × over {row['reference']}" if row["reference"] != row["contestant"] else "",
            )
            for row in measured["results"]
        ]
        columns = (
            "batch",
            "precision",
            "engine",
            "images/s",
            "ms per batch (min to max)",
            "GFLOP/s",
            "of matrix products",
        )
        rounds = min(row["milliseconds"]["n"] for row in measured["results"])
        left_out = "".join(f"- {what}: {why}\n" for what, why in measured["left_out"].items())
        parts.append(
            f"**{name}**, {measured['gflop_per_image']:g} GFLOP per image, at least {rounds} alternated rounds:\n\n"
            + table((*columns, "speed-up (median of the rounds' ratios)"), rows)
            + (f"\nLeft out:\n\n{left_out}" if left_out else "")
            + start_ups(measured["start_up"])
        )
    return "\n".join([*parts, caption(result)])


def start_ups(measured):
    """Return the table of fresh processes."""
    rows = [
        (name, f"{figures['seconds']:.1f}", str(figures["peak_mebibytes"] or "")) for name, figures in measured.items()
    ]
    return f"\n{table(('fresh process', 'seconds to the first answer', 'peak memory, MiB'), rows)}" if rows else ""


def training_cost():
    path = "benchmarks/results/speed.json"
    result = read(path) if (ROOT / path).exists() else {}
    rows = [
        (
            name,
            row["contestant"],
            row["precision"],
            str(row["batch_size"]),
            f"{row['images_per_second']:.3g}",
            f"{row['core_hours_per_million_images']:.3g}",
            ", ".join(f"{ratio:.2f} × over {other}" for other, ratio in row["speed_ratio"].items()),
        )
        for name, measured in result.get("training", {}).items()
        for row in measured["training"]
    ]
    if not rows:
        return "Not measured yet: `python benchmarks/speed.py --training` writes the figures.\n"
    columns = ("Mixer", "implementation", "precision", "batch", "images/s", "core-hours per million images", "speed-up")
    return f"{table(columns, rows)}\n{caption(result)}"


def scaling():
    path = "benchmarks/results/scaling.json"
    if not (ROOT / path).exists():
        return "Not measured yet: `python benchmarks/scaling.py` writes the figures.\n"
    result = read(path)
    parts = []
    for name, part in result["axes"].items():
        rows = [
            (f"{row['setting']}", f"{row['amount']:,}", f"{1000 * row['seconds']['median']:.3g}")
            for row in part["rows"]
        ]
        heading = "image side" if name == "pixels" else "blocks"
        parts.append(
            f"{table((heading, name, 'ms per image'), rows)}\nA line fits the medians within "
            f"{part['fit']['largest_deviation']:.1%}.\n"
        )
    return (
        f"{result['model']}, backend {result['backend']}, batch {result['batch_size']}:\n\n"
        + "\n".join(parts)
        + f"\n{caption(result)}"
    )


GPU_RESULT = "benchmarks/results/gpu.json"


def gpu():
    if not (ROOT / GPU_RESULT).exists():
        return "Not measured yet: `python benchmarks/gpu.py` writes the figures.\n"
    result = read(GPU_RESULT)
    assert result["gpu"] and not result["is_quick"], "figures of a CPU or of tiny Mixers are not for a page"
    parts = []
    for name, write in GPU_PARTS.items():
        found = result["parts"].get(name, {"error": "not run"})
        parts += [f"**Failed: {name}.** {found['error']}\n"] if "error" in found else []
        try:
            parts.append(write(found))
        except KeyError:  # a part that failed early lacks figures
            assert "error" in found
    return "\n".join(parts) + f"\n{caption(result)}"


def gpu_logits(found):
    """Return the table of the largest differences from the CPU's logits in float32."""
    rows = [
        (variant, *(f"{part['largest_relative_difference']:.1e}" for part in precisions.values()))
        for variant, precisions in found["variants"].items()
        if "left_out" not in precisions
    ]
    left_out = "".join(
        f"{variant} was left out: {precisions['left_out']}.\n"
        for variant, precisions in found["variants"].items()
        if "left_out" in precisions
    )
    heading = "Largest difference of a logit from the CPU's in float32, relative to the largest logit:\n\n"
    return heading + table(("Mixer", "float32", "float32 with TF32", "bfloat16"), rows) + left_out


def gpu_inference(found):
    """Return the tables of images per second: on the device, and from NumPy to NumPy."""
    rows = [
        (
            *(row["variant"], str(row["batch_size"]), row["contestant"], f"{row['images_per_second']:,.0f}"),
            f"{row['teraflops'] / found['matrix_product_teraflops']:.0%}",
            "" if row["reference"] is None else f"{row['speed_ratio']:.2f} × {row['reference']}",
        )
        for row in found["rows"]
    ]
    columns = (
        "Mixer",
        "batch",
        "bfloat16",
        "images/s",
        "share of large matrix products",
        "speed-up over timm's fastest",
    )
    whole = [
        (
            *(row["variant"], str(row["batch_size"])),
            *(f"{row['images_per_second'][name]['median']:,.0f}" for name in ("default", "exact")),
        )
        for row in found["forward"]
    ]
    left_out = "".join(f"Left out: {name}: {reason}.\n" for name, reason in found["left_out"].items())
    return (
        f"{table(columns, rows)}\n{left_out}\nFrom NumPy to NumPy, copies included, images/s:\n\n"
        f"{table(('Mixer', 'batch', 'default', '`exact`'), whole)}"
    )


def gpu_training(found):
    """Return the table of training steps."""
    rows = [
        (
            *(mixer, row["contestant"], str(row["batch_size"]), f"{row['images_per_second']:,.0f}"),
            f"{row['peak_mebibytes']:,}" if "peak_mebibytes" in row else "",  # not of a CPU
            ", ".join(f"{ratio:.2f} × over {other}" for other, ratio in row["speed_ratio"].items()),
        )
        for mixer, measured in found["mixers"].items()
        for row in measured
    ]
    columns = ("Mixer", "implementation", "batch", "images/s", "peak memory, MiB", "speed-up")
    return f"Training steps in bfloat16:\n\n{table(columns, rows)}"


def gpu_processes(found):
    """Return the table of losses of several processes, each compared with those of one process."""
    rows = [
        (precision, name, outcome.get("error") or f"{outcome['largest_relative_difference']:.1e}")
        for precision, outcomes in found["losses"].items()
        for name, outcome in outcomes.items()
        if "error" in outcome or "largest_relative_difference" in outcome
    ]
    columns = ("precision", "processes", "largest relative difference of a loss from one process's")
    left_out = f"\nLeft out: {found['left_out']}.\n" if "left_out" in found else ""
    return table(columns, rows) + left_out


def gpu_resume(found):
    """Return a sentence about each comparison of two runs."""
    texts = {
        "two_whole_runs": "Two runs that were never stopped",
        "resumed_and_whole": "A resumed run and one never stopped",
    }
    return "".join(
        f"{text}: "
        + (
            f"the same bits in all {found[key]['num_tensors']} tensors.\n"
            if found[key]["same_bits"]
            else f"{found[key]['num_differing']} of {found[key]['num_tensors']} tensors differ, by up to "
            f"{found[key]['largest_difference']:.1e}.\n"
        )
        for key, text in texts.items()
    )


def gpu_feeding(found):
    """Return the table of the input's rates."""
    names = ("input", "step", "together")
    rows = [
        (
            {"stream": "decoded in every epoch", "memory": "kept in memory"}[storage],
            *(f"{rates[f'{name}_images_per_second']:,.0f}" for name in names),
            f"{rates['waiting_share']:.0%}",
        )
        for storage, rates in found["storage"].items()
    ]
    columns = ("photos", "input alone, images/s", "steps alone", "together", "share of the time that steps wait")
    return f"RandAugment and S/16, {found['num_threads']} threads:\n\n{table(columns, rows)}"


GPU_PARTS = {
    "logits": gpu_logits,
    "inference": gpu_inference,
    "training": gpu_training,
    "processes": gpu_processes,
    "resume": gpu_resume,
    "feeding": gpu_feeding,
}


def input_rates():
    path = "benchmarks/results/input.json"
    if not (ROOT / path).exists():
        return "Not measured yet: `python benchmarks/input.py PHOTOS` writes the figures.\n"
    result = read(path)
    rows = [
        (name, stage, f"{rate['median']:.0f}", f"{ratios[stage]:.2f}" if stage in ratios else "")
        for name, part in result["filters"].items()
        for ratios in [{key.split(" / ")[0]: value for key, value in part["speed_ratio"].items()}]
        for stage, rate in part["images_per_core_second"].items()
    ]
    return f"{table(('filter', 'stage', 'images/s on one core', 'times timm'), rows)}\n{caption(result)}"


def points(figures):
    """Write a mean difference ± standard deviation in points."""
    return f"{100 * figures['mean']:+.1f} ± {100 * figures['std']:.1f}"


def honesty():
    result = read("experiments/honesty/results/trained-blocks-0.json")
    draws = result["draws"]
    rows = []
    for size in dict.fromkeys(draw["size"] for draw in draws):
        chosen = [draw for draw in draws if draw["size"] == size]
        scored = {"cross-validation": "cross-validated"}.get(chosen[0]["scored_by"], "a tenth held out once")
        rows.append(
            (
                *(f"{size:,}", scored),
                f"{sum(draw['contained'] for draw in chosen)} of {len(chosen)}",
                f"{100 * result['width'][str(size)]['mean']:.1f}",
                points(result["unseen_minus_reported"][str(size)]),
            )
        )
    columns = (
        "photos drawn",
        "scored by",
        "interval contains the unseen accuracy",
        "width, points",
        "unseen minus reported, points",
    )
    names = ", ".join(dict.fromkeys(draw["data"] for draw in draws))
    return (
        f"In {result['contained']} of {result['total']} draws, the 95 % interval that `finetune --trained-blocks 0` reports "
        f"contains the accuracy on up to {max(draw['unseen'] for draw in draws):,} photos that it never saw "
        f"({names}; mean ± std):\n\n"
        f"{table(columns, rows)}\n{caption(result)}"
    )


def photos_seen():
    path = "experiments/photos_seen/results/photos_seen.json"
    if not (ROOT / path).exists():
        return "Not measured yet: `python -m experiments.photos_seen.run` writes the figures.\n"
    result = read(path)
    runs = result["runs"]
    cases = dict.fromkeys((run["data"], run["size"]) for run in runs)

    def mean(data, size, seen):
        chosen = [run for run in runs if (run["data"], run["size"], run["seen"]) == (data, size, seen)]
        return f"{100 * spread([run['unseen_top1'] for run in chosen])['mean']:.1f}"

    columns = [f"{data}, {size:,} photos" for data, size in cases]
    rows = [
        (f"{int(seen):,}", *(mean(*case, int(seen)) for case in cases), points(difference))
        for seen, difference in result["minus_longest"].items()
    ]
    longest = max(int(seen) for seen in result["minus_longest"])
    return (
        f"Top-1 % on unseen photos, the mean of {len({run['seed'] for run in runs})} draws, by the number of photos that "
        f"fine-tuning sees, repeats included:\n\n{table(('photos seen', *columns, f'minus {longest:,}, points'), rows)}\n"
        f"{caption(result)}"
    )


def best_weights():
    path = "experiments/best_weights/results/best_weights.json"
    if not (ROOT / path).exists():
        return "Not measured yet: `python -m experiments.best_weights.run` writes the figures.\n"
    result = read(path)
    draws = result["runs"]
    names = {"top1": "highest validation top-1", "loss": "lowest validation loss", "last": "last epoch"}
    rows = [
        (names.get(rule, "last epoch, weights not averaged"), percent(figures), points(result["minus_last"][rule]))
        for rule, figures in result["unseen_top1"].items()
    ]
    return (
        f"Top-1 % on unseen photos of the weights that a rule chooses, {len(draws)} draws from "
        f"{', '.join(dict.fromkeys(draw['data'] for draw in draws))}, {min(draw['held_out'] for draw in draws)} or more "
        f"photos held out (mean ± std):\n\n{table(('weights', 'unseen top-1 %', 'minus the last, points'), rows)}\n"
        f"{caption(result)}"
    )


def starter_ablation():
    path = "experiments/starter/results/ablation.json"
    if not (ROOT / path).exists():
        return "Not measured yet: `python -m experiments.starter.ablate` writes the figures.\n"
    result = read(path)
    base = result["arms"]["recipe starter"]["top1"]
    rows = [
        (
            name,
            " + ".join(map(str, arm["num_epochs"])),
            f"{100 * arm['top1']:.1f}",
            f"{100 * (arm['top1'] - base):+.1f}",
        )
        for name, arm in result["arms"].items()
    ]
    return (
        "Top-1 % on Tiny-ImageNet's 10,000 validation photos after short trainings of equal cost, one run each (a standard "
        f"error of 0.5 points):\n\n{table(('', 'epochs', 'top-1 %', 'difference, points'), rows)}\n{caption(result)}"
    )


def graph_pixels():
    result = read("benchmarks/results/graph_pixels.json")

    def cell(figures):
        level = "level" if figures["largest"] == 1 else "levels"
        return f"{100 * figures['share']:.3f} %, {figures['largest']} {level}" if figures["different"] else "0"

    rows = [
        (row["filter"], row["direction"], row["fit"], cell(row["in"]), cell(row["exact"])) for row in result["rows"]
    ]
    values = result["rows"][0]["in"]["values"]
    worst = "; ".join(
        f"{name} {100 * case['share']:.2f} % ({case['from']} to {case['to']} pixels), by up to {case['largest']}"
        for name, case in result["worst_single_size"].items()
    )
    columns = ("filter", "photos are", "fit", "`--pixels in` differs", "`--pixels exact` differs")
    forms = list(next(iter(result["cpu_milliseconds"].values())))
    times = table(
        ("photo", *(form if form == "Preprocessing" else f"`--pixels {form}`" for form in forms)),
        [(name, *(f"{row[form]:.1f}" for form in forms)) for name, row in result["cpu_milliseconds"].items()],
    )
    size = result["timed_image_size"]
    return (
        "Share of values that differ from allmlp's pre-processing, and the largest difference, on "
        f"{result['num_sizes']} sizes of photos per row ({values:,} values), reduced or enlarged to images of "
        f"{result['image_size']} × {result['image_size']} pixels:\n\n"
        f"{table(columns, rows)}\nWhere all photos have a single size, the largest shares of `in`: {worst} levels.\n\n"
        f"CPU time per photo in ms, one thread, to {size} × {size} pixels, bicubic, with normalisation:\n\n{times}\n"
        f"ONNX Runtime {result['environment']['onnxruntime']}, Pillow {result['environment']['pillow']}. {caption(result)}"
    )


def small_environments():
    result = read("benchmarks/small_environments.json")
    names = {"onnxruntime": "ONNX Runtime", "openvino": "OpenVINO"}
    rows = [
        (names[name], str(figures["num_packages"]), f"{figures['bytes'] / 1e6:,.0f}")
        for name, figures in result["environments"].items()
    ]
    return f"{table(('environment', 'packages', 'MB'), rows)}\n{caption(result)}"


# By the page that contains them.
TABLES = {
    "docs/results.md": {"clothing": clothing, "cifar10": cifar10, "training_step": training_step, "feeding": feeding},
    "docs/training.md": {"muon": muon, "rand_augment": rand_augment},
    "docs/recipes.md": {"balance": balance, "deviations": deviations, "optimizers": optimizers},
    "docs/transfer.md": {
        "frozen_features": frozen_features,
        "transfer": transfer,
        "starter_ablation": starter_ablation,
    },
    "docs/weights.md": {"catalogue": catalogue, "resolution": resolution},
    "docs/export.md": {"graph_pixels": graph_pixels, "small_environments": small_environments},
    "docs/evaluation.md": {
        "few_shot": few_shot,
        "honesty": honesty,
        "photos_seen": photos_seen,
        "best_weights": best_weights,
    },
    "docs/reliability.md": {"reliability": reliability},
    "docs/gpu.md": {"gpu": gpu},
    "docs/speed.md": {"speed": speed, "training_cost": training_cost, "scaling": scaling, "input": input_rates},
}


def with_tables(page, text):
    """Return a page's text with all of its tables regenerated."""
    for name, make in TABLES[page].items():
        pattern = re.compile(rf"(<!-- table: {name} -->\n).*?(<!-- end -->)", re.DOTALL)
        assert len(pattern.findall(text)) == 1, f"{page} must contain the table {name} exactly once"
        text = pattern.sub(r"\g<1>" + make().replace("\\", r"\\") + r"\g<2>", text)
    return text


if __name__ == "__main__":
    for page in TABLES:
        path = ROOT / page
        path.write_text(with_tables(page, path.read_text()))
        print(f"wrote {page}")
