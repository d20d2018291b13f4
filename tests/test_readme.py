"""README.md and docs/: every command exists, README's commands run in their order, links and tables are right."""

import itertools
import re
import runpy
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer
from experiments import studies
from experiments.tables import TABLES, with_tables
from tests.training.small_runs import CLASSES, write_photos

from allmlp.checkpoints import CATALOG
from allmlp.cli.main import app, main

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
CONTRIBUTING = ROOT / "CONTRIBUTING.md"
PAGES = [README, CONTRIBUTING, *sorted((ROOT / "docs").rglob("*.md"))]
LINK = re.compile(r"\]\((?![a-z]+:|#)([^)#]+)[^)]*\)")
# What is added to a command of README.md, so that it takes seconds.
SMALLER = {
    "finetune": ["--epochs", "1", "--image-size", "16", "--trained-blocks", "0"],
    "train": ["--epochs", "1", "--image-size", "16"],
}


def code_lines(markdown: str) -> Iterator[str]:
    """Yield the lines of code blocks, between fences or indented by four spaces, continued lines joined."""
    is_fenced = False
    for line in markdown.replace("\\\n", " ").splitlines():
        if line.startswith("```"):
            is_fenced = not is_fenced
        elif is_fenced or line.startswith("    "):
            yield line


def command_lines(markdown: str) -> Iterator[list[str]]:
    """Yield the words of every line of code that calls allmlp or make; `$ ` and assignments in front are left out."""
    for line in code_lines(markdown):
        if not re.match(r"\s*(\$ )?([A-Z_]+=\S* )*(\S*/)?(allmlp|python3? -m allmlp|make)( |$)", line):
            continue
        words = shlex.split(re.split(r"\s[|>]", line)[0], comments=True)
        words = list(itertools.dropwhile(lambda word: word == "$" or re.match(r"[A-Z_]+=", word), words))
        yield ["allmlp", *words[3:]] if Path(words[0]).name.startswith("python") else [Path(words[0]).name, *words[1:]]


def check(words: list[str]) -> None:
    """Raise when the command, an option or an argument is not as the program has it. Nothing is run."""
    program, *arguments = words
    if program == "make":
        makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
        targets = set(re.findall(r"^([a-z][a-z-]*):", makefile, flags=re.MULTILINE))
        unknown = [word for word in arguments if "=" not in word and word not in targets]
        assert not unknown, f"the Makefile has no {unknown}"
        return
    group = typer.main.get_command(app)
    if arguments and arguments[0] in group.commands:
        name, *rest = arguments
        if "--help" not in rest:
            group.commands[name].make_context(name, rest)
    else:
        assert arguments in ([], ["--help"], ["-h"], ["--version"]), f"there is no command {arguments}"


def commands_of(page: Path) -> list[list[str]]:
    return list(command_lines(page.read_text(encoding="utf-8")))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_command_of_a_page_is_one_that_allmlp_takes(page: Path) -> None:
    for words in commands_of(page):
        try:
            check(words)
        except Exception as error:
            raise AssertionError(f"{page.name}: `{shlex.join(words)}`: {error}") from error


def test_the_readme_shows_the_main_commands():
    shown = {tuple(words[:2]) for words in commands_of(README)}
    expected = {("make", "demo")}
    expected |= {("allmlp", name) for name in ("check", "finetune", "train", "evaluate", "predict")}
    assert expected <= shown
    assert ["make", "test"] in commands_of(CONTRIBUTING)


def test_the_commands_of_the_readme_run_in_their_order_on_a_folder_of_classes(tmp_path, monkeypatch):
    """Commands that need the network are only parsed (above), and `make demo` is `allmlp demo`, which has tests of its own."""
    write_photos(tmp_path, per_class=8, splits=("PHOTOS",))
    write_photos(tmp_path, per_class=1, splits=("NEW_PHOTOS",))
    monkeypatch.chdir(tmp_path)
    local = [words for words in commands_of(README) if words[0] == "allmlp" and not CATALOG.keys() & set(words)]
    assert len(local) >= 5
    for _, name, *arguments in local:
        with pytest.raises(SystemExit) as stop:
            main([name, *arguments, *SMALLER.get(name, [])])
        assert not stop.value.code, f"{name} {shlex.join(arguments)}"
    assert (tmp_path / "runs" / "mine" / "report.html").is_file()
    assert all(name in (tmp_path / "predictions.html").read_text(encoding="utf-8") for name in CLASSES)


