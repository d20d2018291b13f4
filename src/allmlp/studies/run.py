"""Run a study: its arms one by one, each stored when it is finished, then the result, the plot and the page."""

import importlib.util
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from allmlp.checkpoints import load_checkpoint
from allmlp.data import ImageDataset
from allmlp.errors import CheckpointError, ConfigError, DataError, MissingExtraError
from allmlp.hardware.devices import choose_device, describe_device
from allmlp.io.atomic_write import write_bytes, write_json, write_text
from allmlp.io.display import Report, counted, escape
from allmlp.provenance import environment
from allmlp.runs.layout import new_run_folder
from allmlp.studies.arm_files import finished_arms, store_figures, stored_figures, working_folder
from allmlp.studies.command import changed_options, check_steps, command_of, has_other_steps, without_paths
from allmlp.studies.drawing import to_png
from allmlp.studies.folder import hold_folder, is_unused, refuse_used_folder
from allmlp.studies.learning.photos import StudyPhotos, read_photos
from allmlp.studies.opening import StudyData, check_photo_options, check_unchanged, open_study, with_absolute_paths
from allmlp.studies.page import agreement_of, data_remark, has_other_photos, page_of, results_in, steps_remark
from allmlp.studies.registry import load_study
from allmlp.studies.study import Arm, ArmResult, Study, StudyOptions

__all__ = ["StudyRun", "resume_study", "run_study", "stored_results"]

_REQUEST, _RESULT = "study.json", "result.json"


class StudyRun(NamedTuple):
    """A finished study.

    study: what was run.
    results: of its arms.
    agreement: the sentence about the paper.
    files: what was written: the result, the page, and the plot if the study has one.
    """

    study: Study
    results: Sequence[ArmResult]
    agreement: str
    files: Sequence[Path]


def run_study(
    study: Study | str, out: str | Path | None = None, options: StudyOptions | None = None, *, report: Report = print
) -> StudyRun:
    """Run all arms of a study at laptop scale and write its result, page and plot.

    A study that is stopped or killed is continued by `resume_study`: finished arms are not repeated, and the arm that was in
    training continues from its newest snapshot.

    Args:
        study: a study or its name (`STUDIES`).
        out: a new or empty folder; None takes runs/study-<name>-<number>.
        options: what differs from the study's own choice.
        report: takes lines for the user.

    Raises:
        ConfigError: an unknown study, a folder that is in use, an unavailable device, or a checkpoint, photos, tasks or steps
            for a study that takes none.
        DataError: unusable photos, or no task of the study is here.
        CheckpointError: an unusable checkpoint.
        MissingExtraError: a library that the study needs is not installed.
    """
    study = load_study(study) if isinstance(study, str) else study
    options = with_absolute_paths(options or StudyOptions())
    _check(study, options)
    check_steps(study, options)
    folder = new_run_folder(f"study-{study.name}") if out is None else Path(out)
    refuse_used_folder(folder, study.name)
    data = open_study(study, options)
    if study.check is not None:
        study.check(study.arms(options), options)
    request = {"study": study.name, "options": asdict(options), "data": data.facts(), **data.digests()}
    with hold_folder(folder):
        refuse_used_folder(folder, study.name)  # another process may have been faster
        write_json(folder / _REQUEST, request)
        return _run(study, folder, options, data, report)


def resume_study(
    folder: str | Path,
    study: Study | str | None = None,
    options: StudyOptions | None = None,
    *,
    report: Report = print,
) -> StudyRun:
    """Continue the study in a folder, or write its result, page and plot again if all arms are finished.

    In a new or empty folder, `study` begins, as by `run_study`.

    Args:
        folder: of the study.
        study: a name that must be the folder's, or a study of your own; None takes the folder's.
        options: None, or those with which the study began.
        report: takes lines for the user.

    Raises:
        CheckpointError: the folder holds no study, or another one.
        DataError: the photos have changed, or as for `run_study`.
        ConfigError: other options than those with which the study began, or as for `run_study`.
        MissingExtraError: as for `run_study`.
    """
    folder = Path(folder)
    if study is not None and is_unused(folder):
        return run_study(study, folder, options, report=report)
    _stored_request(folder)  # nothing is created in a folder that holds no study
    with hold_folder(folder):
        return _resumed(folder, study, options, report)


