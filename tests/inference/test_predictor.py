"""`Predictor`: labels and scores of photos, in their order, whatever the batch."""

import dataclasses
import io
import os
import pickle
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

import allmlp
from allmlp import (
    Checkpoint,
    CheckpointError,
    ConfigError,
    DataError,
    Embedder,
    Predictor,
    open_model,
    save_checkpoint,
)
from allmlp.data import open_dataset
from allmlp.inference import Prediction, Predictions


@pytest.fixture
def predictor(checkpoint: Checkpoint) -> Predictor:
    return Predictor.from_checkpoint(checkpoint, device="cpu")


def test_scores_are_the_softmax_of_the_models_logits(
    predictor: Predictor, checkpoint: Checkpoint, photos: list[NDArray[np.uint8]]
) -> None:
    (answer,) = predictor.predict(photos[3], top_k=7)
    model_input = torch.from_numpy(checkpoint.preprocessing(photos[3]))[None]
    with torch.no_grad():
        expected = checkpoint.build()(model_input).softmax(dim=1)[0]
    assert [row["label"] for row in answer.labels] == [f"class {index}" for index in expected.argsort(descending=True)]
    np.testing.assert_allclose(
        [each["score"] for each in answer.labels], expected.sort(descending=True).values, rtol=1e-4
    )
    assert sum(each["score"] for each in answer.labels) == pytest.approx(1.0)


@pytest.mark.parametrize("temperature", [0.001, 0.5, 3.0])
def test_a_temperature_divides_the_logits_and_keeps_the_order(
    temperature: float, predictor: Predictor, checkpoint: Checkpoint, photos: list[NDArray[np.uint8]]
) -> None:
    mended = Predictor.from_checkpoint(checkpoint.replace(temperature=temperature), device="cpu")
    for photo, plain, answer in zip(
        photos, predictor.predict(photos, top_k=7), mended.predict(photos, top_k=7), strict=True
    ):
        assert [each["label"] for each in answer.labels] == [each["label"] for each in plain.labels]
        with torch.no_grad():
            logits = checkpoint.build()(torch.from_numpy(checkpoint.preprocessing(photo))[None]).double()
        expected = (logits / temperature).softmax(dim=1)[0].sort(descending=True).values
        np.testing.assert_allclose(
            [each["score"] for each in answer.labels], expected, rtol=1e-3 / temperature, atol=1e-9
        )


def test_answers_do_not_depend_on_the_batch_size_and_keep_the_order(
    checkpoint: Checkpoint, photos: list[NDArray[np.uint8]]
) -> None:
    reference = [Predictor.from_checkpoint(checkpoint, device="cpu").predict(photo)[0].labels for photo in photos]
    assert len(set(map(str, reference))) == len(photos)
    for batch_size in (1, 3, 32):
        predictor = Predictor.from_checkpoint(checkpoint, device="cpu", batch_size=batch_size)
        assert [answer.labels for answer in predictor.predict(photos)] == reference


def test_top_k_names_so_many_classes_and_never_more_than_there_are(
    predictor: Predictor, photos: list[NDArray[np.uint8]]
) -> None:
    assert len(predictor.predict(photos[0])[0].labels) == 5
    assert len(predictor.predict(photos[0], top_k=1)[0].labels) == 1
    assert len(predictor.predict(photos[0], top_k=99)[0].labels) == 7


def test_a_checkpoint_folder_answers_like_the_checkpoint(
    predictor: Predictor, checkpoint: Checkpoint, photos: list[NDArray[np.uint8]], tmp_path: Path
) -> None:
    save_checkpoint(checkpoint, tmp_path / "saved")
    loaded = Predictor.from_checkpoint(tmp_path / "saved", device="cpu")
    assert loaded.predict(photos) == predictor.predict(photos)
    assert loaded.class_names == checkpoint.class_names


def test_no_photos_give_no_predictions(predictor: Predictor) -> None:
    assert predictor.predict([]) == []


def test_predict_names_every_photo_that_cannot_be_decoded(
    predictor: Predictor, photos: list[NDArray[np.uint8]], tmp_path: Path
) -> None:
    (tmp_path / "text.jpg").write_text("hello")
    (tmp_path / "empty.png").touch()
    forms = [tmp_path / "text.jpg", photos[0], tmp_path / "empty.png", tmp_path / "missing.jpg", b"nothing"]
    with pytest.raises(DataError) as error:
        predictor.predict(forms)
    for name in ("text.jpg", "empty.png", "missing.jpg", "image 5"):
        assert name in str(error.value)


def test_stream_answers_the_good_photos_and_names_the_bad_ones_in_order(
    predictor: Predictor, photos: list[NDArray[np.uint8]]
) -> None:
    answers = list(predictor.stream([photos[0], ("bad", b"no photo"), photos[1]]))
    assert [isinstance(answer, DataError) for answer in answers] == [False, True, False]
    assert str(answers[1]).startswith("bad: ")
    assert [answers[0], answers[2]] == [
        Prediction("image 1", predictor.predict(photos[0])[0].labels),
        Prediction("image 3", predictor.predict(photos[1])[0].labels),
    ]


