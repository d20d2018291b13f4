"""The page in Chromium: photos in, names as text, no request to another host, usable by keyboard."""

import base64
import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import pytest
from tests.builders import tiny_checkpoint
from tests.chromium import LOW_CONTRAST, UNNAMED, chromium, needs_chromium
from tests.serve.conftest import NAMES, photo_of
from tests.serve.running import Running, running

from allmlp import save_checkpoint

pytestmark = needs_chromium


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as browser:
        yield browser


class Visit:
    """A page, the hosts that it asked, and what its console said."""

    def __init__(self, browser: Any, server: Running, **options: Any) -> None:
        self.page = browser.new_page(**options)
        self.page.set_default_timeout(30_000)
        self.hosts: set[str] = set()
        self.said: list[str] = []
        self.page.on("request", lambda request: self.hosts.add(request.url.split("/")[2]))
        self.page.on("console", lambda message: self.said.append(message.text))
        self.page.on("pageerror", lambda error: self.said.append(str(error)))
        self.server = server
        self.page.goto(server.url)

    def give(self, *photos: tuple[str, bytes]) -> None:
        files = [{"name": name, "mimeType": "image/png", "buffer": content} for name, content in photos]
        self.page.set_input_files("#files", files)

    def wait(self, text: str) -> None:
        self.page.get_by_role("status").get_by_text(text, exact=True).wait_for()

    def texts(self, selector: str) -> list[str]:
        return self.page.locator(selector).all_text_contents()


@pytest.fixture
def visit(browser: Any, server: Running) -> Iterator[Visit]:
    visit = Visit(browser, server)
    yield visit
    visit.page.close()


def test_a_photo_gets_bars_and_names_stay_text(visit: Visit):
    title = visit.page.title()
    visit.give(("<img src=x onerror=document.title='run'>.png", photo_of(0)), ("broken.png", b"not a photo"))
    visit.wait("2 photos done")
    expected = visit.server.predict(photo_of(0)).json["results"][0]["labels"]
    assert visit.texts(".words span:first-child") == [label["label"] for label in expected]
    assert visit.texts(".score")[0] == f"{100 * expected[0]['score']:.1f} %"
    assert set(visit.texts("h3")) == {"<img src=x onerror=document.title='run'>.png", "broken.png"}
    assert NAMES[1] in visit.texts("#model")[0]
    (error,) = visit.texts(".error")
    assert error.startswith("This is an unknown kind of file")
    assert visit.page.title() == title
    assert visit.page.locator("#model img, h3 img, .bars img").count() == 0
    assert visit.hosts == {visit.server.url.split("/")[2], ""} or visit.hosts == {visit.server.url.split("/")[2]}
    assert [line for line in visit.said if "status of 415" not in line] == []  # nothing that the policy refused


def test_the_policy_forbids_inline_code(visit: Visit):
    policy = visit.server.ask("GET", "/").headers["content-security-policy"]
    assert "unsafe" not in policy
    assert policy.startswith("default-src 'none'; ")
    source = visit.server.ask("GET", "/").body.decode()
    assert not any(word in source for word in (" style=", "<style", "onclick", "http://", "https://"))
    for path in ("/page.js", "/photos.js"):
        script = visit.server.ask("GET", path).body.decode()
        assert not any(word in script for word in ("innerHTML", "insertAdjacent", "document.write", "eval("))


def test_photos_are_pasted_and_dropped(visit: Visit):
    make = """([kind, target]) => {
      const data = new DataTransfer();
      data.items.add(new File([Uint8Array.from(atob(window.photo), (c) => c.charCodeAt(0))], kind + ".png"));
      const options = {bubbles: true, cancelable: true};
      const event = kind === "paste" ? new ClipboardEvent(kind, {...options, clipboardData: data})
        : new DragEvent(kind, {...options, dataTransfer: data});
      document.querySelector(target).dispatchEvent(event);
    }"""
    visit.page.evaluate("(photo) => { window.photo = photo; }", base64.b64encode(photo_of(0)).decode())
    visit.page.evaluate(make, ["paste", "body"])
    visit.wait("1 photo done")
    visit.page.evaluate(make, ["drop", "#drop"])
    visit.wait("2 photos done")
    assert visit.texts("h3") == ["drop.png", "paste.png"]
    visit.page.get_by_role("button", name="Forget them").click()
    assert visit.texts("h3") == []


def test_the_command_runs_as_it_is_copied(visit: Visit, tmp_path: Path):
    if shutil.which("curl") is None:
        pytest.skip("no curl")
    name = "it's a photo.png"
    (tmp_path / name).write_bytes(photo_of(0))
    visit.page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    visit.give((name, photo_of(0)))
    visit.wait("1 photo done")
    visit.page.get_by_role("button", name="Copy as curl").click()
    visit.wait("The command is on the clipboard.")
    command = visit.page.evaluate("navigator.clipboard.readText()")
    answer = subprocess.run(command, shell=True, cwd=tmp_path, capture_output=True, check=True).stdout
    assert json.loads(answer) == visit.server.predict(photo_of(0)).json


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_everything_has_a_name_and_contrast_and_fits_a_phone(browser: Any, server: Running, scheme: str):
    visit = Visit(browser, server, color_scheme=scheme, viewport={"width": 390, "height": 800})
    visit.give(("a.png", photo_of(0)), ("long" * 30 + ".png", b"x"))
    visit.wait("2 photos done")
    assert visit.page.evaluate(UNNAMED) == []
    assert visit.page.evaluate(LOW_CONTRAST) == []
    assert visit.page.evaluate("document.documentElement.scrollWidth") <= 390
    assert visit.page.evaluate("document.documentElement.lang") == "en"
    assert visit.page.locator("h1").count() == visit.page.locator("main").count() == 1
    visit.page.close()


