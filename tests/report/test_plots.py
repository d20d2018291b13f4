"""Facts about the figures: what is drawn, not how it looks."""

import dataclasses
import io
import sys

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from PIL import Image

from allmlp.data import Batch
from allmlp.metrics import reliability, score_batches
from allmlp.report import ReportSummary, plots
from allmlp.report.pictures import side_by_side
from allmlp.report.plots import (
    PANELS,
    confusion_figure,
    panel_figure,
    reliability_figure,
    samples_figure,
    to_png,
)


def summary(num_epochs: int = 4, best: int = 3) -> ReportSummary:
    one_hot = np.eye(2, dtype=np.float32)
    images = np.broadcast_to(one_hot[[0, 0, 0, 0]][:, None, None, :], (4, 3, 1, 2))
    batch = Batch(images, one_hot[[0, 0, 0, 1]], np.ones(4, dtype=bool))
    metrics = score_batches(lambda photos: photos[:, 0, 0, :], [batch], ("a", "b"))  # three of four right
    rows = [
        {
            "epoch": float(epoch),
            "train_loss": 2 - 0.1 * epoch,
            "validation_loss": metrics.loss if epoch == best else float("nan") if epoch == 2 else 3 - 0.1 * epoch,
            "validation_top1": metrics.top1 if epoch == best else 0.1 * epoch,
            "learning_rate": 0.1 / epoch,
        }
        for epoch in range(1, num_epochs + 1)
    ]
    return ReportSummary(
        name="run",
        best_epoch=best,
        recipe={},
        environment={},
        model={},
        splits=(),
        class_names=("a", "b"),
        results=tuple(rows),
        evaluations={"validation": metrics},
        training_sample=np.zeros((0, 8, 8, 3), dtype=np.uint8),
        training_sample_captions=(),
        next_commands=(),
    )


def lines(axes: Axes) -> dict[str, list[tuple[float, float]]]:
    return {
        str(line.get_label()): [(float(x), float(y)) for x, y in np.asarray(line.get_xydata())]
        for line in axes.get_lines()
    }


def test_curves_are_the_rows_of_the_results() -> None:
    loss, accuracy, rate = (panel_figure(name, summary()).get_axes()[0] for name in PANELS)
    rows = summary().results
    assert lines(loss)["training"] == [(row["epoch"], row["train_loss"]) for row in rows]
    assert lines(loss)["validation"] == [(row["epoch"], row["validation_loss"]) for row in rows if row["epoch"] != 2]
    assert lines(accuracy)["validation"] == [(row["epoch"], row["validation_top1"]) for row in rows]
    assert lines(accuracy)["best"] == [(3.0, 0.75)]
    assert accuracy.get_title(loc="right") == "●  best: 75.0\u00a0%, epoch 3"
    assert lines(rate)["learning rate"] == [(row["epoch"], row["learning_rate"]) for row in rows]
    assert [axes.get_title(loc="left") for axes in (loss, accuracy, rate)] == [
        "Loss (nats)",
        "Validation top-1",
        "Learning rate",
    ]


def test_a_single_epoch_is_drawn_as_a_point() -> None:
    loss = panel_figure("loss", summary(num_epochs=1)).get_axes()[0]
    assert all(line.get_marker() == "o" for line in loss.get_lines())


@pytest.mark.parametrize("scale", [1e-7, 1e-3, 1.0, 12345.0])
def test_no_label_of_a_curve_is_cut_off(scale) -> None:
    rows = [{**row, "learning_rate": scale * row["learning_rate"], "train_loss": scale} for row in summary().results]
    for name in PANELS:
        figure = panel_figure(name, dataclasses.replace(summary(), results=tuple(rows)))
        axes = figure.get_axes()[0]
        FigureCanvasAgg(figure).draw()
        shown = [axes.xaxis.label, axes.title, axes.yaxis.get_offset_text()]
        for axis, (low, high) in ((axes.xaxis, axes.get_xlim()), (axes.yaxis, axes.get_ylim())):
            shown += [tick.label1 for tick in axis.get_major_ticks() if low <= tick.get_loc() <= high]
        for box, text in ((text.get_window_extent(), text) for text in shown if text.get_text()):
            assert figure.bbox.x0 <= box.x0 and box.x1 <= figure.bbox.x1, (name, text)
            assert figure.bbox.y0 <= box.y0 and box.y1 <= figure.bbox.y1, (name, text)


def test_pictures_side_by_side_keep_their_pixels() -> None:
    pngs = [to_png(panel_figure(name, summary())) for name in ("loss", "accuracy")]
    left, right = (np.asarray(Image.open(io.BytesIO(png)).convert("RGB")) for png in pngs)
    joined = np.asarray(Image.open(io.BytesIO(side_by_side(pngs))))
    assert np.array_equal(joined[:, : left.shape[1]], left)
    assert np.array_equal(joined[:, left.shape[1] :], right)


