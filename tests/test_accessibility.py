"""axe-core on every page that allmlp makes, in light and in dark: no violation of any of its rules.

It needs Chromium, and axe-core: `npm install --no-save axe-core` in the checkout, or the path of its axe.min.js in ALLMLP_AXE.
"""

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.forks import run_allmlp
from tests.serve.conftest import photo_of
from tests.serve.running import running
from tests.training.small_runs import TINY, write_photos

from allmlp import train
from allmlp.config import override

sync_api = pytest.importorskip("playwright.sync_api")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
AXE = Path(os.environ.get("ALLMLP_AXE") or Path(__file__).parents[1] / "node_modules" / "axe-core" / "axe.min.js")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine"),
    pytest.mark.skipif(not AXE.is_file(), reason="no axe-core here"),
]
LOOKS = {
    "light": {"color_scheme": "light"},
    "dark": {"color_scheme": "dark"},
    "phone": {"color_scheme": "light", "viewport": {"width": 390, "height": 800}},
}
PAGES = ("run", "evaluation", "comparison", "cleaning", "predictions", "explanations")
RUN_AXE = """async () => {
  for (const details of document.querySelectorAll("details")) details.open = true;
  const { violations, passes } = await axe.run(document);
  return [passes.length, violations.flatMap(({ id, help, nodes }) => nodes.slice(0, 3).map(({ html, any }) =>
    [id, help, html.slice(0, 200), ...any.map(({ message }) => message)].join(" | ")))];
}"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with two cross-validated runs, photos, and the pages that commands make of them."""
    work = tmp_path_factory.mktemp("pages")
    photos = write_photos(work / "photos")
    for name, rate in (("first", 0.02), ("second", 0.002)):
        recipe = override(TINY, ["data.folds=3", f"optimizer.learning_rate={rate}"])
        train(recipe, photos, work / name)
    explained = [f"photos/test/{name}/00.png" for name in ("blue", "green", "red")]
    for arguments in (
        ("evaluate", "first", "photos", "--report", "evaluation.html"),
        ("compare", "first", "second", "--out", "comparison.html"),
        ("clean", "first", "--page", "cleaning.html"),
        ("predict", "first", "photos/test", "--sheet", "predictions.html"),
        ("predict", "first", *explained, "--explain", "explanations"),
    ):
        done = run_allmlp(*arguments, cwd=work)
        assert done.returncode == 0, done.stderr
    shutil.copy(work / "first" / "report.html", work / "run.html")
    shutil.copy(work / "explanations" / "index.html", work / "explanations.html")
    return work


def problems(page: Any) -> list[str]:
    """Return what axe finds on a page, one line per element."""
    page.evaluate(AXE.read_text(encoding="utf-8"))
    num_passed, found = page.evaluate(RUN_AXE)
    assert num_passed > 10  # it looked at the page
    return list(found)


@pytest.mark.parametrize("look", LOOKS)
@pytest.mark.parametrize("name", PAGES)
def test_a_page_has_no_violation(browser: Any, work: Path, name: str, look: str) -> None:
    page = browser.new_page(**LOOKS[look])
    page.goto((work / f"{name}.html").as_uri())
    assert problems(page) == []
    page.close()


@pytest.mark.parametrize("look", LOOKS)
def test_the_page_of_a_server_has_no_violation_in_any_state(browser: Any, work: Path, look: str) -> None:
    with running(work / "first", options={"api_keys": ["key"]}) as server:
        page = browser.new_page(**LOOKS[look])
        page.set_default_timeout(30_000)
        page.goto(server.url)
        field = page.get_by_label("This server needs a key:")
        field.wait_for()
        found = {"key": problems(page)}
        field.fill("key")
        field.press("Enter")
        page.get_by_role("status").get_by_text("The key is accepted.").wait_for()
        found["empty"] = problems(page)
        photos = [("a.png", photo_of(0)), ("broken.png", b"not a photo")]
        files = [{"name": name, "mimeType": "image/png", "buffer": content} for name, content in photos]
        page.set_input_files("#files", files)
        page.get_by_role("status").get_by_text("2 photos done", exact=True).wait_for()
        page.locator("button.bar").first.click()
        page.locator(".picture canvas").wait_for()
        found["answered"] = problems(page)
        page.close()
    assert found == {"key": [], "empty": [], "answered": []}, json.dumps(found, indent=1)
