"""Run a study: its arms one by one, each stored when it is finished, then the result, the plot and the page."""

import hashlib
import importlib.util
import json
import re
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from allmlp.checkpoints import load_checkpoint
from allmlp.data import ImageDataset
from allmlp.errors import CheckpointError, ConfigError, DataError, MissingExtraError
from allmlp.hardware.devices import choose_device
from allmlp.io.atomic_write import write_bytes, write_json, write_text
from allmlp.io.display import Report, counted, escape
from allmlp.provenance import environment, record
from allmlp.runs.layout import new_run_folder
from allmlp.studies.command import command_of, without_paths
from allmlp.studies.drawing import to_png
from allmlp.studies.folder import hold_folder, refuse_used_folder
from allmlp.studies.learning.photos import StudyPhotos, read_photos
from allmlp.studies.opening import StudyData, check_photo_options, check_unchanged, open_study, with_absolute_paths
from allmlp.studies.page import page_of, results_in
from allmlp.studies.registry import load_study
from allmlp.studies.study import Arm, ArmResult, Study, StudyOptions

__all__ = ["StudyRun", "resume_study", "run_study", "stored_results"]

_REQUEST, _RESULT, _ARMS = "study.json", "result.json", "arms"


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
        ConfigError: an unknown study, a folder that is in use, an unavailable device, or a checkpoint, photos or tasks for a
            study that takes none.
        DataError: unusable photos, or no task of the study is here.
        CheckpointError: an unusable checkpoint.
        MissingExtraError: a library that the study needs is not installed.
    """
    study = load_study(study) if isinstance(study, str) else study
    options = with_absolute_paths(options or StudyOptions())
    _check(study, options)
    folder = new_run_folder(f"study-{study.name}") if out is None else Path(out)
    refuse_used_folder(folder, study.name)
    data = open_study(study, options)
    request = {"study": study.name, "options": asdict(options), **data.digests()}
    with hold_folder(folder):
        refuse_used_folder(folder, study.name)  # another process may have been faster
        write_json(folder / _REQUEST, request)
        return _run(study, folder, options, data, report)


def resume_study(folder: str | Path, study: Study | str | None = None, *, report: Report = print) -> StudyRun:
    """Continue the study in a folder, or write its result, page and plot again if all arms are finished.

    `study` is a name that must be the folder's, or a study of your own; None takes the folder's.

    Raises:
        CheckpointError: the folder holds no study, or another one.
        DataError: the photos have changed, or as for `run_study`.
        ConfigError, MissingExtraError: as for `run_study`.
    """
    folder = Path(folder)
    _stored_request(folder)  # nothing is created in a folder that holds no study
    with hold_folder(folder):
        return _resumed(folder, study, report)


def _resumed(folder: Path, study: Study | str | None, report: Report) -> StudyRun:
    stored = _stored_request(folder)
    name = study.name if isinstance(study, Study) else study
    if name not in (None, stored["study"]):
        raise CheckpointError(f"{escape(folder)}: this is study {stored['study']}, not {name}.")
    study = study if isinstance(study, Study) else load_study(stored["study"])
    options = StudyOptions(**stored["options"])
    arms = _arms(study, folder, options)
    if arms and all(_stored_figures(folder, arm) is not None for arm in arms):
        return _run(study, folder, options, StudyData(None, {}), report)
    _check(study, options)
    data = open_study(study, options)
    check_unchanged(data, stored, folder)
    return _run(study, folder, options, data, report)


def stored_results(folder: str | Path, study: Study) -> list[ArmResult]:
    """Return the results of the arms that are finished in a folder of `study`, in their order.

    Raises:
        CheckpointError: the folder holds no study, or an arm's file cannot be read.
    """
    folder = Path(folder)
    options = StudyOptions(**_stored_request(folder)["options"])
    found = ((arm, _stored_figures(folder, arm)) for arm in _arms(study, folder, options))
    return [ArmResult(arm, figures["figures"]) for arm, figures in found if figures is not None]


@dataclass
class _Workplace:
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
    finished: list[Arm] = []
    for path in sorted((folder / _ARMS).glob("*.json")):
        try:
            stored = json.loads(path.read_bytes())
            finished.append(Arm(stored["name"], stored["settings"], stored["seed"]))
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise _damaged(path) from error
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
    stored = {_slug(arm): _stored_figures(folder, arm) for arm in arms}
    num_missing = sum(figures is None for figures in stored.values())
    report(f"{study.title}: {counted(len(arms), 'arm')}, {num_missing} of them to be measured")
    place = _Workplace(folder, choose_device(options.device), report, data.photos, options)
    for number, arm in enumerate(arms, 1):
        if stored[_slug(arm)] is not None:
            continue
        report(f"arm {number} of {len(arms)}: {arm.name}, seed {arm.seed}")
        place.folder = folder / _ARMS / _slug(arm)
        place.folder.mkdir(parents=True, exist_ok=True)
        figures = {
            "name": arm.name,
            "settings": dict(arm.settings),
            "seed": arm.seed,
            "environment": environment(place.device),
            "figures": dict(study.run(arm, place)),
        }
        write_json(_figures_file(folder, arm), figures)
        shutil.rmtree(place.folder, ignore_errors=True)
        stored[_slug(arm)] = json.loads(_figures_file(folder, arm).read_text())
    found = {slug: figures for slug, figures in stored.items() if figures is not None}
    return _written(study, folder, options, [found[_slug(arm)] for arm in arms])


def _public_settings(settings: dict[str, Any], public: StudyOptions) -> dict[str, Any]:
    """Return the settings of an arm for the result, without the path of a checkpoint; `public` are those of `without_paths`."""
    return settings | ({"checkpoint": public.checkpoint} if "checkpoint" in settings and public.checkpoint else {})


def _written(study: Study, folder: Path, options: StudyOptions, stored: Sequence[dict[str, Any]]) -> StudyRun:
    """Write the result, the plot and the page."""
    commits = sorted({arm["environment"].get("commit", "") for arm in stored})
    public = without_paths(options)
    stored = [arm | {"settings": _public_settings(arm["settings"], public)} for arm in stored]
    results = results_in({"arms": stored})
    agreement = study.agreement(results)
    if options.num_steps is not None:
        agreement += f" Run with --steps {options.num_steps}, not with the study's own number of steps."
    command = command_of(study, public)
    content = {
        "study": study.name,
        "options": asdict(public),
        "agreement": agreement,
        "commits_of_arms": commits,
        "arms": [arm | {"environment": arm["environment"] | {"command": command}} for arm in stored],
    }
    result = record(folder / _RESULT, content, command=command)
    files = [result]
    if study.figure is not None:
        files.append(write_bytes(folder / f"{study.name}.png", to_png(study.figure(results))))
    page = page_of(study, json.loads(result.read_text()), picture=f"{study.name}.png" if study.figure else None)
    files.append(write_text(folder / f"{study.name}.md", page))
    return StudyRun(study, results, agreement, files)


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
            f"{escape(folder)}: this folder holds no study (there is no {_REQUEST} in it)."
        ) from error
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"{escape(path)}: this file cannot be read as a study's. Restore it.") from error
    return dict(stored)


def _stored_figures(folder: Path, arm: Arm) -> dict[str, Any] | None:
    """Return what was stored for an arm, or None if it is not finished or its settings have changed.

    Raises:
        CheckpointError: the file is damaged.
    """
    path = _figures_file(folder, arm)
    if not path.exists():
        return None
    try:
        stored = json.loads(path.read_bytes())
        is_same = (stored["settings"], stored["seed"]) == (json.loads(json.dumps(dict(arm.settings))), arm.seed)
        if not (isinstance(stored["figures"], dict) and isinstance(stored["environment"], dict)):
            raise TypeError
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise _damaged(path) from error
    return dict(stored) if is_same else None


def _damaged(path: Path) -> CheckpointError:
    return CheckpointError(f"{escape(path)}: this file is damaged. Delete it: the arm is then measured again.")


def _figures_file(folder: Path, arm: Arm) -> Path:
    return folder / _ARMS / f"{_slug(arm)}.json"


def _slug(arm: Arm) -> str:
    """Return a file name, which differs between arms whose names differ."""
    words = re.sub(r"[^a-z0-9]+", "-", arm.name.lower()).strip("-")[:60]
    return f"{words}-{hashlib.sha256(arm.name.encode()).hexdigest()[:6]}-{arm.seed}"


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