def test_confusion_matrix_shows_counts_and_tells_right_from_wrong() -> None:
    confusion = np.array([[30, 0, 10], [0, 5, 0], [2, 0, 0]], dtype=np.int64)
    axes = confusion_figure(confusion, ("shirt", "$x$", "hat")).get_axes()[0]
    cells = {(round(cell.get_position()[1]), round(cell.get_position()[0])): cell.get_text() for cell in axes.texts}
    assert cells == {(1, 1): "30", (1, 3): "10", (2, 2): "5", (3, 1): "2"}  # classes count from one
    assert [label.get_text() for label in axes.get_yticklabels()] == ["shirt", "$x$", "hat"]
    pixels = np.asarray(axes.get_images()[0].get_array())
    red, blue = pixels[..., 0], pixels[..., 2]
    assert blue[0, 0] > red[0, 0] and blue[1, 1] > red[1, 1]
    assert red[0, 2] > blue[0, 2] and red[2, 0] > blue[2, 0]
    assert pixels[0, 1].min() > 0.9  # an empty cell is almost the paper


@pytest.mark.parametrize(("num_classes", "num_labels"), [(2, 2), (20, 20), (40, 40)])
def test_confusion_matrix_is_labelled_while_labels_fit(num_classes: int, num_labels: int) -> None:
    names = tuple(f"species number {index}" for index in range(num_classes))
    axes = confusion_figure(np.eye(num_classes, dtype=np.int64), names).get_axes()[0]
    labels = [label.get_text() for label in axes.get_xticklabels()]
    assert len(set(labels)) == num_labels
    assert len(axes.texts) == (num_classes if num_classes <= 20 else 0)


def test_confusion_matrix_of_many_classes_has_neither_names_nor_counts() -> None:
    names = tuple(f"species {index}" for index in range(200))
    figure = confusion_figure(np.eye(200, dtype=np.int64), names)
    axes = figure.get_axes()[0]
    assert not axes.texts
    assert not any("species" in label.get_text() for label in axes.get_xticklabels())
    assert to_png(figure).startswith(b"\x89PNG")


def test_names_in_a_script_without_glyphs_go_by_number() -> None:
    axes = confusion_figure(np.eye(2, dtype=np.int64), ("shirt", "\U0001f457")).get_axes()[0]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["shirt", "no. 2"]
    assert plots.has_numbered_classes(("shirt", "\U0001f457"))
    assert not plots.has_numbered_classes(("shirt", "robe d’été"))


def test_sample_sheet_shows_every_photo_with_its_caption() -> None:
    photos = np.random.default_rng(0).integers(0, 256, size=(11, 8, 8, 3), dtype=np.uint8)
    captions = [f"class {index}" for index in range(10)] + ["shirt 0.62 + <b> $x 0.38"]
    figure = samples_figure(photos, captions)
    (axes,) = figure.get_axes()
    for image, text, photo, caption in zip(axes.get_images(), axes.texts, photos, captions, strict=True):
        np.testing.assert_array_equal(np.asarray(image.get_array()), photo)
        assert text.get_text().replace("\n", " ") == caption
    to_png(figure)  # the size of a text is known once it is drawn
    boxes = [artist.get_window_extent() for artist in (*axes.get_images(), *axes.texts)]
    assert not any(box.overlaps(other) for index, box in enumerate(boxes) for other in boxes[:index])
    assert all(figure.bbox.x0 <= box.x0 and box.x1 <= figure.bbox.x1 for box in boxes)
    assert all(figure.bbox.y0 <= box.y0 and box.y1 <= figure.bbox.y1 for box in boxes)


def test_reliability_diagram_shows_the_bins_that_have_photos() -> None:
    bins = reliability(np.array([0.5, 0.95, 0.97, 1.0]), np.array([False, True, False, True]))
    accuracy, amounts = reliability_figure(bins).get_axes()
    heights = [(patch.get_x() + patch.get_width() / 2, patch.get_height()) for patch in accuracy.patches]
    assert heights == [(pytest.approx(7.5 / 15), 0.0), (pytest.approx(14.5 / 15), pytest.approx(2 / 3))]
    assert [patch.get_height() for patch in amounts.patches] == [1, 3]
    confidence = pytest.approx((0.95 + 0.97 + 1.0) / 3)
    assert lines(accuracy)["confidence"] == [(0.5, 0.5), (confidence, confidence)]
    assert lines(accuracy)["perfect calibration"] == [(0, 0), (1, 1)]


def test_figures_leave_pyplot_alone() -> None:
    to_png(panel_figure("loss", summary()))
    pyplot = sys.modules.get("matplotlib.pyplot")
    assert pyplot is None or pyplot.get_fignums() == []


@pytest.mark.parametrize("shares", [(1 / 3,) * 3, (0.811, 0.812, 0.815), (0.1, 0.9, 0.5)])
def test_the_ticks_of_the_learning_rates_differ(shares, monkeypatch):
    figures = []
    monkeypatch.setattr(plots, "to_png", lambda figure: figures.append(figure) or b"")
    plots.learning_rates_plot(list(zip((0.01, 0.02, 0.04), shares, strict=True)))
    figures[0].draw_without_rendering()
    labels = [label.get_text() for label in figures[0].axes[0].get_yticklabels()]
    assert len(labels) > 1 and len(set(labels)) == len(labels)
