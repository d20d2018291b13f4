"""The table of docs/studies.md: every study, and whether its outcome agrees with the paper."""

from experiments.studies import results
from experiments.tables.markdown import table

from allmlp.studies import STUDIES, load_study


def studies():
    found, rows = results(), []
    for name in STUDIES:
        study = load_study(name)
        title = f"[{study.title}](studies/{name}.md)" if name in found else study.title
        agreement = found[name]["agreement"].replace("|", r"\|") if name in found else "Not measured yet."
        rows.append((f"`{name}`", title, agreement))
    return table(("study", "what", "outcome"), rows)


TABLES = {"studies": studies}
