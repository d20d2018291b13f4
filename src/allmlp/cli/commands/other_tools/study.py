"""The command `allmlp study`."""

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Literal

import typer

from allmlp.cli.console import DeviceOption, aligned, command_line, heading, next_commands, note, say
from allmlp.errors import ConfigError
from allmlp.io.display import escape, quote
from allmlp.runs.layout import new_run_folder

__all__ = ["study"]


def study(
    name: Annotated[
        str | None,
        typer.Argument(metavar="NAME", help="The study to run; without it, all are listed.", show_default=False),
    ] = None,
    describe: Annotated[bool, typer.Option("--describe", help="Only show the claim and what is measured.")] = False,
    scale: Annotated[
        Literal["laptop", "paper"],
        typer.Option(help="paper: show the commands of the paper's own trainings and their cost; nothing is trained."),
    ] = "laptop",
    data: Annotated[
        str | None,
        typer.Option(
            metavar="PHOTOS", help="Photos, as train takes them, or a folder of tasks.", show_default="the study's"
        ),
    ] = None,
    tasks: Annotated[
        list[str] | None,
        typer.Option(
            "--task",
            metavar="NAME=PHOTOS",
            help="A task to transfer to, and its photos; once per task.",
            show_default="the study's",
        ),
    ] = None,
    checkpoint: Annotated[
        str | None,
        typer.Option(
            "--from",
            metavar="CHECKPOINT",
            help="The checkpoint that a study starts from, as finetune takes it.",
            show_default="the study's",
        ),
    ] = None,
    seeds: Annotated[int | None, typer.Option(min=1, help="Seeds per arm.", show_default="the study's number")] = None,
    steps: Annotated[
        int | None,
        typer.Option(min=1, help="Training steps per arm: fewer for a quick trial.", show_default="the study's number"),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("-o", "--out", metavar="FOLDER", help="A new folder.", show_default="runs/study-NAME-<number>"),
    ] = None,
    resume: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER", help="Continue the study in this folder, or begin NAME in a new one.", show_default=False
        ),
    ] = None,
    device: DeviceOption = "auto",
) -> None:
    """Rerun a study of the paper, and plot the outcome.

    A study has a claim of the paper, arms that are measured one by one, and a sentence on whether the outcome agrees.

    A study that was stopped continues with --resume; what is finished is not repeated.

    \b
    Examples:
      allmlp study
      allmlp study permutations --describe
      allmlp study permutations --data CIFAR10
      allmlp study --resume runs/study-permutations-1
    """
    from allmlp.studies import StudyOptions, resume_study, run_study

    given = {
        "--data": data,
        "--task": tasks or None,
        "--from": checkpoint,
        "--seeds": seeds,
        "--steps": steps,
        "--out": out,
    }
    papers = scale if scale == "paper" else None
    options = StudyOptions(
        data=data,
        num_seeds=seeds,
        num_steps=steps,
        device=device,
        checkpoint=checkpoint,
        tasks=_by_name(tasks) if tasks else None,
    )
    if resume is not None:
        _refuse({"--out": out}, "changes nothing with --resume, which names the folder; omit one of them")
        _refuse({"--describe": describe or None, "--scale paper": papers}, "resumes nothing; omit it, or omit --resume")
        with _told_how_to_continue(resume):
            finished = resume_study(resume, name, options, report=note)
    elif name is None:
        _refuse(
            {**given, "--describe": describe or None, "--scale paper": papers},
            "needs the name of a study; `allmlp study` lists them",
        )
        _list()
        return
    elif describe or scale == "paper":
        chosen = "--describe" if describe else "--scale paper"
        _refuse(
            {**given, "--scale paper": papers if describe else None},
            f"changes nothing with {chosen}, which measures no arm; omit one of them",
        )
        if describe:
            _describe(name)
        else:
            _show_full_scale(name, device)
        return
    else:
        out = out or new_run_folder(f"study-{name}")
        with _told_how_to_continue(out):
            finished = run_study(name, out, options, report=note)
    table = finished.study.table(finished.results)
    for line in aligned([list(table.columns), *(list(row) for row in table.rows)]):
        say(line)
    say()
    say(finished.agreement)
    for file in finished.files:
        say(f"wrote   {escape(file)}")
    next_commands(
        [(command_line("study", finished.study.name, "--scale", "paper"), "what the paper's own scale costs")]
    )


