"""The page of `allmlp export --to web` in Chromium: the answers of `allmlp predict`, and no request to another host."""

import base64
import contextlib
import functools
import io
import json
import re
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from tests.builders import tiny_checkpoint, unknown_rule
from tests.chromium import LOW_CONTRAST, UNNAMED, chromium, needs_chromium
from tests.exports.web_page.packages import PACKAGE_FOLDER, needs_package

from allmlp import Checkpoint, Embedder, Predictor, Preprocessing, export, open_dataset
from allmlp.checkpoints import UnknownRule, encode_statistics
from allmlp.data import decode
from allmlp.explanations import Explainer
from allmlp.metrics import closeness, fit_closeness

pytestmark = [needs_chromium, needs_package]

NAMES = ("cat", "<img src=x onerror=document.title='run'>", "猫", '"quoted" & more', "yak", "</script><script>alert(1)")
VIOLATIONS = """document.addEventListener("securitypolicyviolation", (event) => {
  (window.violations ??= []).push(`${event.effectiveDirective} ${event.blockedURI}`);
});"""
# Decodes a photo with the page's own script, and returns its RGB in base64.
DECODE = """async (photo) => {
  const { decode } = await import(new URL("pixels.js", location.href));
  const bytes = Uint8Array.from(atob(photo), (letter) => letter.charCodeAt(0));
  const { pixels, height, width } = await decode(new File([bytes], "photo"));
  let text = "";
  for (let at = 0; at < pixels.length; at += 8192) text += String.fromCharCode(...pixels.subarray(at, at + 8192));
  return { pixels: btoa(text), height, width };
}"""


class Handler(SimpleHTTPRequestHandler):
    """What `python -m http.server` runs, with headers of the test."""

    headers_to_send: ClassVar[dict[str, str]] = {}

    def end_headers(self) -> None:
        for name, value in self.headers_to_send.items():
            self.send_header(name, value)
        super().end_headers()

    def log_message(self, *_: object) -> None:
        pass


@contextlib.contextmanager
def served(folder: Path, headers: dict[str, str] | None = None) -> Iterator[str]:
    handler = type("Own", (Handler,), {"headers_to_send": headers or {}})
    with ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(handler, directory=str(folder))) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


class Visit:
    """A page, the addresses that it asked for, and what its console said."""

    def __init__(self, browser: Any, url: str, **options: Any) -> None:
        self.page = browser.new_page(**options)
        self.page.set_default_timeout(60_000)
        self.page.add_init_script(VIOLATIONS)
        self.asked: set[str] = set()
        self.said: list[str] = []
        self.page.on("request", lambda request: self.asked.add(request.url))
        self.page.on("console", lambda message: self.said.append(message.text))
        self.page.on("pageerror", lambda error: self.said.append(str(error)))
        self.page.goto(url)

    def give(self, *photos: tuple[str, bytes]) -> None:
        files = [{"name": name, "mimeType": "image/png", "buffer": content} for name, content in photos]
        self.page.set_input_files("#files", files)

    def wait(self, text: str) -> None:
        self.page.get_by_role("status").get_by_text(text, exact=True).wait_for()

    def texts(self, selector: str) -> list[str]:
        return self.page.locator(selector).all_text_contents()

    def violations(self) -> list[str]:
        return self.page.evaluate("window.violations ?? []")

    def decode(self, photo: bytes) -> NDArray[np.uint8]:
        found = self.page.evaluate(DECODE, base64.b64encode(photo).decode())
        pixels = np.frombuffer(base64.b64decode(found["pixels"]), np.uint8)
        return pixels.reshape(found["height"], found["width"], 3)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as browser:
        yield browser


def page_of(checkpoint: Checkpoint | str, folder: Path) -> Path:
    return export(checkpoint, to="web", out=folder / "page", runtime=PACKAGE_FOLDER)


@pytest.fixture(scope="module")
def checkpoint() -> Checkpoint:
    """A tiny Mixer with difficult class names; a photo of its size is seen whole."""
    return tiny_checkpoint(
        seed=3,
        hidden_dim=16,
        num_blocks=1,
        num_classes=len(NAMES),
        class_names=NAMES,
        temperature=1.3,
        image_size=(16, 24),
    )