def test_stream_takes_a_bounded_number_of_photos_ahead(checkpoint: Checkpoint, photos: list[NDArray[np.uint8]]) -> None:
    taken: list[int] = []

    def endless() -> Iterator[NDArray[np.uint8]]:
        while True:
            taken.append(1)
            yield photos[0]

    answers = Predictor.from_checkpoint(checkpoint, device="cpu", batch_size=4).stream(endless())
    assert taken == []
    ahead = 32 * min(os.cpu_count() or 1, 8) + 1  # as of ordered_map: 32 for each thread, and the next
    for answered in range(1, 40):
        next(answers)
        batches = -(-answered // 4)
        assert len(taken) <= 4 * batches + ahead
    answers.close()
    closed_at = len(taken)
    assert list(answers) == []
    assert len(taken) == closed_at


def test_photos_are_decoded_while_the_model_computes(checkpoint: Checkpoint, photos: list[NDArray[np.uint8]]) -> None:
    """The first batch waits until photos of the second are decoded: without overlap it would wait in vain."""
    is_decoded = threading.Event()

    class Later(type(photos[0])):
        @property
        def dtype(self) -> np.dtype[Any]:
            is_decoded.set()
            return np.dtype(np.uint8)

    def forward(images: NDArray[np.float32]) -> NDArray[np.float32]:
        assert is_decoded.wait(timeout=30)
        return np.zeros((len(images), 7), np.float32)

    model = dataclasses.replace(open_model(checkpoint, device="cpu"), forward=forward)
    answers = Predictor(model, batch_size=2).predict([photos[0], photos[0], photos[0].view(Later)])
    assert len(answers) == 3


def test_impossible_numbers_are_config_errors(
    predictor: Predictor, checkpoint: Checkpoint, photos: list[NDArray[np.uint8]]
) -> None:
    with pytest.raises(ConfigError, match="top_k is 0"):
        predictor.predict(photos[0], top_k=0)
    with pytest.raises(ConfigError, match="top_k is 0"):
        predictor.stream([photos[0]], top_k=0)  # at the call, not at the first photo
    with pytest.raises(ConfigError, match="batch_size is 0"):
        Predictor.from_checkpoint(checkpoint, batch_size=0)


@pytest.mark.parametrize("kind", ["Predictor", "Embedder"])
def test_pickling_says_what_to_do_instead(checkpoint: Checkpoint, kind: str) -> None:
    classifier = getattr(allmlp, kind).from_checkpoint(checkpoint, device="cpu")
    with pytest.raises(ConfigError, match=rf"call {kind}.from_checkpoint\(path\) there") as caught:
        pickle.dumps(classifier)
    assert "\n" not in str(caught.value)
    assert repr(classifier).startswith(f"{kind}(")
    assert len(repr(classifier)) < 100


@pytest.mark.parametrize("value", [5, None, "runs/mine", object(), b"x"])
def test_what_is_not_a_model_or_a_source_is_one_clear_error(value: object) -> None:
    with pytest.raises(ConfigError, match=r"model is .*; expected what open_model"):
        allmlp.Predictor(value)  # type: ignore[arg-type]
    if not isinstance(value, str):
        for open_it in (allmlp.open_model, allmlp.Predictor.from_checkpoint):
            with pytest.raises(ConfigError, match=r"source of a model is .*; expected a path, a name or a Checkpoint"):
                open_it(value)


@pytest.mark.parametrize("value", ["3", 2.5, None])
def test_counts_that_are_not_integers_are_one_clear_error(checkpoint: Checkpoint, value: object) -> None:
    with pytest.raises(ConfigError, match=r"batch_size is .*; expected an integer"):
        allmlp.Predictor.from_checkpoint(checkpoint, device="cpu", batch_size=value)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=r"top_k is .*; expected an integer"):
        allmlp.Predictor.from_checkpoint(checkpoint, device="cpu").predict([], top_k=value)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=r"device is .*; expected a name"):
        allmlp.open_model(checkpoint, device=7)  # type: ignore[arg-type]


def test_flip_is_the_mean_of_the_logits_of_the_photo_and_its_mirror_image(
    predictor: Predictor, checkpoint: Checkpoint, photos: list[NDArray[np.uint8]]
) -> None:
    model = checkpoint.build().eval()
    for photo, answer in zip(photos, predictor.predict(photos, top_k=7, flip=True), strict=True):
        image = torch.from_numpy(checkpoint.preprocessing(photo))[None]
        with torch.no_grad():
            expected = ((model(image) + model(image.flip(3))) / 2).softmax(dim=1)[0].tolist()
        scores = {each["label"]: each["score"] for each in answer.labels}
        assert scores == pytest.approx({f"class {index}": score for index, score in enumerate(expected)}, rel=1e-4)


