"""The attempts: their order, what stops them, who judges, and what is written."""

import json
import os
import sys
from collections.abc import Callable, Mapping
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
from tests.builders import unknown_rule
from tests.quantisation.conftest import ENDINGS, NAMES

from allmlp import (
    CheckFailedError,
    Checkpoint,
    CheckpointError,
    ConfigError,
    DataError,
    Predictor,
    export,
    open_model,
    verify_export,
)
from allmlp.data import open_dataset, resized_images
from allmlp.exports import open_export
from allmlp.hardware import processor
from allmlp.quantisation import ATTEMPTS, Int8Export, Judged, export_int8, search
from allmlp.quantisation.judging import divide_photos


@pytest.fixture
def judged_as(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Set how many of 40 photos keep their class, attempt by attempt."""

    def set_counts(*counts: int) -> None:
        remaining = iter(counts)

        def judged(attempt: str, *_: object) -> Judged:
            same = next(remaining)
            return Judged(
                attempt=attempt,
                num_photos=40,
                num_same=same,
                num_unknown_changed=0,
                num_clear=20,
                num_clear_same=20,
                num_correct=None,
            )

        monkeypatch.setattr(search, "judge", judged)

    return set_counts


@pytest.mark.parametrize("number", range(4))
def test_the_first_attempt_that_agrees_enough_is_kept(
    number: int, judged_as: Callable[..., None], mixer: Checkpoint, photos: Path, tmp_path: Path
) -> None:
    judged_as(*[38] * number, 39)
    lines: list[str] = []
    result = export_int8(mixer, photos, out=tmp_path / "x.onnx", agreement=0.975, report=lines.append)
    assert [each.attempt for each in result.judged] == [attempt.name for attempt in ATTEMPTS[: number + 1]]
    assert result.note.attempt == ATTEMPTS[number].name
    assert (result.note.agreement, result.note.min_agreement) == (0.975, 0.975)
    assert lines == [
        "Calibrating on 20 photos; 40 others judge.",
        *(f"{attempt.name}: 95.00% of the photos keep their answer." for attempt in ATTEMPTS[:number]),
        f"{ATTEMPTS[number].name}: 97.50% of the photos keep their answer.",
    ]


def test_nothing_is_written_if_no_attempt_agrees_enough(
    judged_as: Callable[..., None], mixer: Checkpoint, photos: Path, tmp_path: Path
) -> None:
    judged_as(30, 31, 37, 36)
    with pytest.raises(
        CheckFailedError, match=r"No attempt at int8 gives 99\.00% of 40.*first layers of the MLPs.*92\.50%"
    ):
        export_int8(mixer, photos, out=tmp_path / "x.onnx")
    assert list(tmp_path.iterdir()) == []


def test_judging_is_by_counting(exports: dict[tuple[str, str], Int8Export], mixer: Checkpoint, photos: Path) -> None:
    """Against NumPy, from the answers of the file that was written."""
    export = exports["onnx", "all layers"]
    _, judging = divide_photos(mixer, photos)
    images = mixer.preprocessing.normalise(judging.images)
    before = open_model(mixer).forward(images)
    after = open_model(export.path).forward(images)
    (judged,) = export.judged
    assert judged.num_same == (before.argmax(1) == after.argmax(1)).sum()
    exponentials = np.exp(before - before.max(1, keepdims=True))
    probabilities = np.sort(exponentials / exponentials.sum(1, keepdims=True), axis=1)
    assert judged.num_clear == (probabilities[:, -1] - probabilities[:, -2] > 0.1).sum()
    assert judged.num_correct is not None and judged.num_correct[1] == (after.argmax(1) == judging.labels).sum()
    values = json.loads(json.dumps(judged.to_dict()))
    assert values["agreement"] == judged.num_same / 40 and values["int8"]["low"] <= values["int8"]["top1"]


def test_clear_photos_are_counted_with_the_temperature(mixer: Checkpoint, photos: Path, tmp_path: Path) -> None:
    found = []
    for temperature in (0.01, 100.0):
        described = mixer.replace(temperature=temperature)
        path = tmp_path / f"{temperature}.onnx"
        found += export_int8(described, photos, out=path, agreement=0.0, attempts=ATTEMPTS[:1]).judged
    assert found[0].num_clear > 30 and found[1].num_clear == 0
    assert found[0].num_same == found[1].num_same


def test_photos_judge_or_calibrate_always_the_same_way(mixer: Checkpoint, photos: Path) -> None:
    first, second = divide_photos(mixer, photos), divide_photos(mixer, photos)
    assert np.array_equal(first[0], second[0]) and np.array_equal(first[1].images, second[1].images)
    assert first[1].labels is not None and len(first[0]) == 20 and len(first[1].images) == 40
    seen = {image.tobytes() for image in first[0]}
    assert not seen & {image.tobytes() for image in first[1].images}


def split_photos(photos: Path, folder: Path, counts: Mapping[str, int]) -> Path:
    """Copy the photos into splits, so many of each class."""
    numbers = iter(range(60 // len(NAMES)))
    for split, count in counts.items():
        for number in islice(numbers, count):
            for kind, name in enumerate(NAMES):
                source = photos / name / f"{len(NAMES) * number + kind}.png"
                target = folder / split / name / source.name
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(source.read_bytes())
    return folder


@pytest.mark.parametrize(
    ("counts", "calibration", "judging"),
    [
        ({"train": 9, "validation": 5, "test": 4}, "validation", "test"),
        ({"train": 9, "test": 4}, "train", "test"),
        ({"validation": 5, "test": 4}, "validation", "test"),
        ({"train": 9, "validation": 5}, "train", "validation"),
    ],
)
def test_no_photo_that_is_scored_sets_a_range(
    counts: dict[str, int], calibration: str, judging: str, mixer: Checkpoint, photos: Path, tmp_path: Path
) -> None:
    """Fault: a third of the test photos calibrated, and `evaluate` scored them later."""
    folder = split_photos(photos, tmp_path / "photos", counts)
    images, judging_photos = divide_photos(mixer, folder)
    assert (judging_photos.calibration_split, judging_photos.split) == (calibration, judging)
    splits = open_dataset(folder).splits
    for found, name in ((images, calibration), (judging_photos.images, judging)):
        expected = np.stack(list(resized_images(splits[name], mixer.preprocessing, num_workers=1)))
        assert np.array_equal(found, expected)
    assert judging_photos.labels is not None and np.array_equal(judging_photos.labels, splits[judging].labels)
    lines: list[str] = []
    path = tmp_path / "x.onnx"
    export_int8(mixer, folder, out=path, agreement=0.0, attempts=ATTEMPTS[:1], report=lines.append)
    assert (
        lines[0] == f"Calibrating on {len(images)} photos of {calibration}; {3 * counts[judging]} of {judging} judge."
    )
    note = open_export(path).info.quantisation
    assert note is not None and (note.calibration_split, note.judging_split) == (calibration, judging)


def test_a_single_split_is_divided(mixer: Checkpoint, photos: Path, tmp_path: Path) -> None:
    folder = split_photos(photos, tmp_path / "photos", {"test": 5})
    images, judging = divide_photos(mixer, folder)
    assert (len(images), len(judging.images), judging.calibration_split, judging.split) == (5, 10, "test", "test")
    assert not {image.tobytes() for image in images} & {image.tobytes() for image in judging.images}


def test_a_split_with_too_few_photos_is_named(mixer: Checkpoint, photos: Path, tmp_path: Path) -> None:
    folder = split_photos(photos, tmp_path / "photos", {"train": 9, "test": 1})
    with pytest.raises(DataError, match=r"the 3 photos of .*, test: too few to judge. Give some hundreds, at least 4"):
        divide_photos(mixer, folder)


@pytest.mark.skipif(sys.platform != "linux", reason="other file systems refuse such names")
def test_photos_without_labels_may_have_names_that_are_not_utf8(
    mixer: Checkpoint, photos: Path, tmp_path: Path
) -> None:
    """Fault: their digests could not be encoded."""
    for number, source in enumerate(sorted(photos.rglob("*.png"))[:9]):
        (tmp_path / os.fsdecode(b"caf\xe9%d.png" % number)).write_bytes(source.read_bytes())
    images, judging = divide_photos(mixer, tmp_path)
    assert (len(images), len(judging.images), judging.labels, judging.split) == (3, 6, None, "")


def test_the_same_photos_give_the_same_bytes(mixer: Checkpoint, photos: Path, tmp_path: Path) -> None:
    paths = [
        export_int8(mixer, photos, out=tmp_path / name, agreement=0.0, attempts=ATTEMPTS[:1]).path
        for name in ("a.onnx", "b.onnx")
    ]
    assert paths[0].read_bytes() == paths[1].read_bytes()


@pytest.mark.parametrize("to", ENDINGS)
def test_verification_asks_for_the_agreement_of_the_file(
    to: str, exports: dict[tuple[str, str], Int8Export], mixer: Checkpoint, photos: Path
) -> None:
    path = exports[to, "weights only"].path
    result = verify_export(path, mixer, photos)
    assert result.problems == () and (result.tolerance, result.min_agreement) == (None, 0.0)
    assert 0 < result.num_same <= 60


def test_verification_finds_an_export_that_agrees_too_rarely(
    exports: dict[tuple[str, str], Int8Export], mixer: Checkpoint, photos: Path
) -> None:
    path = exports["onnx", "all layers"].path
    other = mixer.replace(weights={name: -weight for name, weight in mixer.weights.items()})
    result = verify_export(path, other, photos, agreement=0.99)
    assert any("photos keep their class; the export promises 99.00%" in problem for problem in result.problems)
    assert any("other weights" in problem for problem in result.problems)
    with pytest.raises(ConfigError, match="an int8 export, whose logits differ by design"):
        verify_export(path, mixer, photos, tolerance=1e-3)


def test_a_float32_export_has_no_agreement(mixer: Checkpoint, photos: Path, tmp_path: Path) -> None:
    path = export(mixer, out=tmp_path / "x.onnx")
    with pytest.raises(ConfigError, match="a float32 export, which must give every photo its class"):
        verify_export(path, mixer, photos, agreement=0.99)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"precision": "bfloat16"}, "onnx files do not have"),
        ({"precision": "int4"}, "expected one of float32, bfloat16, int8"),
        ({"precision": "int8"}, "needs calibrate with some hundreds of photos"),
        ({"calibrate": "photos"}, "calibrate would have no effect in float32"),
        ({"portable": False, "agreement": 0.9}, "agreement and portable would have no effect"),
        ({"precision": "int8", "calibrate": "photos", "agreement": 99}, "agreement is 99; expected a share"),
        ({"precision": "int8", "calibrate": "photos", "to": "onx"}, "expected one of onnx"),
    ],
)
def test_options_that_do_not_fit_are_refused(options: dict[str, object], message: str, mixer: Checkpoint) -> None:
    with pytest.raises(ConfigError, match=message):
        export(mixer, **options)  # type: ignore[arg-type]


def test_8_bits_cannot_be_judged_without_vnni(
    mixer: Checkpoint, photos: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(processor, "processor_flags", lambda: frozenset({"avx2"}))
    monkeypatch.setattr(processor.platform, "machine", lambda: "x86_64")
    with pytest.raises(ConfigError, match="needs a processor with VNNI, and this one has none"):
        export_int8(mixer, photos, out=tmp_path / "x.onnx", portable=False)


def test_sources_that_cannot_become_int8(mixer: Checkpoint, photos: Path, tmp_path: Path) -> None:
    few = tmp_path / "few" / NAMES[0]
    few.mkdir(parents=True)
    for source in list(photos.rglob("*.png"))[:5]:
        (few / source.name).write_bytes(source.read_bytes())
    with pytest.raises(DataError, match="too few to calibrate and to judge"):
        export_int8(mixer, tmp_path / "few", out=tmp_path / "x.onnx")
    with pytest.raises(CheckpointError, match="no such"):
        export_int8(tmp_path / "nothing", photos, out=tmp_path / "x.onnx")


def test_photos_that_become_unknown_do_not_agree(mixer: Checkpoint, photos: Path, tmp_path: Path) -> None:
    """Fault: only classes were counted, though int8 moves the features by which photos are found unknown."""
    _, judging = divide_photos(mixer, photos)
    images = mixer.preprocessing.normalise(judging.images)
    features = open_model(mixer, output="features").forward(images).astype(np.float64)
    lengths = np.sort((features**2).sum(axis=1))
    rule = unknown_rule(features.shape[1], threshold=-float(lengths[19:21].mean()))  # half of the photos
    path = tmp_path / "x.onnx"
    (judged,) = export_int8(mixer.replace(unknown=rule), photos, out=path, agreement=0.0, attempts=ATTEMPTS[:1]).judged
    models = open_model(mixer.replace(unknown=rule)), open_model(path)
    answers = []
    for model in models:
        labels = Predictor(model, unknown=False).predict(list(judging.images))
        known = Predictor(model).predict(list(judging.images))
        answers.append([(each.is_unknown, label.label) for each, label in zip(known, labels, strict=True)])
    pairs = list(zip(*answers, strict=True))
    assert judged.num_unknown_changed == sum(before[0] != after[0] for before, after in pairs) > 0
    assert judged.num_same == sum(before == after for before, after in pairs)
