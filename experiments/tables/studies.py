"""The table of docs/studies.md: every study, its estimated time, and whether its outcome agrees with the paper."""

from experiments.studies import stored_results
from experiments.tables.markdown import table

from allmlp.studies import STUDIES, agreement_of, load_study


def studies():
    found, rows = stored_results(), []
    for name in STUDIES:
        study = load_study(name)
        title = f"[{study.title}](studies/{name}.md)" if name in found else study.title
        agreement = agreement_of(study, found[name]).replace("|", r"\|") if name in found else "Not measured yet."
        rows.append((f"`{name}`", title, study.time_needed, agreement))
    return table(("study", "what", "time on two cores, estimated", "outcome"), rows)


TABLES = {"studies": studies}
