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

_MODULES = (
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

TABLES = {f"docs/{module.__name__.rpartition('.')[2]}.md": module.TABLES for module in _MODULES}
TABLES["README.md"] = {"speed": speed.summary}
"""By page: the functions that make its tables, by name."""


def with_tables(page, text):
    """Return a page's text with all of its tables regenerated."""
    for name, make in TABLES[page].items():
        pattern = re.compile(rf"(<!-- table: {name} -->\n).*?(<!-- end -->)", re.DOTALL)
        assert len(pattern.findall(text)) == 1, f"{page} must contain the table {name} exactly once"
        text = pattern.sub(r"\g<1>" + make().replace("\\", r"\\") + r"\g<2>", text)
    return text
