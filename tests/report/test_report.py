"""Facts about the page and the plots of a run, on made-up results."""

import base64
import io
import re
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from allmlp.data import Batch
from allmlp.errors import AllmlpError
from allmlp.metrics import Metrics, score_batches
from allmlp.report import Galleries, ReportSummary, ShownPhoto, Stopped, TrainingScore, write_report

CLASS_NAMES = ("shirt", "t-shirt", "dress", "<script>alert(1)</script>", "=cmd")
VOID_ELEMENTS = {"meta", "img", "source"}


class Page(HTMLParser):
    """The page's text, its elements, and whether every element was closed in order."""

    def __init__(self, path: Path) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.open: list[str] = []
        self.feed(path.read_text(encoding="utf-8"))
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID_ELEMENTS:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        is_layout = data.isspace() and "\n" in data  # a line break between two elements of the source
        if self.open and self.open[-1] != "style" and not is_layout:
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join("".join(self.words).replace("\u00a0", " ").split())

    def attributes(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


def metrics_of(confusion: NDArray[np.int64], class_names: tuple[str, ...] = CLASS_NAMES) -> Metrics:
    """Evaluate photos that give this confusion matrix, each predicted with the same margin."""
    truths, predictions = (np.repeat(index, confusion.ravel()) for index in np.indices(confusion.shape).reshape(2, -1))
    one_hot = np.eye(len(class_names), dtype=np.float32)
    images = np.broadcast_to(2 * one_hot[predictions][:, None, None, :], (len(truths), 3, 1, len(class_names)))
    batch = Batch(images, one_hot[truths], np.ones(len(truths), dtype=bool))
    return score_batches(lambda photos: photos[:, 0, 0, :], [batch], class_names)


TEST = metrics_of(
    2
    * np.array(
        [[28, 12, 0, 0, 0], [3, 16, 1, 0, 0], [0, 0, 10, 0, 0], [2, 0, 0, 6, 0], [0, 0, 1, 0, 9]], dtype=np.int64
    )
)
VALIDATION = metrics_of(np.diag([4, 4, 4, 4, 4]) + np.eye(5, k=1, dtype=np.int64))


def photos(num_photos: int, side: int = 16) -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, size=(num_photos, side, side, 3), dtype=np.uint8)


def row(epoch: int, accuracy: float, loss: float) -> dict[str, float]:
    return {
        "epoch": epoch,
        "step": 10 * epoch,
        "seconds": 84.0 * epoch,
        "learning_rate": 0.003 / epoch,
        "train_loss": 2.0 / epoch,
        "validation_loss": loss,
        "validation_top1": accuracy,
        "validation_top5": 1.0,
        "images_per_second": 1234.0,
    }


def summary(**changes: Any) -> ReportSummary:
    sample = ReportSummary(
        name="runs/my-run",
        best_epoch=2,
        recipe={"num_epochs": 3, "optimizer": {"learning_rate": 3e-3, "nesterov": True}, "initial": None},
        environment={"allmlp": "0.1.0", "processor": "a processor"},
        model={"parameters": "0.67 M"},
        splits=(("train", 905), ("validation", 24), ("test", 88)),
        class_names=CLASS_NAMES,
        results=(row(1, 0.2, 1.9), row(2, VALIDATION.top1, VALIDATION.loss), row(3, 0.8, 1.5)),
        evaluations={"validation": VALIDATION, "test": TEST},
        galleries=Galleries(
            mistakes=tuple(
                ShownPhoto(
                    sample_id=f"{truth}/{index}.jpg", photo=photo, truth=truth, prediction="shirt", confidence=0.9312
                )
                for index, (truth, photo) in enumerate(zip(CLASS_NAMES, photos(5), strict=True))
            )
        ),
        training_sample=photos(9),
        training_sample_captions=tuple(f"caption {index}" for index in range(9)),
        next_commands=("allmlp predict runs/my-run photos/*.jpg", "allmlp inspect 'a & b'"),
    )
    return replace(sample, **changes)


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Path]]:
    folder = tmp_path_factory.mktemp("run")
    return folder, write_report(summary(), folder)


