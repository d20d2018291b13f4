"""Tables of docs/export.md."""

from experiments.tables.markdown import caption, read, table


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
    result = read("benchmarks/results/small_environments.json")
    names = {"onnxruntime": "ONNX Runtime", "openvino": "OpenVINO"}
    rows = [
        (names[name], str(figures["num_packages"]), f"{figures['bytes'] / 1e6:,.0f}")
        for name, figures in result["environments"].items()
    ]
    return f"{table(('environment', 'packages', 'MB'), rows)}\n{caption(result)}"


TABLES = {"graph_pixels": graph_pixels, "small_environments": small_environments}
