"""What an export says about itself, compared with the description of a checkpoint, in sentences."""

from allmlp.checkpoints import ModelDescription
from allmlp.config import to_dict
from allmlp.exports import Export, OnnxExport, OpenvinoExport, model_info, model_info_differences

__all__ = ["description_differences"]


def description_differences(before: ModelDescription, export: Export) -> list[str]:
    """Return a sentence for each part of an export's description that is not that of the checkpoint, `before`."""
    after = export.description
    problems = []
    for what, old, new in (
        ("pre-processing", before.preprocessing, after.preprocessing),
        ("configuration", before.config, after.config),
    ):
        values, others = to_dict(old), to_dict(new)
        changed = [f"{name} is {others[name]}, not {values[name]}" for name in values if values[name] != others[name]]
        if changed:
            problems.append(f"The export has another {what}: {', '.join(changed)}.")
    if before.class_names != after.class_names:
        problems.append("The export has other class names, or in another order.")
    if before.unknown != after.unknown:
        problems.append(f"The export has {_unknown(after)}, not {_unknown(before)}.")
    if before.temperature != after.temperature:
        problems.append(f"The export has the temperature {after.temperature}, not {before.temperature}.")
    if isinstance(export, OnnxExport | OpenvinoExport) and not problems:  # otherwise, they differ for the same reason
        expected = model_info(before, export.info.pixels)
        if wrong := model_info_differences(export.model_info, expected):
            problems.append(f"Other programs read other values from the export (model_info {', '.join(wrong)}).")
    return problems


def _unknown(description: ModelDescription) -> str:
    """Return what a model answers "unknown" below, without the statistics of its features, which have thousands of numbers."""
    rule = description.unknown
    return 'no threshold of "unknown"' if rule is None else f'"unknown" below the {rule.score} {rule.threshold:.6g}'