def test_the_readme_ends_on_one_screen_and_has_a_small_picture():
    assert len(README.read_text(encoding="utf-8").splitlines()) <= 66
    assert 10_000 < (ROOT / "docs" / "images" / "report.png").stat().st_size < 200_000


@pytest.mark.parametrize("page", [*PAGES, ROOT / "ARCHITECTURE.md"], ids=lambda page: page.name)
def test_every_relative_link_of_a_page_leads_to_a_file(page: Path) -> None:
    lost = [link for link in LINK.findall(page.read_text(encoding="utf-8")) if not (page.parent / link).exists()]
    assert not lost


def test_the_readme_links_to_every_page_of_docs():
    links = set(LINK.findall(README.read_text(encoding="utf-8")))
    assert {f"docs/{page.name}" for page in (ROOT / "docs").glob("*.md")} <= links


@pytest.mark.parametrize("repository", [None, "https://example.org/ann/allmlp"])
def test_the_description_for_package_indexes_has_no_relative_link(repository: str | None) -> None:
    readme = README.read_text(encoding="utf-8")
    text = runpy.run_path(str(ROOT / "setup.py"))["description"](readme, repository)
    assert LINK.findall(readme) and not LINK.findall(text)
    assert "[MLP-Mixer](https://arxiv.org/abs/2105.01601)" in text
    assert ("[recipes](https://example.org/ann/allmlp/blob/HEAD/docs/recipes.md)" in text) == (repository is not None)
    assert ("](https://example.org/ann/allmlp/raw/HEAD/docs/images/report.png)" in text) == (repository is not None)


@pytest.mark.parametrize(
    "line",
    [
        "allmlp tarin photos",
        "allmlp train photos --rcipe demo",
        "allmlp train photos more",
        "allmlp predict run a.jpg --format xml",
        "allmlp evaluate run photos --min-top1 high",
        "allmlp --bogus",
        "$ make tset",
        "ALLMLP_X=1 .venv/bin/allmlp bogus",
        "python -m allmlp bogus",
    ],
)
def test_a_wrong_command_is_seen(line):
    (words,) = command_lines(f"Text\n\n```bash\n{line}   # why\n```\n")
    with pytest.raises(Exception, match=r"."):
        check(words)


@pytest.mark.parametrize(
    "line",
    [
        "allmlp train photos --set a.b=1 --set c=2 --out runs/x",
        "allmlp predict run 'a folder' - --format json > answers.json",
        "allmlp train photos \\\n    --recipe demo",
        "make demo PYTHON=python3.12",
        "$ .venv/bin/allmlp --version",
        "allmlp train --help",
    ],
)
def test_a_right_command_passes(line):
    (words,) = command_lines(f"```\n{line}\n```\n")
    check(words)


def test_indented_blocks_are_read_like_fenced_ones():
    assert list(command_lines("Text\n\n    make demo   # first\n\nMore `make x`.\n")) == [["make", "demo"]]


def test_what_is_no_command_is_left_alone():
    assert not list(command_lines("allmlp is a program.\n```python\nimport allmlp\nallmlp.train(x)\n```\n"))


@pytest.mark.parametrize("page", TABLES)
def test_the_tables_are_those_that_the_measurements_make(page: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    assert with_tables(page, text) == text, "run `make tables`"


def test_the_pages_of_the_studies_are_those_that_the_results_make() -> None:
    pages = {f"{name}.md": studies.page(name, result) for name, result in studies.results().items()}
    found = {path.name: path.read_text(encoding="utf-8") for path in studies.PAGES.glob("*.md")}
    assert found == pages, "run `make tables`"