@pytest.fixture(scope="module")
def page(written: tuple[Path, list[Path]]) -> Page:
    return Page(written[0] / "report.html")


@pytest.fixture
def report_of(tmp_path: Path) -> Callable[..., Page]:
    def write(**changes: Any) -> Page:
        write_report(summary(**changes), tmp_path)
        return Page(tmp_path / "report.html")

    return write


def test_report_writes_its_plots_and_a_page(written: tuple[Path, list[Path]]) -> None:
    folder, paths = written
    names = ["plots/curves.png", "plots/confusion.png", "plots/reliability.png", "plots/samples.png", "report.html"]
    assert paths == [folder / name for name in names]
    for path in paths[:4]:
        with Image.open(path) as picture:
            assert picture.format == "PNG"
            assert picture.width >= 600
    assert sorted(path for path in folder.rglob("*") if path.is_file()) == sorted(paths)


def test_page_says_how_good_the_model_is(page: Page) -> None:
    for fact in (
        "78.4 %test top-1: 138 of 176 photos correct",  # 2 * (28 + 16 + 10 + 6 + 9) / 176
        "71.8 to 83.8 %",  # scipy.stats.binomtest(138, 176).proportion_ci(method="wilson")
        "Always answering “shirt”: 45.5 %",
        "Balanced accuracy83.0 %",  # (28/40 + 16/20 + 1 + 6/8 + 9/10) / 5
        f"Loss (nats){TEST.loss:.3f}",
        "Validation top-164–93 %",
        "Training photos905",
        "Training time4 min 12 s",
        "best checkpoint (highest validation top-1, epoch 2 of 3)",
        "without test-time augmentation",
        "1,234 photos/s",
    ):
        assert fact in page.text


def test_page_says_when_the_two_losses_are_of_different_kinds(report_of: Callable[..., Page]) -> None:
    assert "so it can be higher than the validation loss." in report_of().text
    sigmoid = report_of(recipe={"loss": "sigmoid", "class_weights": "balanced"}).text
    assert "It is a sigmoid cross-entropy, summed over the classes, weighted by class; the validation loss" in sigmoid
    assert "the two cannot be compared" in sigmoid
    weighted = report_of(recipe={"loss": "softmax", "class_weights": "balanced"}).text
    assert (
        "It is a softmax cross-entropy, weighted by class; the validation loss is the plain softmax cross-entropy"
        in weighted
    )


def test_page_says_how_sure_the_model_is_and_how_often_right(page: Page, report_of: Callable[..., Page]) -> None:
    error = 69 / 88 - TEST.confidences[0]  # all photos are in one bin
    assert f"Calibration error, not fitted{100 * error:.1f} %" in page.text
    assert f"the expected calibration error: {100 * error:.1f} % (15 bins)." in page.text
    assert "The temperature was not fitted" in page.text
    assert "divided by the temperature" not in page.text
    alternative = next(image["alt"] for image in page.attributes("img") if "Reliability" in (image["alt"] or ""))
    assert (
        alternative
        == f"Reliability diagram: confidence {100 * TEST.confidences[0]:.1f}\u00a0%, accuracy 78.4\u00a0% (176)"
    )
    scaled = replace(TEST, temperature=0.7, expected_calibration_error_as_trained=0.4321, loss_as_trained=1.9876)
    text = report_of(evaluations={"test": scaled}).text
    assert (
        "divided by the temperature 0.700, fitted on the validation photos; without it, the error is 43.2 % and the loss 1.988."
        in text
    )
    assert f"Calibration error{100 * scaled.expected_calibration_error:.1f} %" in text


def test_page_names_the_confused_pairs_in_words(page: Page) -> None:
    assert "shirt mistaken for t-shirt: 24 of 80 (30.0 %)" in page.text
    assert "t-shirt mistaken for shirt: 6 of 40 (15.0 %)" in page.text
    assert "=cmd mistaken for dress: 2 of 20 (10.0 %)" in page.text
    order = [page.text.index(f": {count} of {total} (") for count, total in ((24, 80), (6, 40), (4, 16))]
    assert order == sorted(order)


