import errno
import signal
import subprocess
import sys
import time

import pytest
import typer

from allmlp import __version__
from allmlp.cli.main import app
from allmlp.errors import AllmlpError, CheckFailedError, CheckpointError, ConfigError, DataError, MissingExtraError

COMMANDS = (
    "demo",
    "train",
    "finetune",
    "recipes",
    "data",
    "check",
    "shard",
    "evaluate",
    "report",
    "compare",
    "clean",
    "predict",
    "serve",
    "embed",
    "search",
    "inspect",
    "models",
    "bench",
    "study",
    "convert",
    "export",
    "push",
)


def run_python(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)


def test_help_lists_every_command_with_a_line_about_it(allmlp):
    outcome = allmlp("--help")
    assert outcome.code == 0
    lines = [line.split(maxsplit=1) for line in outcome.out.partition("Commands:")[2].strip().splitlines()]
    assert tuple(name for name, _ in lines) == COMMANDS
    assert all(text.endswith(".") and not text.endswith("...") for _, text in lines)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself(command, allmlp):
    outcome = allmlp(command, "--help")
    assert outcome.code == 0
    assert f"Usage: allmlp {command}" in outcome.out


def test_help_imports_neither_torch_nor_other_heavy_libraries():
    outcome = run_python(
        "import sys\n"
        "from allmlp.cli.main import main\n"
        "try:\n"
        "    main(['--help'])\n"
        "except SystemExit:\n"
        "    heavy = {'torch', 'numpy', 'PIL', 'pyarrow', 'matplotlib', 'timm'} & set(sys.modules)\n"
        "    sys.exit(f'imported {heavy}' if heavy else 0)\n"
    )
    assert outcome.returncode == 0, outcome.stderr


def test_help_takes_half_a_second_or_two_and_a_half_imports_of_typer_and_rich():
    def fastest(code: str) -> float:
        times = []
        for _ in range(3):  # the fastest of three: other work on the machine only ever adds
            start = time.perf_counter()
            run_python(code)
            times.append(time.perf_counter() - start)
        return min(times)

    ours = fastest("from allmlp.cli.main import main; main(['--help'])")
    assert ours < max(0.5, 2.5 * fastest("import typer, rich"))


def test_version(allmlp):
    assert allmlp("--version") == (0, f"allmlp {__version__}\n", "")


@pytest.mark.parametrize(
    "arguments",
    [["bogus"], ["train"], ["evaluate", "x"], ["inspect", "B/16", "--bogus"], ["predict", "x", "y", "--format", "xml"]],
    ids=" ".join,
)
def test_wrong_usage_exits_2_and_names_the_fault_on_standard_error(arguments, allmlp):
    outcome = allmlp(*arguments)
    assert outcome.code == 2
    assert outcome.out == ""
    assert outcome.err.startswith("allmlp: ")  # as every error
    assert "--help` shows what is expected." in outcome.err


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ConfigError, 2),
        (DataError, 3),
        (CheckpointError, 4),
        (MissingExtraError, 5),
        (CheckFailedError, 6),
        (AllmlpError, 1),
    ],
)
def test_an_error_is_one_plain_unwrapped_line_and_its_exit_code(error, code, allmlp, monkeypatch):
    message = "[bold]a name[/bold] and words " * 20
    fails = _command(lambda: _raise(error(message)))
    monkeypatch.setattr(app, "registered_commands", [*app.registered_commands, fails])
    assert allmlp("fails") == (code, "", f"allmlp: {message}\n")


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (MemoryError(), "there is not enough memory"),
        (RuntimeError("can't start new thread"), "the system allows no further thread"),
        (OSError(errno.EMFILE, "Too many open files"), "too many files are open"),
        (ImportError("x.so: failed to map segment from shared object"), "there is not enough memory"),
    ],
    ids=["memory", "threads", "files", "libraries"],
)
def test_what_the_machine_lacks_is_one_line_and_exit_code_1(error, words, allmlp, monkeypatch):
    fails = _command(lambda: _raise(error))
    monkeypatch.setattr(app, "registered_commands", [*app.registered_commands, fails])
    outcome = allmlp("fails")
    assert (outcome.code, outcome.out) == (1, "")
    assert outcome.err.startswith(f"allmlp: {words}") and outcome.err.count("\n") == 1


def test_ctrl_c_exits_130(allmlp, monkeypatch):
    fails = _command(lambda: _raise(KeyboardInterrupt()))
    monkeypatch.setattr(app, "registered_commands", [*app.registered_commands, fails])
    assert allmlp("fails").code == 130


def test_a_bug_keeps_its_traceback_and_exits_1():
    outcome = run_python(
        "from allmlp.cli.main import app, main\n"
        "@app.command()\n"
        "def fails() -> None:\n"
        "    raise ZeroDivisionError('our bug')\n"
        "main(['fails'])\n"
    )
    assert outcome.returncode == 1
    assert outcome.stderr.startswith("Traceback (most recent call last)")
    assert outcome.stderr.endswith("ZeroDivisionError: our bug\n")


@pytest.mark.parametrize(
    ("arguments", "code"), [(["recipes"], 0), pytest.param(["train", "nowhere"], 3, marks=pytest.mark.slow)]
)
def test_one_of_several_processes_ends_whatever_torchs_threads_still_do(arguments, code, monkeypatch):
    """Alone it is aborted: a thread of torch's that wants the interpreter back while that goes down ends the process."""
    program = (
        "import threading, torch\n"
        "from allmlp.cli.main import main\n"
        "def work(numbers=torch.ones(200, 200)):\n"
        "    while True:\n"
        "        numbers @ numbers\n"
        "threading.Thread(target=work, daemon=True).start()\n"
        f"main({arguments})\n"
    )
    aborted = run_python(program)
    assert aborted.returncode == -signal.SIGABRT
    assert aborted.stderr.endswith("terminate called without an active exception\n")
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("PYTHONUNBUFFERED", "")
    outcome = run_python(program)
    assert outcome.returncode == code, outcome.stderr
    assert outcome.stdout == aborted.stdout  # nothing that was said is lost
    assert outcome.stderr + "terminate called without an active exception\n" == aborted.stderr


def test_python_dash_m_is_the_same_program():
    outcome = subprocess.run([sys.executable, "-m", "allmlp", "--version"], capture_output=True, text=True, check=False)
    assert (outcome.returncode, outcome.stdout) == (0, f"allmlp {__version__}\n")


def _raise(error: BaseException) -> None:
    raise error


def _command(function):
    holder = typer.Typer()
    holder.command("fails")(function)
    return holder.registered_commands[0]


def test_ctrl_c_while_the_program_loads_ends_it_without_a_traceback():
    program = (
        "import os, signal, sys\n"
        "class Interrupt:\n"
        "    def find_spec(self, name, path, target=None):\n"
        "        if name == 'allmlp.cli.main':\n"
        "            os.kill(os.getpid(), signal.SIGINT)\n"
        "sys.meta_path.insert(0, Interrupt())\n"
        "from allmlp.__main__ import run\n"
        "run()\n"
    )
    outcome = run_python(program)
    assert (outcome.returncode, outcome.stdout, outcome.stderr) == (-signal.SIGINT, "", "")
