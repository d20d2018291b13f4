"""Tables of docs/serving.md."""

from experiments.tables.markdown import caption, read, table

NAMES = {"litserve": "LitServe", "litserve, unbatched": "LitServe, unbatched"}


def load():
    result = read("benchmarks/results/serving.json")
    rows = [
        row_of(NAMES.get(server, server), row) for server, measured in result["servers"].items() for row in measured
    ]
    rows.sort(key=lambda row: float(row[0]))  # the servers next to each other
    columns = (
        "load",
        "server",
        "answers/s",
        "share of the backend's own rate",
        "refused and failed",
        "answers after, ms (p50 / p99)",
        "refusals after, ms (p99)",
        "peak memory, MB",
    )
    own = sorted(result["own_per_s"])[len(result["own_per_s"]) // 2]
    servers, clients = (f"{number} core{'s' * (number > 1)}" for number in result["cores"])
    heading = (
        f"Mixer-{result['variant']} in ONNX Runtime, float32, on {servers}, and the clients on {clients}. Requests of one JPEG "
        f"arrive at fixed times for {result['seconds']:g} s. A load of 1 is what the backend alone classifies in batches: "
        f"{own:.2f} photos/s. Refused: 503, at once; failed: another error, or no answer within 60 s."
    )
    return f"{heading}\n\n{table(columns, rows)}\n{caption(result)}"


def row_of(server, figures):
    """Return the row of a server at a load."""
    return (
        f"{figures['factor']:g}",
        server,
        f"{figures['goodput_per_s']:.2f}",
        f"{figures['share_of_own']:.2f}",
        f"{figures['refused']} and {figures['failed']} of {figures['requests']}",
        f"{milliseconds(figures['answers_p50_ms'])} / {milliseconds(figures['answers_p99_ms'])}",
        milliseconds(figures["refusals_p99_ms"]),
        f"{figures['peak_mb']:.0f}",
    )


def milliseconds(value):
    return "" if value is None else f"{value:,.0f}"


TABLES = {"load": load}