def test_page_lists_the_classes_worst_first(page: Page) -> None:
    table = page.text[page.text.index("Class by class") : page.text.index("Worst mistakes")]
    places = [
        table.index(text)
        for text in (
            "shirt8070.0 % 56 of 8084.8 % 56 of 66t-shirt (24)",
            "<script>alert(1)</script>1675.0 % 12 of 16100.0 % 12 of 12shirt (4)",
            "t-shirt4080.0 % 32 of 4057.1 % 32 of 56shirt (6)",
            "=cmd2090.0 % 18 of 20100.0 % 18 of 18dress (2)",
            "dress20100.0 % 20 of 2083.3 % 20 of 24–",
        )
    ]
    assert places == sorted(places)
    widths = [attributes.get("style") for attributes in page.attributes("i")]
    assert "width:70.0%" in widths and "width:84.8%" in widths


def test_page_shows_the_mistakes_and_what_made_them(page: Page) -> None:
    assert "5 of 38" in page.text
    assert "dress → shirt93.1 %dress/2.jpg" in page.text
    assert "dress mistaken for shirt at 93.1\u00a0%: dress/2.jpg" in [image["alt"] for image in page.attributes("img")]


def test_page_holds_recipe_model_data_environment_and_commands(page: Page) -> None:
    for fact in (
        "num_epochs3",
        "optimizer.learning_rate0.003",
        "optimizer.nesterovtrue",
        "initialnone",
        "parameters0.67 M",
        "processora processor",
        "train905–––",
        f"test8878.4 %83.0 %{TEST.loss:.3f}",
        "allmlp predict runs/my-run photos/*.jpg",
        "allmlp inspect 'a & b'",
        "Written by allmlp 0.1.0.",
    ):
        assert fact in page.text


def test_page_is_self_contained_and_runs_no_script(written: tuple[Path, list[Path]], page: Page) -> None:
    content = (written[0] / "report.html").read_text(encoding="utf-8")
    assert not re.search(r"https?:|//[a-z]|@import|url\(|javascript:", re.sub(r"data:image/[^\"]*", "", content))
    tags = {tag for tag, _ in page.elements}
    assert not tags & {"script", "link", "iframe", "object", "embed", "base", "form"}
    sources = [image["src"] for image in page.attributes("img")] + [tag["srcset"] for tag in page.attributes("source")]
    assert all(source is not None and source.startswith("data:image/") for source in sources)
    assert any("default-src 'none'" in (meta.get("content") or "") for meta in page.attributes("meta"))
    handlers = [name for _, attributes in page.elements for name in attributes if name.startswith("on")]
    assert handlers == []


def test_links_lead_to_the_sections(page: Page) -> None:
    identifiers = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    links = [link["href"] for link in page.attributes("a")]
    assert len(identifiers) == len(set(identifiers))
    assert links and all(link is not None and link.removeprefix("#") in identifiers for link in links)
    assert page.attributes("html")[0]["lang"] == "en"


def test_every_picture_is_whole_and_described(page: Page) -> None:
    images = page.attributes("img")
    assert len(images) == 3 + 1 + 1 + 5 + 9  # panels, matrix, reliability, mistakes, samples
    for image in images:
        assert image["alt"]
        _, encoded = (image["src"] or "").split(",")
        Image.open(io.BytesIO(base64.b64decode(encoded, validate=True))).load()
    figures = [image for image in images if image.get("class") == "figure"]
    assert len(figures) == 3 + 1 + 1  # a dark page inverts the figures, and never a photo


def test_hostile_names_are_text_everywhere(report_of: Callable[..., Page]) -> None:
    names = (
        "<script>alert(1)</script>",
        "=cmd|' /C calc'!A0",
        '"><img src=x onerror=alert(1)>',
        "$\\frac{x$",
        "a\u202eb\udcff\n\0",
    )
    mistake = ShownPhoto(sample_id=names[4], photo=photos(1)[0], truth=names[0], prediction=names[2], confidence=0.5)
    page = report_of(
        name=names[2],
        results=(),
        class_names=names,
        evaluations={"test": metrics_of(np.full((5, 5), 2), names)},
        galleries=Galleries(mistakes=(mistake,)),
        recipe={names[0]: {names[2]: names[4]}},
        environment={names[2]: names[0]},
        model={names[0]: names[2]},
        training_sample_captions=(*names, *names[:4]),
        next_commands=names,
    )
    tags = {tag for tag, _ in page.elements}
    assert "script" not in tags
    assert all("onerror" not in attributes for _, attributes in page.elements)
    assert all(name in page.text for name in names[:4])
    assert "a\\u202eb\\udcff\\n\\x00" in page.text