@pytest.fixture(scope="module")
def url(checkpoint: Checkpoint, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with served(page_of(checkpoint, tmp_path_factory.mktemp("web"))) as url:
        yield url


@pytest.fixture
def visit(browser: Any, url: str) -> Iterator[Visit]:
    visit = Visit(browser, url)
    yield visit
    visit.page.close()


def pixels_of(seed: int, size: tuple[int, int] = (16, 24), channels: int = 3) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (*size, channels), dtype=np.uint8)


def encoded(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    content = io.BytesIO()
    image.save(content, kind, **options)
    return content.getvalue()


def photo_of(seed: int, size: tuple[int, int] = (16, 24)) -> bytes:
    return encoded(Image.fromarray(pixels_of(seed, size)))


def test_fifty_photos_get_the_classes_of_predict(browser: Any, tmp_path: Path) -> None:
    split = open_dataset("clothing").splits["test"]
    photos = {f"{index}.webp": split.read(index) for index in range(50)}
    (tmp_path / "photos").mkdir()
    for name, content in photos.items():
        (tmp_path / "photos" / name).write_bytes(content)
    words = [sys.executable, "-m", "allmlp", "predict", "starter", "photos", "--format", "json"]
    said = subprocess.run(words, cwd=tmp_path, capture_output=True, check=True, timeout=120).stdout
    expected = {Path(row["path"]).name: row["predictions"] for row in json.loads(said)}
    assert len(expected) == 50
    with served(page_of("starter", tmp_path)) as url:
        visit = Visit(browser, url)
        visit.give(*photos.items())
        visit.wait("50 photos done")
        names = visit.texts("h3")
        labels = dict(zip(names, visit.texts(".best .words span:first-child"), strict=True))
        scores = dict(zip(names, visit.texts(".best .score"), strict=True))
        assert labels == {name: rows[0]["label"] for name, rows in expected.items()}
        for name, rows in expected.items():  # a digit is shown; the rest is the difference of resized pixels
            assert float(scores[name].split()[0]) == pytest.approx(100 * rows[0]["score"], abs=0.1)
        assert {address.rpartition("/")[0] for address in visit.asked if not address.startswith("blob:")} == {url}
        assert (visit.violations(), visit.said) == ([], [])
        visit.page.close()


@pytest.mark.parametrize(
    "settings",
    [
        {"fit": "pad", "mean": (0.4, 0.5, 0.6)},
        {"fit": "squash", "crop_fraction": 0.9, "std": (0.2, 0.3, 0.4)},
        {"law": "timm", "crop_fraction": 0.875, "interpolation": "bilinear"},
    ],
    ids=["pad", "squash", "timm"],
)
def test_photos_are_prepared_as_the_model_says(settings: dict[str, Any], browser: Any, tmp_path: Path) -> None:
    preprocessing = Preprocessing(image_size=(16, 24), **settings)
    model = tiny_checkpoint(seed=1, image_size=(16, 24), num_classes=6, preprocessing=preprocessing)
    photos = {f"{size}.png": photo_of(size[0], size) for size in ((9, 14), (60, 31), (40, 200))}
    with served(page_of(model, tmp_path)) as url:
        visit = Visit(browser, url)
        visit.give(*photos.items())
        visit.wait("3 photos done")
        for index, (name, content) in enumerate(reversed(photos.items())):  # the last one is on top
            (expected,) = Predictor.from_checkpoint(model).predict((name, content))
            card = visit.page.locator(".result").nth(index)
            assert card.locator("h3").text_content() == name
            labels = card.locator(".words span:first-child").all_text_contents()
            scores = [float(score.split()[0]) for score in card.locator(".score").all_text_contents()]
            found = dict(zip(labels, scores, strict=True))
            # The resized pixels may differ by two grey levels, and random weights make much of that.
            assert found == pytest.approx({row["label"]: 100 * row["score"] for row in expected.labels}, abs=1)
        visit.page.close()


def test_a_page_in_int8_answers_as_its_model_does(browser: Any, checkpoint: Checkpoint, tmp_path: Path) -> None:
    for index in range(12):
        (tmp_path / f"{index}.png").write_bytes(photo_of(index))
    page = export(
        checkpoint,
        to="web",
        out=tmp_path / "page",
        runtime=PACKAGE_FOLDER,
        precision="int8",
        calibrate=tmp_path,
        agreement=0.0,
    )
    expected = Predictor.from_checkpoint(page / "model.onnx").predict(pixels_of(0))[0].labels
    with served(page) as url:
        visit = Visit(browser, url)
        visit.give(("a.png", photo_of(0)))
        visit.wait("1 photo done")
        scores = [float(score.split()[0]) for score in visit.texts(".score")]
        found = dict(zip(visit.texts(".words span:first-child"), scores, strict=True))
        assert found == pytest.approx({row["label"]: 100 * row["score"] for row in expected}, abs=1)
        assert (visit.violations(), visit.said) == ([], [])
        visit.page.close()


def test_names_stay_text_and_a_broken_photo_has_its_own_error(visit: Visit, checkpoint: Checkpoint) -> None:
    title = visit.page.title()
    visit.give(("<img src=x onerror=document.title='run'>.png", photo_of(0)), ("broken.png", b"not a photo"))
    visit.wait("2 photos done")
    (expected,) = Predictor.from_checkpoint(checkpoint).predict(pixels_of(0))
    assert visit.texts(".words span:first-child") == [label["label"] for label in expected.labels]
    assert visit.texts(".score")[0] == f"{100 * expected.labels[0]['score']:.1f} %"
    assert set(visit.texts("h3")) == {"<img src=x onerror=document.title='run'>.png", "broken.png"}
    assert NAMES[1] in visit.texts("#model")[0]
    (error,) = visit.texts(".result .error")
    assert error.startswith("This browser cannot read the file as a photo")
    assert visit.page.title() == title
    assert visit.page.locator("#model img, h3 img, .bars img, .bars script").count() == 0
    assert visit.violations() == []


def test_the_policy_refuses_other_hosts_and_inline_code(visit: Visit) -> None:
    """Faults: what a hostile script would try."""
    visit.page.locator("#model").get_by_text(f"{len(NAMES)} classes").wait_for()
    assert not visit.page.evaluate("fetch('http://127.0.0.2:9/').then(() => true, () => false)")
    visit.page.evaluate(
        "() => { const script = document.createElement('script'); script.textContent = 'window.ran = true';"
        " document.body.append(script); new Image().src = 'http://127.0.0.2:9/x.png'; }"
    )
    visit.page.wait_for_function("(window.violations ?? []).length === 3")
    found = {violation.split()[0] for violation in visit.violations()}
    assert found == {"connect-src", "script-src-elem", "img-src"}
    assert visit.page.evaluate("window.ran") is None


def test_the_page_runs_under_the_headers_of_the_docs(browser: Any, checkpoint: Checkpoint, tmp_path: Path) -> None:
    docs = (Path(__file__).parents[3] / "docs" / "export.md").read_text(encoding="utf-8")
    lines = [line.strip() for line in docs.splitlines()]
    headers = dict(
        line.split(": ", 1) for line in lines if line.startswith(("Content-Security-Policy: ", "X-Content-"))
    )
    assert len(headers) == 2
    with served(page_of(checkpoint, tmp_path), headers) as url:
        visit = Visit(browser, url)
        visit.give(("a.png", photo_of(0)))
        visit.wait("1 photo done")
        assert (visit.violations(), visit.said) == ([], [])
        visit.page.close()


def test_pixels_are_those_of_our_decoder(visit: Visit) -> None:
    rgb = Image.fromarray(np.kron(pixels_of(1, (12, 9)), np.ones((7, 7, 1), np.uint8)))  # (84, 63), not only noise
    cases = {
        "PNG": encoded(rgb),
        "PNG, palette": encoded(rgb.quantize(50)),
        "PNG, grey": encoded(rgb.convert("L")),
        "PNG, with a profile": encoded(rgb, icc_profile=_other_colours()),
        "JPEG": encoded(rgb, "JPEG", quality=85),
        "JPEG, 4:4:4": encoded(rgb, "JPEG", subsampling=0),
        "JPEG, progressive": encoded(rgb, "JPEG", progressive=True),
        "JPEG, grey": encoded(rgb.convert("L"), "JPEG"),
        "JPEG, CMYK": encoded(rgb.convert("CMYK"), "JPEG"),
        "JPEG, with a profile": encoded(rgb, "JPEG", icc_profile=_other_colours()),
        "WebP": encoded(rgb, "WEBP", quality=80),
        "WebP, lossless": encoded(rgb, "WEBP", lossless=True),
        "GIF": encoded(rgb.quantize(50), "GIF"),
        "BMP": encoded(rgb, "BMP"),
        "PNG, 16 bits": encoded(Image.fromarray(np.arange(0, 65536, 97, dtype=np.uint16).reshape(26, 26))),
        "larger than a strip": photo_of(5, (1100, 1300)),
    }
    exif = Image.Exif()
    for orientation in range(1, 9):
        exif[0x0112] = orientation
        cases[f"JPEG, orientation {orientation}"] = encoded(rgb, "JPEG", exif=exif.tobytes())
    for name, content in cases.items():
        np.testing.assert_array_equal(visit.decode(content), decode(content, name=name), err_msg=name)


def test_transparency_is_on_white_to_a_grey_level(visit: Visit) -> None:
    content = encoded(Image.fromarray(pixels_of(2, (40, 40), channels=4)))
    found, expected = visit.decode(content).astype(int), decode(content, name="x").astype(int)
    assert np.abs(found - expected).max() <= 1


def test_what_our_decoder_refuses_is_refused(visit: Visit) -> None:
    photo = Image.fromarray(pixels_of(1, (90, 90)))
    whole = [encoded(photo), encoded(photo, "JPEG"), encoded(photo, "WEBP", lossless=True)]
    broken = [content[: len(content) // 2] for content in whole]
    broken += [b"not a photo", b"<svg xmlns='http://www.w3.org/2000/svg' width='9' height='9'/>"]
    visit.give(*((f"{index}.png", content) for index, content in enumerate(broken)))
    visit.wait(f"{len(broken)} photos done")
    errors = visit.texts(".result .error")
    assert len(errors) == len(broken)
    assert all(error.startswith("This browser cannot read the file as a photo") for error in errors)


def test_limits_are_those_of_our_decoder_and_of_the_graph(browser: Any, tmp_path: Path) -> None:
    with served(page_of(tiny_checkpoint(image_size=64), tmp_path)) as url:
        visit = Visit(browser, url)
        large, long = encoded(Image.new("1", (10_000, 5_001))), encoded(Image.new("L", (60_000, 2)))
        visit.give(("large.png", large), ("long.png", long), ("a.png", photo_of(0)))
        visit.wait("3 photos done")
        assert set(visit.texts(".result .error")) == {
            "The photo has 10000 × 5001 pixels; the limit is 50,000,000.",
            "The photo is too long for this model: it would be scaled to 1920000 × 64 pixels. Crop it.",
        }
        visit.page.close()


def test_unknown_is_shown_as_predict_shows_it(browser: Any, checkpoint: Checkpoint, tmp_path: Path) -> None:
    photos = [pixels_of(seed) for seed in range(8)]
    features = Embedder.from_checkpoint(checkpoint).embed(photos)
    statistics = fit_closeness(features)
    low, high = np.sort(closeness(features, statistics))[3:5]
    rule = UnknownRule(
        threshold=float((low + high) / 2), kept=0.5, num_photos=8, statistics=encode_statistics(statistics)
    )
    model = replace(checkpoint, description=replace(checkpoint.description, unknown=rule))
    expected = [answer.is_unknown for answer in Predictor.from_checkpoint(model).predict(photos)]
    assert sum(expected) == 4
    with served(page_of(model, tmp_path)) as url:
        visit = Visit(browser, url)
        visit.give(*((f"{index}.png", encoded(Image.fromarray(photo))) for index, photo in enumerate(photos)))
        visit.wait("8 photos done")
        cards = visit.page.locator(".result")
        found = {
            cards.nth(index).locator("h3").text_content(): cards.nth(index).locator(".unknown").count() == 1
            for index in range(8)
        }
        assert found == {f"{index}.png": is_unknown for index, is_unknown in enumerate(expected)}
        visit.page.close()


@pytest.mark.parametrize("law", ["allmlp", "timm", "big_vision", "vit_jax"])
def test_the_shown_part_is_that_of_the_pre_processing(law: str, visit: Visit) -> None:
    generator = np.random.default_rng(0)
    sizes = [(int(height), int(width)) for height, width in generator.integers(1, 3000, (60, 2))] + [(7, 7), (5, 2)]
    fits = (("crop", 1.0), ("crop", 0.875), ("squash", 0.9), ("squash", 1.0), ("pad", 1.0))
    known = {"big_vision": fits[:4], "vit_jax": fits[3:4]}  # the others are not in that code
    cases = [
        Preprocessing(image_size=size, fit=fit, crop_fraction=fraction, law=law, interpolation="bilinear")  # type: ignore[arg-type]
        for size in ((16, 16), (15, 24), (224, 224))
        for fit, fraction in known.get(law, fits)
    ]
    for case in cases:
        values = {name: getattr(case, name) for name in ("law", "fit", "image_size", "crop_fraction")}
        found = visit.page.evaluate(
            """async ([preprocessing, sizes]) => {
              const { shownBox } = await import(new URL("answers.js", location.href));
              return sizes.map((size) => shownBox(preprocessing, size));
            }""",
            [values, sizes],
        )
        boxes = [[box[side] for side in ("top", "left", "bottom", "right")] for box in found]
        np.testing.assert_allclose(boxes, [case.shown_box(size) for size in sizes], rtol=1e-12, err_msg=str(case))


def test_heat_maps_show_the_contributions_for_the_pointer_and_the_keyboard(
    visit: Visit, checkpoint: Checkpoint
) -> None:
    explained = Explainer.from_checkpoint(checkpoint).explain(pixels_of(0), None)
    visit.give(("a.png", photo_of(0)))
    visit.wait("1 photo done")
    canvas, bars = visit.page.locator(".picture canvas"), visit.page.locator("button.bar")
    labels = visit.texts(".words span:first-child")
    assert bars.count() == 5
    values = np.stack([explained.contributions[..., checkpoint.class_names.index(label)] for label in labels])
    rows, columns = values.shape[1:]
    visit.page.select_option("#compared", "contributions")
    bars.nth(1).hover()
    canvas.wait_for()
    shown = canvas.evaluate(
        """(canvas, [rows, columns]) => Array.from({ length: rows }, (_, row) => Array.from({ length: columns }, (_, column) =>
          [...canvas.getContext("2d").getImageData((column + 0.5) * canvas.width / columns,
            (row + 0.5) * canvas.height / rows, 1, 1).data]))""",
        [rows, columns],
    )
    red, _, blue, alpha = np.moveaxis(np.array(shown), -1, 0)
    expected = 0.85 * 255 * np.abs(values[1]) / np.abs(values).max()
    np.testing.assert_allclose(alpha, expected, atol=1.5)
    strong = alpha > 20  # of faint colours, rounding leaves little
    assert strong.any() and ((red > blue) == (values[1] > 0))[strong].all()
    pointed = canvas.evaluate("(canvas) => canvas.toDataURL()")
    visit.page.mouse.move(0, 0)
    canvas.wait_for(state="detached")
    bars.nth(1).focus()
    canvas.wait_for()
    assert canvas.evaluate("(canvas) => canvas.toDataURL()") == pointed
    visit.page.keyboard.press("Enter")
    assert bars.nth(1).get_attribute("aria-pressed") == "true"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_everything_has_a_name_and_contrast_and_fits_a_phone(browser: Any, url: str, scheme: str) -> None:
    visit = Visit(browser, url, color_scheme=scheme, viewport={"width": 390, "height": 800})
    visit.give(("a.png", photo_of(0)), ("long" * 30 + ".png", b"x"))
    visit.wait("2 photos done")
    assert visit.page.evaluate(UNNAMED) == []
    assert visit.page.evaluate(LOW_CONTRAST) == []
    assert visit.page.evaluate("document.documentElement.scrollWidth") <= 390
    assert visit.page.evaluate("document.documentElement.lang") == "en"
    assert visit.page.locator("h1").count() == visit.page.locator("main").count() == 1
    visit.page.close()


def test_the_keyboard_reaches_everything(visit: Visit) -> None:
    visit.give(("a.png", photo_of(0)))
    visit.wait("1 photo done")
    visit.page.evaluate("document.activeElement.blur()")
    reached = []
    for _ in range(9):
        visit.page.keyboard.press("Tab")
        reached.append(visit.page.evaluate("document.activeElement.id || document.activeElement.className"))
    assert reached == ["files", "forget", "compared", "smooth", *["bar"] * 5]


def test_a_folder_that_lacks_a_file_says_which(browser: Any, checkpoint: Checkpoint, tmp_path: Path) -> None:
    page = page_of(checkpoint, tmp_path)
    for name, words in (
        ("model.onnx", "model.onnx: the server answered with status 404."),
        ("ort.wasm.bundle.min.js", ""),
    ):
        content = (page / name).read_bytes()
        (page / name).unlink()
        with served(page) as url:
            visit = Visit(browser, url)
            visit.page.get_by_role("status").get_by_text("The model could not be loaded. " + words).wait_for()
            visit.give(("a.png", photo_of(0)))
            visit.wait("1 photo done")
            assert len(visit.texts(".result .error")) == 1
            visit.page.close()
        (page / name).write_bytes(content)


def _without_threshold(text: str) -> str:
    return re.sub(r',"threshold":[^,]*', "", text)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda text: text.replace("cat", "dog"), "description.json is not that of model.onnx"),
        (_without_threshold, "description.json is not that of model.onnx"),
        (lambda text: "", "description.json is not that of model.onnx"),
        (lambda text: text[:-9], ""),
    ],
    ids=["another class", "no threshold", "empty", "cut"],
)
def test_a_description_that_is_not_the_models_is_refused(
    change: Callable[[str], str], words: str, browser: Any, checkpoint: Checkpoint, tmp_path: Path
) -> None:
    """Faults: a folder in which files of two exports met, or one was edited. It would name wrong classes."""
    rule = unknown_rule(checkpoint.config.hidden_dim)
    page = page_of(replace(checkpoint, description=replace(checkpoint.description, unknown=rule)), tmp_path)
    path = page / "description.json"
    text = path.read_text(encoding="ascii")
    assert change(text) != text
    path.write_text(change(text), encoding="ascii")
    with served(page) as url:
        visit = Visit(browser, url)
        visit.page.get_by_role("status").get_by_text("The model could not be loaded. " + words).wait_for()
        visit.page.close()