def _by_name(words: list[str]) -> dict[str, str]:
    """Return the photos of tasks by name, from words NAME=PHOTOS."""
    tasks: dict[str, str] = {}
    for word in words:
        name, equals, source = word.partition("=")
        if not equals or not name or not source:
            raise ConfigError(f"--task is {quote(word)}; expected NAME=PHOTOS, such as flowers=FLOWERS.")
        if name in tasks:
            raise ConfigError(f"--task names {escape(name)} twice; expected a different name for each task.")
        tasks[name] = source
    return tasks


def _refuse(given: Mapping[str, object], reason: str) -> None:
    """Refuse the first option that was given: each would be ignored."""
    if option := next((option for option, value in given.items() if value is not None), None):
        raise ConfigError(f"{option} {reason}.")


@contextlib.contextmanager
def _told_how_to_continue(folder: Path) -> Iterator[None]:
    """On Ctrl-C or SIGTERM, say how the study continues, and exit with 130 or 143."""
    try:
        yield
    except KeyboardInterrupt as stop:
        if any(folder.glob("arms")):
            note(f"\nStopped. What is done so far is saved; continue with: {command_line('study', '--resume', folder)}")
        else:
            note("\nStopped before the first arm; there is nothing to save.")
        raise typer.Exit(getattr(stop, "exit_code", 130)) from stop


def _list() -> None:
    from allmlp.studies import STUDIES, load_study

    studies = map(load_study, STUDIES)
    for line in aligned([(found.name, found.title, found.time_needed) for found in studies]):
        say(line)
    say()
    say(
        "Times are estimates for two cores, by multiply-adds. What takes long can be stopped, and continues with --resume."
    )
    first = next(iter(STUDIES))
    next_commands(
        [
            (command_line("study", first, "--describe"), "show the claim and what is measured"),
            (command_line("study", first), "run a study"),
        ]
    )


def _show_full_scale(name: str, device: str) -> None:
    from allmlp.hardware.devices import choose_device
    from allmlp.studies import full_scale_table, load_study

    study = load_study(name)
    if not study.full_scale:
        say(f"Study {name} has no training of the paper's own scale.")
        return
    note("Training steps are timed on this machine, for less than a minute per Mixer.")
    table = full_scale_table(study, device=choose_device(device))
    columns = range(2, len(table.columns))
    heading_line, *lines = aligned([list(table.columns), *(list(row) for row in table.rows)], right=columns)
    heading(heading_line)
    say("\n".join(lines))
    say()
    say(
        "here: at the rate of training steps on random images, from two blocks of each Mixer. Reading photos costs more, and"
    )
    say("other programs that run meanwhile make it look slower. An empty cell: the paper states no cost.")


def _describe(name: str) -> None:
    from allmlp.studies import StudyOptions, load_study

    study = load_study(name)
    arms = study.arms(StudyOptions())
    heading(study.title)
    for label, text in (("The paper", f"{study.claim} {study.outcome}"), ("Here", study.setup)):
        say()
        heading(label)
        say(text)
    say()
    heading(f"{len(arms)} arms")
    for arm in dict.fromkeys(arm.name for arm in arms):
        say(f"  {arm}")
    if study.has_tasks and not arms:
        say("  none of the tasks is on this machine; give them with --data")
    if study.time_needed:
        extent = ", for all tasks" if study.has_tasks else ""
        say(f"time    {study.time_needed} on two cores{extent}: an estimate, by multiply-adds")
    if study.checkpoint is not None:
        say(f"from    {study.checkpoint}, or another checkpoint: --from CHECKPOINT")
    if study.data is not None:
        say(f"photos  {study.data}, or your own: --data PHOTOS")
    if study.tasks:
        say(f"tasks   {', '.join(study.tasks)}, or your own: --task NAME=PHOTOS, once per task")
    words = ("--data", "TASKS") if study.has_tasks else ()
    next_commands(
        [
            (command_line("study", name, *words), "run it"),
            (command_line("study", name, "--scale", "paper"), "what the paper's own scale costs"),
        ]
    )