def test_names_that_look_like_template_code_are_text(report_of: Callable[..., Page]) -> None:
    names = ("{{ 7 * 7 }}", "{% include 'base.html' %}", "{# gone #}")
    page = report_of(
        name=names[0],
        class_names=names,
        evaluations={"test": metrics_of(np.ones((3, 3), dtype=np.int64), names)},
        galleries=Galleries(),
        training_sample_captions=names * 3,
        recipe=dict.fromkeys(names, names[0]),
        next_commands=names,
    )
    assert all(page.text.count(name) > 4 for name in names)
    assert "49" not in page.text


def test_run_without_test_split_reports_validation_and_says_so(report_of: Callable[..., Page]) -> None:
    page = report_of(evaluations={"validation": VALIDATION}, splits=(("train", 905), ("validation", 24)))
    assert "64–93 %validation top-1: 20 of 24 photos correct (83.3 %)." in page.text
    assert "There is no test split" in page.text
    assert "The test photos were not used" not in page.text


def test_run_without_mistakes_says_so(report_of: Callable[..., Page]) -> None:
    page = report_of(evaluations={"test": metrics_of(np.diag([3, 1, 4, 1, 0]))}, galleries=Galleries(), results=())
    assert "100.0 %" in page.text
    assert "No photo was misclassified." in page.text
    assert "The model made no mistakes." in page.text
    assert "=cmd0–––" in page.text  # a class without photos has no rates


def test_report_of_a_single_epoch_that_measured_little(report_of: Callable[..., Page]) -> None:
    page = report_of(results=({"epoch": 1.0, "train_loss": 2.5, "validation_loss": float("nan")},))
    assert "1 epoch in –." in page.text
    assert "nan" not in page.text


def test_empty_sections_are_left_out(tmp_path: Path) -> None:
    empty: dict[str, Any] = {key: {} for key in ("recipe", "environment", "model", "evaluations")}
    empty |= dict.fromkeys(("splits", "results", "training_sample_captions", "next_commands"), ())
    paths = write_report(summary(training_sample=photos(0), galleries=Galleries(), **empty), tmp_path)
    page = Page(tmp_path / "report.html")
    assert [path.name for path in paths] == ["report.html"]
    assert "Not evaluated." in page.text
    assert page.attributes("section") == page.attributes("a") == []


def test_large_photos_become_thumbnails(report_of: Callable[..., Page]) -> None:
    page = report_of(training_sample=photos(1, side=640), training_sample_captions=("one",), results=())
    source = next(image["src"] for image in page.attributes("img") if image["alt"] == "augmented training photo: one")
    assert source is not None
    with Image.open(io.BytesIO(base64.b64decode(source.split(",")[1]))) as picture:
        assert picture.size == (200, 200)


def test_many_classes_go_by_number_and_fold(report_of: Callable[..., Page]) -> None:
    names = tuple(f"class {index:03d}" for index in range(60))
    page = report_of(
        class_names=names,
        evaluations={"test": metrics_of(np.eye(60, dtype=np.int64) * 2, names)},
        galleries=Galleries(),
        results=(),
    )
    assert "The other 30 classes" in page.text
    assert "60. class 059" in page.text


def test_same_run_gives_the_same_bytes(written: tuple[Path, list[Path]], tmp_path: Path) -> None:
    again = write_report(summary(), tmp_path)
    assert [path.read_bytes() for path in again] == [path.read_bytes() for path in written[1]]


def test_a_folder_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "plots").write_text("a file where the folder should be")
    with pytest.raises(AllmlpError, match=r"plots.*could not be written"):
        write_report(summary(), tmp_path)