def test_a_thousand_classes_with_long_names_are_described(browser: Any, tmp_path: Path) -> None:
    names = tuple(f"{index} " + "猫" * 200 for index in range(1000))
    model = tiny_checkpoint(seed=3, num_classes=1000, class_names=names)
    with served(page_of(model, tmp_path)) as url:
        visit = Visit(browser, url)
        visit.give(("a.png", photo_of(0)))
        visit.wait("1 photo done")
        (expected,) = Predictor.from_checkpoint(model).predict(("a.png", photo_of(0)))
        assert visit.texts(".best .words span:first-child") == [expected.label]
        visit.page.close()


def test_no_photo_vanishes_without_a_word(visit: Visit) -> None:
    visit.give(("a.png", photo_of(0)), ("empty.png", b""))
    visit.wait("2 photos done")
    assert visit.texts(".result .error") == ["The file is empty."]
    visit.give(*((f"{index}.png", photo_of(0)) for index in range(49)))
    visit.wait("51 photos done; the newest 50 are shown")
    assert len(visit.texts("h3")) == 50


def test_photos_that_wait_are_forgotten_too(visit: Visit) -> None:
    visit.give(*((f"{index}.png", photo_of(index)) for index in range(40)))
    visit.page.locator("#forget").click()
    visit.give(("new.png", photo_of(0)))
    visit.page.locator(".result .best").wait_for()
    done = visit.page.get_by_role("status").text_content()
    assert done in ("1 photo done", "2 photos done")  # the one that was being computed