def test_a_folder_stands_for_all_photos_in_it(predictor: Predictor, tmp_path: Path) -> None:
    for name in ("b/2.png", "b/10.png", "a.png", ".hidden/x.png"):
        (tmp_path / "photos" / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (20, 20)).save(tmp_path / "photos" / name)
    (tmp_path / "photos/notes.txt").write_text("x")
    paths = [str(tmp_path / "photos" / name) for name in ("a.png", "b/10.png", "b/2.png")]
    for source in (tmp_path / "photos", str(tmp_path / "photos"), [paths[0], tmp_path / "photos/b"]):
        assert [answer.source for answer in predictor.predict(source)] == paths
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="empty: no photos in this folder"):
        predictor.predict(tmp_path / "empty")


def test_a_prediction_has_a_label_a_score_and_a_short_repr(
    predictor: Predictor, photos: list[NDArray[np.uint8]]
) -> None:
    answers = predictor.predict([photos[0]] * 40)
    best = answers[0].labels[0]
    assert (answers[0].label, answers[0].score) == (best["label"], best["score"])
    assert repr(answers[0]).startswith(f"Prediction(image 1: {best['label']} {best['score']:.1%}, ")
    assert repr(answers).endswith("... and 37 more]")
    assert len(repr(answers)) < 500


def test_a_notebook_shows_a_table_in_which_nothing_runs(predictor: Predictor, photos: list[NDArray[np.uint8]]) -> None:
    script = "<script>alert(1)</script>.png"
    content = io.BytesIO()
    Image.fromarray(photos[1]).save(content, "PNG")
    plain = predictor.predict((script, content.getvalue()))._repr_html_()
    assert "&lt;script&gt;alert(1)&lt;/script&gt;.png" in plain and "<script" not in plain and "<img" not in plain
    (answer,) = predictor.predict((script, content.getvalue()), thumbnails=True)
    assert answer._repr_html_().count('<img src="data:image/png;base64,') == 1
    assert answer.thumbnail is not None
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(answer.thumbnail))), photos[1])
    large = np.zeros((400, 900, 3), np.uint8)
    (answer,) = predictor.predict(large, thumbnails=True)
    assert answer.thumbnail is not None
    assert Image.open(io.BytesIO(answer.thumbnail)).size == (200, 89)
    assert "... and 1 more" in predictor.predict([photos[0]] * 51)._repr_html_()


def test_a_slice_of_predictions_is_shown_as_they_are(predictor: Predictor, photos: list[NDArray[np.uint8]]) -> None:
    answers = predictor.predict([photos[0]] * 5)
    first = answers[:2]
    assert isinstance(first, Predictions) and list(first) == [answers[0], answers[1]]
    assert first._repr_html_().count("<tr>") == 1 + 2
    assert isinstance(answers[-1], Prediction) and isinstance(answers[::-1], Predictions)


def test_backend_and_precision_are_those_of_open_model(checkpoint: Checkpoint, photos: list[NDArray[np.uint8]]) -> None:
    model = open_model(checkpoint, device="cpu", precision="bfloat16")
    rounded = Predictor.from_checkpoint(checkpoint, backend="eager", device="cpu", precision="bfloat16").predict(photos)
    assert rounded == Predictor(model).predict(photos)
    assert rounded != Predictor.from_checkpoint(checkpoint, device="cpu").predict(photos)
    with pytest.raises(ConfigError, match="Unknown backend 'eagre'"):
        Predictor.from_checkpoint(checkpoint, backend="eagre")


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_outputs_that_are_not_finite_are_a_checkpoint_error_and_no_answer(
    value: float, checkpoint: Checkpoint, photos: list[NDArray[np.uint8]]
) -> None:
    def broken(output: Any) -> Any:
        """The model with a value in the place of an output of its last photo of a batch."""
        model = open_model(checkpoint, device="cpu", output=output)

        def forward(images: NDArray[np.float32]) -> NDArray[np.float32]:
            outputs = model.forward(images).copy()
            outputs[-1, -1] = value
            return outputs

        return dataclasses.replace(model, forward=forward)

    predictor, embedder = Predictor(broken("logits"), batch_size=3), Embedder(broken("features"), batch_size=3)
    words = "outputs are NaN or infinite for 1 of 3 photos of a batch"
    doors: list[Any] = [
        lambda: predictor.predict(photos),
        lambda: predictor.predict(photos, flip=True),
        lambda: list(predictor.stream(photos)),
        lambda: embedder.embed(photos),
        lambda: list(embedder.stream(photos)),
        lambda: embedder.embed_split(open_dataset("clothing").splits["test"].subset(range(3))),
    ]
    for door in doors:
        with pytest.raises(CheckpointError, match=words):
            door()
    with pytest.raises(CheckpointError, match=r"of a batch, image 3 first, so there is no answer"):
        predictor.predict(photos)