def test_a_wide_interval_is_the_headline(report_of: Callable[..., Page]) -> None:
    few = metrics_of(np.array([[8, 1], [0, 8]]), ("a", "b"))
    page = report_of(class_names=("a", "b"), evaluations={"validation": few}, galleries=Galleries())
    # scipy.stats.binomtest(16, 17).proportion_ci(method="wilson")
    assert "73–99 %validation top-1: 16 of 17 photos correct (94.1 %)" in page.text


def test_few_photos_show_no_calibration_and_few_classes_no_top5(report_of: Callable[..., Page]) -> None:
    page = report_of(evaluations={"validation": VALIDATION}, galleries=Galleries())
    assert "24 photos are too few to measure calibration, and the temperature was not fitted" in page.text
    assert "Calibration" not in page.text and "Top-5" not in page.text
    names = (*CLASS_NAMES, "sixth")
    six = metrics_of(20 * np.eye(6, dtype=np.int64), names)
    page = report_of(class_names=names, evaluations={"test": six}, galleries=Galleries())
    assert "Calibration error" in page.text and "Top-5100.0 %" in page.text


def test_a_stopped_run_says_how_far_it_came_and_how_to_resume(report_of: Callable[..., Page]) -> None:
    stopped = Stopped(epoch=3, num_epochs=40, how="was stopped", resume="allmlp train --resume /runs/mine")
    page = report_of(evaluations={"validation": VALIDATION}, galleries=Galleries(), stopped=stopped)
    assert "This run was stopped after epoch 3 of 40." in page.text
    assert "allmlp train --resume /runs/mine" in page.text
    assert "The test photos are scored when the run is finished" in page.text
    assert "before its first epoch of 40 ended" in report_of(stopped=replace(stopped, epoch=0), results=()).text


def test_full_file_names_are_shown(report_of: Callable[..., Page]) -> None:
    name = f"dress/{'long-name-' * 20}.jpg"
    shown = ShownPhoto(sample_id=name, photo=photos(1)[0], truth="dress", prediction="dress", confidence=0.5)
    page = report_of(galleries=Galleries(unsure=(shown,), hits=(shown,)))
    assert page.text.count(name) == 2
    assert "Least sure" in page.text and "Surest hits" in page.text


def test_advice_follows_from_the_facts(report_of: Callable[..., Page]) -> None:
    recipe = {"model": {"image_size": [64, 64]}, "transfer": {"checkpoint": None}, "sampler": "shuffled"}
    facts: dict[str, Any] = {"recipe": recipe, "source": "/photos of mine", "directory": Path("/runs/mine")}
    sizes = (430, 150, 150, 100, 75)
    text = report_of(**facts, class_sizes=sizes, training_score=TrainingScore(top1=0.99, num_photos=905)).text
    assert "“shirt” has 430 training photos, “=cmd” 75." in text
    assert "allmlp train '/photos of mine' --balance" in text
    assert "allmlp finetune '/photos of mine' --quality balanced" in text
    assert "Training photos: 99.0 % correct; test photos: 78.4 %" in text
    assert "24 of 38 mistakes are “shirt” taken for “t-shirt”" in text
    assert "allmlp clean /runs/mine" in text
    balanced = report_of(**{**facts, "recipe": {**recipe, "sampler": "balanced"}}, class_sizes=sizes).text
    assert "--balance" not in balanced
    rising = report_of(**facts, best_epoch=3).text
    assert "allmlp finetune '/photos of mine' --from /runs/mine --epochs 6" in rising
    seeded = report_of(**{**facts, "recipe": {**recipe, "seed": 7}}, best_epoch=3).text
    assert "--from /runs/mine --epochs 6 --seed 7" in seeded and "--seed" not in rising


def test_a_page_says_where_the_temperature_comes_from(report_of: Callable[..., Page]) -> None:
    for metrics in (TEST, VALIDATION):  # with and without a section on calibration
        scores: dict[str, Any] = {"evaluations": {"test": replace(metrics, temperature=2.0)}, "galleries": Galleries()}
        assert ", fitted on the validation photos" in report_of(**scores).text
        evaluation = report_of(**scores, kind="an evaluation", recipe={}).text
        assert (", which the checkpoint holds" in evaluation) == metrics.has_calibration
        assert "fitted on" not in evaluation