def test_opened_as_a_file_the_page_says_how_to_serve_it(browser: Any, checkpoint: Checkpoint, tmp_path: Path) -> None:
    visit = Visit(browser, (page_of(checkpoint, tmp_path) / "index.html").as_uri())
    assert visit.page.locator("#start").is_visible() and not visit.page.locator("#drop").is_visible()
    assert "python -m http.server" in visit.texts("#start")[0]
    visit.page.close()


def test_a_browser_that_falsifies_pixels_is_found_out(browser: Any, url: str) -> None:
    """The fault: a canvas that changes what is read from it, as some browsers do against tracking."""
    page = browser.new_page()
    page.add_init_script(
        "const read = CanvasRenderingContext2D.prototype.getImageData;"
        "CanvasRenderingContext2D.prototype.getImageData = function (...box) {"
        " const image = read.apply(this, box); image.data[0] ^= 1; return image; };"
    )
    page.goto(url)
    caution = page.locator("#caution")
    caution.wait_for()
    assert "Answers may be wrong" in caution.text_content()
    page.close()


def _other_colours() -> bytes:
    """Return a colour profile that a colour-managed program would apply: not sRGB."""
    from PIL import ImageCms

    return ImageCms.ImageCmsProfile(ImageCms.createProfile("XYZ")).tobytes()