def _resumed(folder: Path, study: Study | str | None, given: StudyOptions | None, report: Report) -> StudyRun:
    stored = _stored_request(folder)
    name = study.name if isinstance(study, Study) else study
    if name not in (None, stored["study"]):
        raise CheckpointError(f"{escape(folder)}: this is study {stored['study']}, not {name}.")
    study = study if isinstance(study, Study) else load_study(stored["study"])
    options = StudyOptions(**stored["options"])
    if changed := changed_options(with_absolute_paths(given or StudyOptions()), options):
        raise ConfigError(
            f"{', '.join(changed)} cannot be changed when a study is resumed. The one in {escape(folder)} began with "
            f"other options; omit {'it' if len(changed) == 1 else 'them'}, or start a new study."
        )
    arms = _arms(study, folder, options)
    missing = [arm for arm in arms if stored_figures(folder, arm) is None]
    if arms and not missing:
        return _run(study, folder, options, StudyData(None, {}), report)
    _check(study, options)
    data = open_study(study, options)
    check_unchanged(data, stored, folder)
    if study.check is not None:
        study.check(missing, options)
    return _run(study, folder, options, data, report)


def stored_results(folder: str | Path, study: Study) -> list[ArmResult]:
    """Return the results of the arms that are finished in a folder of `study`, in their order.

    Raises:
        CheckpointError: the folder holds no study, or an arm's file cannot be read.
    """
    folder = Path(folder)
    options = StudyOptions(**_stored_request(folder)["options"])
    found = ((arm, stored_figures(folder, arm)) for arm in _arms(study, folder, options))
    return [ArmResult(arm, figures["figures"]) for arm, figures in found if figures is not None]


@dataclass
class _Context:
    folder: Path
    device: str
    report: Report
    data: ImageDataset | None
    options: StudyOptions
    kept: dict[tuple[int, int], StudyPhotos] = field(default_factory=dict)

    @property
    def dataset(self) -> ImageDataset:
        assert self.data is not None, "a study without photos asked for some"
        return self.data

    def photos(self, image_size: tuple[int, int]) -> StudyPhotos:
        if image_size not in self.kept:
            self.kept[image_size] = read_photos(self.dataset, image_size, report=self.report)
        return self.kept[image_size]


def _arms(study: Study, folder: Path, options: StudyOptions) -> list[Arm]:
    """Return the arms of a study, and those that are finished in `folder` although their tasks are no longer here.

    Raises:
        DataError: no task is here, and none is finished.
        CheckpointError: an arm's file is damaged.
    """
    if not study.has_tasks:
        return list(study.arms(options))
    finished = finished_arms(folder)
    try:
        here = study.arms(options)
    except DataError:
        if not finished:
            raise
        here = []
    known = {(arm.name, arm.seed) for arm in here}
    return [*here, *(arm for arm in finished if (arm.name, arm.seed) not in known)]


def _run(study: Study, folder: Path, options: StudyOptions, data: StudyData, report: Report) -> StudyRun:
    arms = _arms(study, folder, options)
    stored = [stored_figures(folder, arm) for arm in arms]
    report(f"{study.title}: {counted(len(arms), 'arm')}, {stored.count(None)} of them to be measured")
    found = [figures for figures in stored if figures is not None]
    if len(found) < len(arms):  # otherwise no device is needed: the study may have run on another machine
        device = choose_device(options.device)
        _report_other_devices(found, device, report)
        context = _Context(folder, device, report, data.photos, options)
        found = [
            figures if figures is not None else _measured(study, arm, number, len(arms), folder, context)
            for number, (arm, figures) in enumerate(zip(arms, stored, strict=True), 1)
        ]
    return _written(study, folder, options, found)


def _measured(study: Study, arm: Arm, number: int, num_arms: int, folder: Path, context: _Context) -> dict[str, Any]:
    """Measure an arm, store its figures, and return what was stored."""
    context.report(f"arm {number} of {num_arms}: {arm.name}, seed {arm.seed}")
    context.folder = working_folder(folder, arm, context.report)
    facts = environment(context.device)
    return store_figures(folder, arm, study.run(arm, context), facts)


