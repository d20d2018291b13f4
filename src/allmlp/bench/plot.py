"""The plot of a bench: images per second of each contestant, by batch size and precision."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from allmlp.io.atomic_write import write_bytes

__all__ = ["write_plot"]

_OURS, _PEER = "#2563c9", "#9aa3b0"


def write_plot(result: Mapping[str, Any], path: Path) -> Path:
    """Write horizontal bars as a PNG: ours blue, peers grey, with the range of the rounds."""
    from matplotlib.figure import Figure

    from allmlp.report import to_png

    groups: dict[str, list[Mapping[str, Any]]] = {}
    for row in result["results"]:
        groups.setdefault(f"batch {row['batch_size']}", []).append(row)
    figure = Figure(figsize=(7, 1.2 + 0.35 * sum(len(rows) + 1 for rows in groups.values())), layout="constrained")
    heights = [len(rows) for rows in groups.values()]
    panels: Any = figure.subplots(len(groups), 1, squeeze=False, height_ratios=heights) if groups else []
    for (title, rows), (axes,) in zip(groups.items(), panels, strict=True):
        names = [f"{row['contestant']}, {row['precision']}" for row in rows]
        rates = [row["images_per_second"] for row in rows]
        slowest, fastest = (
            [1000 * row["batch_size"] / row["milliseconds"][end] for row in rows] for end in ("max", "min")
        )
        errors = [
            [rate - low for rate, low in zip(rates, slowest, strict=True)],
            [high - rate for rate, high in zip(rates, fastest, strict=True)],
        ]
        colours = [_OURS if name.startswith("allmlp") else _PEER for name in names]
        axes.barh(names, rates, color=colours, xerr=[[max(0.0, value) for value in side] for side in errors])
        axes.invert_yaxis()
        axes.set(title=title, xlabel="images per second (median; lines: range of the rounds)")
    return write_bytes(path, to_png(figure))
