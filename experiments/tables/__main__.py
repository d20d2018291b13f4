"""Write all tables: `python -m experiments.tables`."""

from experiments.tables import TABLES, with_tables
from experiments.tables.common import ROOT

for page in TABLES:
    path = ROOT / page
    path.write_text(with_tables(page, path.read_text()))
    print(f"wrote {page}")