def _report_other_devices(stored: Sequence[Mapping[str, Any]], device: str, report: Report) -> None:
    here = describe_device(device)
    others = sorted({figures["environment"].get("device", here) for figures in stored} - {here})
    if others:
        report(f"warning: the arms so far were measured on {', '.join(others)}, the others run on {here}: times differ")


def _public_settings(settings: dict[str, Any], public: StudyOptions) -> dict[str, Any]:
    """Return the settings of an arm for the result, without the path of a checkpoint; `public` are those of `without_paths`."""
    return settings | ({"checkpoint": public.checkpoint} if "checkpoint" in settings and public.checkpoint else {})


def _written(study: Study, folder: Path, options: StudyOptions, stored: Sequence[dict[str, Any]]) -> StudyRun:
    """Write the result, the plot and the page. Its environment is that of the arms, not that of the machine that writes it."""
    facts = _stored_request(folder).get("data")
    public = without_paths(options, data_name=facts["name"] if facts else None)
    command = command_of(study, public)
    arms = [
        arm
        | {
            "settings": _public_settings(arm["settings"], public),
            "environment": arm["environment"] | {"command": command},
        }
        for arm in stored
    ]
    content: dict[str, Any] = {
        "environment": arms[0]["environment"],
        "written_by": {key: value for key, value in environment().items() if key in ("allmlp", "commit", "written")},
        "study": study.name,
        "options": asdict(public),
        "data": facts,
        "remarks": _remarks(study, options, facts),
        "commits_of_arms": sorted({arm["environment"].get("commit", "") for arm in arms}),
        "arms": arms,
    }
    results, agreement = results_in(content), agreement_of(study, content)
    result = write_json(folder / _RESULT, content | {"agreement": agreement})
    files = [result]
    if study.figure is not None:
        files.append(write_bytes(folder / f"{study.name}.png", to_png(study.figure(results))))
    page = page_of(study, json.loads(result.read_text()), picture=f"{study.name}.png" if study.figure else None)
    files.append(write_text(folder / f"{study.name}.md", page))
    return StudyRun(study, results, agreement, files)


def _remarks(study: Study, options: StudyOptions, facts: Mapping[str, Any] | None) -> list[str]:
    """Return what differs from the study's own photos and steps, as sentences."""
    remarks = []
    if facts is not None and has_other_photos(study, facts):
        remarks.append(data_remark(study, facts))
    if options.num_steps is not None and has_other_steps(study, options):
        remarks.append(steps_remark(options.num_steps))
    return remarks


def _stored_request(folder: Path) -> dict[str, Any]:
    path = folder / _REQUEST
    try:
        stored = json.loads(path.read_bytes())
        options = StudyOptions(**stored["options"])
        texts = [options.data or "", options.device, options.checkpoint or "", stored["study"]]
        texts += [word for item in dict(options.tasks or {}).items() for word in item]
        counts = (options.num_seeds or 1, options.num_steps or 1)
        if not all(isinstance(text, str) for text in texts) or not all(isinstance(n, int) and n > 0 for n in counts):
            raise TypeError
    except FileNotFoundError as error:
        raise CheckpointError(
            f"{escape(folder)}: this folder holds no study (there is no {_REQUEST} in it). To begin one in a new or empty "
            "folder, name it: allmlp study NAME --resume FOLDER."
        ) from error
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"{escape(path)}: this file cannot be read as a study's. Restore it.") from error
    return dict(stored)


def _check(study: Study, options: StudyOptions) -> None:
    """Check everything but photos and folders before anything is written."""
    _check_extras(study)
    choose_device(options.device)
    check_photo_options(study, options)
    if study.checkpoint is not None:
        load_checkpoint(options.checkpoint or study.checkpoint)
    elif options.checkpoint is not None:
        raise ConfigError(f"study {study.name} does not start from a checkpoint; omit --from.")


def _check_extras(study: Study) -> None:
    for module, extra in study.extras.items():
        if importlib.util.find_spec(module) is None:
            raise MissingExtraError(f"Study {study.name} needs {module}: pip install 'allmlp[{extra}]'")
