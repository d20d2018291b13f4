"""Tables of docs/reliability.md."""

import re

from experiments.tables.common import caption, read, table


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


TABLES = {"reliability": reliability}
