import dataclasses
import io
import os
import threading
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from allmlp import ConfigError, DataError, Predictor, open_model, save_checkpoint
from allmlp.data import decode
from allmlp.inference import Prediction


@pytest.fixture
def predictor(checkpoint) -> Predictor:
    return Predictor.from_checkpoint(checkpoint, device="cpu")


def png(photo) -> bytes:
    content = io.BytesIO()
    Image.fromarray(photo).save(content, "PNG")
    return content.getvalue()


def test_every_form_of_a_photo_gets_the_same_answer(predictor, photos, tmp_path):
    path = tmp_path / "photo.png"
    path.write_bytes(png(photos[1]))
    forms = [path, str(path), path.read_bytes(), ("named", path.read_bytes()), Image.open(path), photos[1]]
    answers = predictor.predict(forms)
    assert [answer.source for answer in answers] == [str(path), str(path), "image 3", "named", "image 5", "image 6"]
    assert all(answer.labels == answers[0].labels for answer in answers)
    for form in forms:
        (alone,) = predictor.predict(form)
        assert alone.labels == answers[0].labels


def test_scores_are_the_softmax_of_the_models_logits(predictor, checkpoint, photos):
    (answer,) = predictor.predict(photos[3], top_k=7)
    model_input = torch.from_numpy(checkpoint.preprocessing(photos[3]))[None]
    with torch.no_grad():
        expected = checkpoint.build()(model_input).softmax(dim=1)[0]
    assert [one["label"] for one in answer.labels] == [f"class {index}" for index in expected.argsort(descending=True)]
    np.testing.assert_allclose(
        [one["score"] for one in answer.labels], expected.sort(descending=True).values, rtol=1e-4
    )
    assert sum(one["score"] for one in answer.labels) == pytest.approx(1.0)


@pytest.mark.parametrize("temperature", [0.001, 0.5, 3.0])
def test_a_temperature_divides_the_logits_and_keeps_the_order(temperature, predictor, checkpoint, photos):
    mended = Predictor.from_checkpoint(checkpoint.replace(temperature=temperature), device="cpu")
    for photo, plain, answer in zip(
        photos, predictor.predict(photos, top_k=7), mended.predict(photos, top_k=7), strict=True
    ):
        assert [one["label"] for one in answer.labels] == [one["label"] for one in plain.labels]
        with torch.no_grad():
            logits = checkpoint.build()(torch.from_numpy(checkpoint.preprocessing(photo))[None]).double()
        expected = (logits / temperature).softmax(dim=1)[0].sort(descending=True).values
        np.testing.assert_allclose(
            [one["score"] for one in answer.labels], expected, rtol=1e-3 / temperature, atol=1e-9
        )


def test_answers_do_not_depend_on_the_batch_size_and_keep_the_order(checkpoint, photos):
    reference = [Predictor.from_checkpoint(checkpoint, device="cpu").predict(photo)[0].labels for photo in photos]
    assert len(set(map(str, reference))) == len(photos)
    for batch_size in (1, 3, 32):
        predictor = Predictor.from_checkpoint(checkpoint, device="cpu", batch_size=batch_size)
        assert [answer.labels for answer in predictor.predict(photos)] == reference


def test_top_k_names_so_many_classes_and_never_more_than_there_are(predictor, photos):
    assert len(predictor.predict(photos[0])[0].labels) == 5
    assert len(predictor.predict(photos[0], top_k=1)[0].labels) == 1
    assert len(predictor.predict(photos[0], top_k=99)[0].labels) == 7


def test_a_checkpoint_folder_answers_like_the_checkpoint(predictor, checkpoint, photos, tmp_path):
    save_checkpoint(checkpoint, tmp_path / "saved")
    loaded = Predictor.from_checkpoint(tmp_path / "saved", device="cpu")
    assert loaded.predict(photos) == predictor.predict(photos)
    assert loaded.class_names == checkpoint.class_names


def test_no_photos_give_no_predictions(predictor):
    assert predictor.predict([]) == []


def test_predict_names_every_photo_that_cannot_be_decoded(predictor, photos, tmp_path):
    (tmp_path / "text.jpg").write_text("hello")
    (tmp_path / "empty.png").touch()
    forms = [tmp_path / "text.jpg", photos[0], tmp_path / "empty.png", tmp_path / "missing.jpg", b"nothing"]
    with pytest.raises(DataError) as error:
        predictor.predict(forms)
    for name in ("text.jpg", "empty.png", "missing.jpg", "image 5"):
        assert name in str(error.value)


def test_stream_answers_the_good_photos_and_names_the_bad_ones_in_order(predictor, photos):
    answers = list(predictor.stream([photos[0], ("bad", b"no photo"), photos[1]]))
    assert [type(answer) for answer in answers] == [Prediction, DataError, Prediction]
    assert str(answers[1]).startswith("bad: ")
    assert [answers[0], answers[2]] == [
        Prediction("image 1", predictor.predict(photos[0])[0].labels),
        Prediction("image 3", predictor.predict(photos[1])[0].labels),
    ]


