"""Tables of docs/speed.md."""

from experiments.tables.markdown import ROOT, caption, read, table

from allmlp.bench import three_digits

NOT_MEASURED = "Not measured yet: `python benchmarks/speed.py --training` writes the figures.\n"


def newest():
    """Return the last result of benchmarks/speed.py, which has one for each kind of vector instructions; {} without any."""
    results = [read(path) for path in (ROOT / "benchmarks" / "results" / "speed").glob("*.json")]
    return max(results, key=lambda result: result["environment"]["written"], default={})


def speed():
    if not (result := newest()):
        return NOT_MEASURED
    parts = []
    for name, measured in result["models"].items():
        rows = [
            (
                str(row["batch_size"]),
                row["precision"],
                row["contestant"],
                three_digits(row["images_per_second"]),
                f"{three_digits(times['median'])} ({three_digits(times['min'])} to {three_digits(times['max'])})",
                three_digits(row["gflops"]),
                "" if row["share_of_matrix_product_rate"] is None else f"{row['share_of_matrix_product_rate']:.0%}",
                f"{row['speed_ratio']:.2f} × over {row['reference']}" if row["reference"] != row["contestant"] else "",
                f"{row['times_timm_eager_float32']:.2f}" if "times_timm_eager_float32" in row else "",
            )
            for row in measured["results"]
            for times in [row["milliseconds"]]
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
            + table((*columns, "speed-up (median of the rounds' ratios)", "times timm eager in float32"), rows)
            + (f"\nint8: {measured['int8']}\n" if "int8" in measured else "")
            + (f"\nLeft out:\n\n{left_out}" if left_out else "")
            + start_ups(measured["start_up"])
        )
    return "\n".join([*parts, caption(result)])


def summary():
    """Return the small table of README.md: our fastest engine, and the fastest other implementation, one row per Mixer."""
    if not (result := newest()):
        return NOT_MEASURED
    sizes = (1, 32)
    rows = [
        (
            name,
            *(
                _fastest(measured["results"], size, ours, precision)
                for size in sizes
                for ours, precision in ((True, "float32"), (False, "float32"), (True, "int8"))
            ),
        )
        for name, measured in result["models"].items()
    ]
    columns = ("", *(f"{size}: {kind}" for size in sizes for kind in ("allmlp", "others", "allmlp in int8")))
    facts = result["environment"]
    return (
        f"Images per second of the fastest engine, at batch sizes 1 and 32; others: timm's Mixer, also exported. "
        f"{facts['device']} with {facts['instruction_sets']}, commit {facts['commit']}; [all figures](docs/speed.md).\n\n"
        + table(columns, rows)
    )


def _fastest(rows, batch_size, is_ours, precision):
    rates = [
        row["images_per_second"]
        for row in rows
        if row["batch_size"] == batch_size
        and row["contestant"].startswith("allmlp") == is_ours
        and row["precision"].startswith(precision)
    ]
    return three_digits(max(rates))


def start_ups(measured):
    """Return the table of fresh processes."""
    rows = [
        (
            name,
            f"{figures['seconds']:.2f}",
            f"{figures['processor_seconds']:.2f}",
            str(figures["peak_mebibytes"] or ""),
        )
        for name, figures in measured.items()
    ]
    columns = ("fresh process", "seconds to the first answer", "processor seconds", "peak memory, MiB")
    return f"\n{table(columns, rows)}" if rows else ""


def predicting():
    path = "benchmarks/results/predicting.json"
    if not (ROOT / path).exists():
        return "Not measured yet: `python benchmarks/predicting.py` writes the figures.\n"
    result = read(path)
    starts = [
        (name, _range(figures["seconds"]), f"{figures['share_of_timm']:.2f}", str(figures["seconds"]["n"]))
        for name, figures in result["start_up"].items()
    ]
    folders = [
        (
            name,
            figures["backend"],
            _range(figures["folder_photos_per_second"]),
            _range(figures["model_photos_per_second"]),
            _range(figures["share_of_model_rate"]),
            str(figures["share_of_model_rate"]["n"]),
        )
        for name, figures in result["folders"].items()
    ]
    width, height = result["size"]
    parts = [table(("fresh process, one photo", "seconds", "of timm's", "rounds"), starts)]
    if folders:
        columns = ("folder", "backend", "photos/s", "model alone, photos/s", "share", "rounds")
        parts.append(f"{result['num_photos']} JPEGs of {width} × {height} pixels:\n\n{table(columns, folders)}")
    return "\n".join([*parts, caption(result)])


def _range(figures):
    return f"{figures['median']:.2f} ({figures['min']:.2f} to {figures['max']:.2f})"


def training_cost():
    result = newest()
    rows = [
        (
            name,
            row["contestant"],
            row["precision"],
            str(row["batch_size"]),
            three_digits(row["images_per_second"]),
            three_digits(row["core_hours_per_million_images"]),
            ", ".join(f"{ratio:.2f} × over {other}" for other, ratio in row["speed_ratio"].items()),
        )
        for name, measured in result.get("training", {}).items()
        for row in measured["training"]
    ]
    if not rows:
        return NOT_MEASURED
    columns = ("Mixer", "implementation", "precision", "batch", "images/s", "core-hours per million images", "speed-up")
    return f"{table(columns, rows)}\n{caption(result)}"


def scaling():
    path = "benchmarks/results/scaling.json"
    if not (ROOT / path).exists():
        return "Not measured yet: `python benchmarks/scaling.py` writes the figures.\n"
    result = read(path)
    parts = []
    for name, part in result["axes"].items():
        is_by_pixels = name == "pixels"
        rows = [
            (*[f"{row['setting']}"] * is_by_pixels, f"{row['amount']:,}", three_digits(1000 * median))
            for row in part["rows"]
            for median in [row["seconds"]["median"]]
        ]
        headings = ("image side", "pixels") if is_by_pixels else ("blocks",)
        parts.append(
            f"{table((*headings, 'ms per image'), rows)}\nA line fits the medians within "
            f"{part['fit']['largest_deviation']:.1%}.\n"
        )
    return (
        f"{result['model']}, backend {result['backend']}, batch {result['batch_size']}:\n\n"
        + "\n".join(parts)
        + f"\n{caption(result)}"
    )


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


def bulk():
    path = "benchmarks/results/bulk.json"
    if not (ROOT / path).exists():
        return "Not measured yet: `python benchmarks/bulk.py` writes the figures.\n"
    result = read(path)

    def shown(name, digits=2):
        figures = result[name]
        return f"{figures['median']:.{digits}f} ({figures['min']:.{digits}f} to {figures['max']:.{digits}f})"

    rows = [
        ("`allmlp predict --out FOLDER/`", "ms per photo", shown("processor_milliseconds_per_photo")),
        ("of that, in the model", "ms per photo", shown("model_milliseconds_in_the_whole_per_photo")),
        (
            "reading and decoding alone, by Pillow and NumPy",
            "ms per photo",
            shown("rest_processor_milliseconds_per_photo"),
        ),
        ("share of the model's rate", "", shown("share_by_processor")),
        ("the largest possible share", "", shown("possible_share")),
    ]
    return (
        f"Processor time for {result['photos']:,} small photos, model {result['model']}, {result['share_of_model_rate']['n']} "
        f"rounds, median (smallest to largest):\n\n{table(('', '', ''), rows)}\n"
        f"{caption(result)}"
    )


TABLES = {
    "speed": speed,
    "predicting": predicting,
    "training_cost": training_cost,
    "scaling": scaling,
    "input": input_rates,
    "bulk": bulk,
}