def test_the_keyboard_reaches_everything(visit: Visit):
    visit.give(("a.png", photo_of(0)))
    visit.wait("1 photo done")
    visit.page.evaluate("document.activeElement.blur()")
    reached = []
    for _ in range(4):
        visit.page.keyboard.press("Tab")
        reached.append(visit.page.evaluate("document.activeElement.id || document.activeElement.textContent"))
    assert reached == ["files", "forget", "compared", "smooth"]


def test_a_key_is_asked_for(browser: Any, sources: dict[str, Path]):
    with running(sources["onnx"], options={"api_keys": ["right"]}) as server:
        visit = Visit(browser, server)
        field = visit.page.get_by_label("This server needs a key:")
        field.fill("wrong")
        field.press("Enter")
        visit.wait("The key is wrong.")
        field.fill("right")
        field.press("Enter")
        visit.wait("The key is accepted.")
        visit.give(("a.png", photo_of(0)))
        visit.wait("1 photo done")
        visit.page.close()


def test_heat_maps_follow_the_pointer_and_the_keyboard(visit: Visit):
    visit.give(("a.png", photo_of(0)))
    visit.wait("1 photo done")
    canvas = visit.page.locator(".picture canvas")
    bars = visit.page.locator("button.bar")
    assert bars.count() == 5
    bars.nth(1).hover()
    canvas.wait_for()
    pointed = canvas.evaluate("(canvas) => canvas.toDataURL()")
    visit.page.mouse.move(0, 0)
    canvas.wait_for(state="detached")
    bars.nth(1).focus()
    canvas.wait_for()
    assert canvas.evaluate("(canvas) => canvas.toDataURL()") == pointed
    visit.page.keyboard.press("Enter")
    assert bars.nth(1).get_attribute("aria-pressed") == "true"
    bars.nth(1).blur()
    assert canvas.count() == 1  # it stays until it is pressed again
    visit.page.get_by_label("Smooth").check()  # the map is drawn again at once
    visit.page.wait_for_function(
        "(before) => document.querySelector('.picture canvas')?.toDataURL() !== before", arg=pointed
    )


COLOURS = """([shown, grid, scale]) => {
  const context = document.querySelector(".picture canvas").getContext("2d");
  const middle = (low, high, number, index) => Math.floor(scale * (low + (high - low) * (index + 0.5) / number));
  return [...Array(grid.rows).keys()].map((row) => [...Array(grid.columns).keys()].map((column) => [
    ...context.getImageData(middle(shown.left, shown.right, grid.columns, column),
      middle(shown.top, shown.bottom, grid.rows, row), 1, 1).data]));
}"""


@pytest.mark.parametrize(("index", "rival"), [(0, 1), (1, 0), (4, 0)])
def test_a_class_is_compared_with_the_best_other_one_or_shown_alone(visit: Visit, index: int, rival: int):
    """The pixels of the page against the numbers of /explain."""
    visit.give(("a.png", photo_of(0)))
    visit.wait("1 photo done")
    labels = visit.texts(".words span:first-child")
    query = "&".join(f"class={quote(label)}" for label in labels)
    (found,) = visit.server.predict(photo_of(0), f"/explain?{query}").json["results"]
    maps = np.array([each["contributions"] for each in found["classes"]])
    differences = maps - maps[[1, 0, 0, 0, 0]]
    relative = differences - differences.mean(axis=(1, 2), keepdims=True)
    visit.page.locator("button.bar").nth(index).click()
    name, other = labels[index], labels[rival]
    more = f"more for {name} than for {other}, compared with the mean of all patches; blue ones less."
    assert visit.page.get_by_label("Heat maps show").input_value() == "relative"
    for kind, all_shown, words in (
        ("relative", relative, f"Orange patches speak {more}"),
        ("difference", differences, f"Orange speaks for {name}, blue for {other}."),
        ("contributions", maps, f"Orange speaks for {name}, blue against it."),
    ):
        shown, scale = all_shown[index], np.abs(all_shown).max()
        visit.page.get_by_label("Heat maps show").select_option(kind)
        visit.page.locator(".meaning", has_text=words).wait_for()
        assert visit.texts(".meaning") == [words]
        pixels = np.array(visit.page.evaluate(COLOURS, [found["shown"], found["grid"], 4]))  # tiny photos are enlarged
        np.testing.assert_allclose(pixels[..., 3], 255 * 0.85 * np.abs(shown) / scale, atol=1.01)
        is_strong = (
            np.abs(shown) > 0.2 * scale
        )  # colours of faint pixels are coarse: they are stored times their opacity
        np.testing.assert_array_equal((pixels[..., 0] > pixels[..., 2])[is_strong], (shown > 0)[is_strong])


def test_a_model_of_one_class_has_nothing_to_compare_with(browser: Any, tmp_path: Path):
    checkpoint = tiny_checkpoint(num_classes=1, class_names=("cat",))
    with running(save_checkpoint(checkpoint, tmp_path / "one")) as server:
        visit = Visit(browser, server)
        visit.give(("a.png", photo_of(0)))
        visit.wait("1 photo done")
        visit.page.locator("button.bar").click()
        words = "Orange patches speak more for cat, compared with the mean of all patches; blue ones less."
        visit.page.locator(".meaning", has_text=words).wait_for()
        visit.page.close()