def test_stream_takes_a_bounded_number_of_photos_ahead(checkpoint, photos):
    taken = []

    def endless():
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


def test_photos_are_decoded_while_the_model_computes(checkpoint, photos):
    """The first batch waits until photos of the second are decoded: without overlap it would wait in vain."""
    is_decoded = threading.Event()

    class Later(type(photos[0])):
        @property
        def dtype(self):
            is_decoded.set()
            return np.dtype(np.uint8)

    def forward(images):
        assert is_decoded.wait(timeout=30)
        return np.zeros((len(images), 7), np.float32)

    model = dataclasses.replace(open_model(checkpoint, device="cpu"), forward=forward)
    answers = Predictor(model, batch_size=2).predict([photos[0], photos[0], photos[0].view(Later)])
    assert len(answers) == 3


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr", "I;16"])
def test_a_pil_image_is_taken_as_the_file_it_came_from(mode, predictor, photos, tmp_path):
    if mode == "I;16":
        image = Image.fromarray(photos[1][..., 0].astype(np.uint16) * 257)
    elif mode in ("LA", "RGBA"):
        image = Image.fromarray(np.dstack([photos[1], photos[1][..., 0]])).convert(mode)
    else:
        image = Image.fromarray(photos[1]).convert(mode)
    path = tmp_path / ("photo.tif" if mode in ("CMYK", "YCbCr") else "photo.png")
    image.save(path)
    by_path, by_image = predictor.predict([path, Image.open(path)])
    assert by_path.labels == by_image.labels


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_pil_image_is_turned_upright_as_its_file_is(orientation, predictor, photos, tmp_path):
    image = Image.fromarray(photos[1])
    exif = Image.Exif()
    exif[0x0112] = orientation
    image.save(tmp_path / "photo.jpg", exif=exif, quality=95)
    upright = decode((tmp_path / "photo.jpg").read_bytes(), name="photo")
    by_image, by_array = predictor.predict([Image.open(tmp_path / "photo.jpg"), upright])
    assert by_image.labels == by_array.labels


def test_a_pil_image_of_a_cut_file_or_without_a_range_is_named(predictor, photos, tmp_path):
    (tmp_path / "cut.png").write_bytes(png(photos[1])[:-200])
    with (
        Image.open(tmp_path / "cut.png") as cut,
        pytest.raises(DataError, match="image 1: this PIL image cannot be used"),
    ):
        predictor.predict(cut)
    with pytest.raises(DataError, match="mode F has no declared range"):
        predictor.predict(Image.new("F", (8, 8)))


@pytest.mark.parametrize(
    "array",
    [
        np.zeros((8, 8), np.uint8),
        np.zeros((3, 8, 8), np.uint8),
        np.zeros((8, 8, 4), np.uint8),
        np.zeros((2, 8, 8, 3), np.uint8),
        np.zeros((0, 8, 3), np.uint8),
        np.zeros((8, 8, 3), np.float32),
    ],
    ids=lambda array: f"{array.shape}-{array.dtype}",
)
def test_an_array_that_is_not_height_width_3_of_uint8_is_refused_not_guessed(array, predictor):
    with pytest.raises(DataError, match=r"image 1: the array has .* expected \(height, width, 3\), uint8"):
        predictor.predict(array)


def test_an_array_beyond_the_decoders_limits_is_refused_before_anything_is_computed(predictor):
    for shape in ((8000, 8000, 3), (1, 70_000, 3)):
        huge = np.broadcast_to(np.zeros((1, 1, 3), np.uint8), shape)
        with pytest.raises(DataError, match=rf"image 1: .*{shape[1]} x {shape[0]} pixels; the limit is 50,000,000"):
            predictor.predict(huge)


def test_a_thing_that_is_no_photo_is_refused_by_its_type(predictor):
    with pytest.raises(DataError, match="image 1: a Tensor is not a photo"):
        predictor.predict([torch.zeros(8, 8, 3)])


def test_a_pipe_named_like_a_photo_does_not_hang(predictor, tmp_path):
    os.mkfifo(tmp_path / "pipe.jpg")
    with pytest.raises(DataError, match="not a regular file"):
        predictor.predict(tmp_path / "pipe.jpg")


def test_impossible_numbers_are_config_errors(predictor, checkpoint, photos):
    with pytest.raises(ConfigError, match="top_k is 0"):
        predictor.predict(photos[0], top_k=0)
    with pytest.raises(ConfigError, match="top_k is 0"):
        predictor.stream([photos[0]], top_k=0)  # at the call, not at the first photo
    with pytest.raises(ConfigError, match="batch_size is 0"):
        Predictor.from_checkpoint(checkpoint, batch_size=0)


def test_a_path_that_looks_like_an_option_is_a_path(predictor, photos, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("-x.png").write_bytes(png(photos[0]))
    assert predictor.predict("-x.png")[0].source == "-x.png"
