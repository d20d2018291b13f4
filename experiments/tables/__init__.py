"""Tables of docs/, from the JSON files of experiments, benchmarks and tests: `make tables` writes them.

A table is between `<!-- table: NAME -->` and `<!-- end -->`; its text is generated here and nowhere else. Each page has a
module of its name.
"""

import re

from experiments.tables import (
    evaluation,
    export,
    gpu,
    recipes,
    reliability,
    results,
    serving,
    shards,
    speed,
    studies,
    training,
    transfer,
    weights,
)

__all__ = ["TABLES", "with_tables"]

TABLES = {
    "README.md": {"speed": speed.summary},
    "docs/evaluation.md": evaluation.TABLES,
    "docs/export.md": export.TABLES,
    "docs/gpu.md": gpu.TABLES,
    "docs/recipes.md": recipes.TABLES,
    "docs/reliability.md": reliability.TABLES,
    "docs/results.md": results.TABLES,
    "docs/serving.md": serving.TABLES,
    "docs/shards.md": shards.TABLES,
    "docs/speed.md": speed.TABLES,
    "docs/studies.md": studies.TABLES,
    "docs/training.md": training.TABLES,
    "docs/transfer.md": transfer.TABLES,
    "docs/weights.md": weights.TABLES,
}
"""By page: the functions that make its tables, by name."""


def with_tables(page, text):
    """Return a page's text with all of its tables regenerated."""
    for name, make in TABLES[page].items():
        pattern = re.compile(rf"(<!-- table: {name} -->\n).*?(<!-- end -->)", re.DOTALL)
        assert len(pattern.findall(text)) == 1, f"{page} must contain the table {name} exactly once"
        text = pattern.sub(r"\g<1>" + make().replace("\\", r"\\") + r"\g<2>", text)
    return text
