"""`allmlp.evaluate`: the numbers that the command prints, whatever form the model and the data are given in."""

import dataclasses
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.stats import binomtest
from tests.builders import tiny_checkpoint

import allmlp
from allmlp.cli.main import main
from allmlp.data import photo_digest
from allmlp.errors import CheckpointError, ConfigError, DataError
from allmlp.evaluation import Shares
from allmlp.runs.photo_digests import write_photo_digests

CASES = Path(__file__).parents[1] / "cases"


def printed(capsys: pytest.CaptureFixture[str], *arguments: object) -> dict[str, Any]:
    """Return the JSON object that `allmlp evaluate` prints."""
    capsys.readouterr()
    with pytest.raises(SystemExit) as stop:
        main(["evaluate", *map(str, arguments), "--json"])
    out, err = capsys.readouterr()
    assert (stop.value.code, err) == (0, "")
    values: dict[str, Any] = json.loads(out)
    return values


@pytest.mark.parametrize("options", [{}, {"split": "train"}, {"split": "val"}], ids=str)
def test_it_is_what_the_command_prints(options, run, photos, capsys):
    expected = printed(capsys, run, photos, *(word for name, value in options.items() for word in (f"--{name}", value)))
    evaluation = allmlp.evaluate(run, photos, **options)
    assert json.loads(json.dumps(evaluation.to_dict())) == {name: expected[name] for name in evaluation.to_dict()}
    assert (evaluation.top1, evaluation.top5, evaluation.loss) == (expected["top1"], expected["top5"], expected["loss"])
    assert (evaluation.split, evaluation.remark) == (expected["split"], expected["remark"])
    assert list(evaluation.image_size) == expected["image_size"]


def test_another_image_size_is_that_of_at_resolution(run, photos):
    evaluation = allmlp.evaluate(run, photos, image_size=32, device="cpu")
    larger = allmlp.load_checkpoint(run).at_resolution(32)
    assert evaluation.image_size == (32, 32)
    assert evaluation.to_dict() == allmlp.evaluate(larger, photos, device="cpu").to_dict()
    assert evaluation.to_dict() == allmlp.evaluate(larger, photos, image_size=(32, 32), device="cpu").to_dict()


def test_a_model_and_data_in_any_form_give_the_same_numbers(run, photos, checkpoint):
    expected = allmlp.evaluate(str(run), str(photos), device="cpu")
    assert (expected.split, expected.num_photos, expected.num_examples) == ("test", 12, 12)
    assert expected.temperature == 1.5
    models = [run, allmlp.load_checkpoint(run), checkpoint, allmlp.open_model(run, device="cpu")]
    for model in models:
        for data in (photos, allmlp.open_dataset(photos)):
            assert allmlp.evaluate(model, data, device="cpu", batch_size=5).to_dict() == expected.to_dict()


def test_names_of_weights_and_of_data_are_taken():
    with pytest.raises(DataError, match=r"^clothing: the checkpoint does not know 10 of 10 classes"):
        allmlp.evaluate("starter", "clothing")
    with pytest.raises(CheckpointError, match="no such checkpoint"):
        allmlp.evaluate("no-such-model", "clothing")


def test_the_predictions_are_those_of_the_predictor(run, photos):
    evaluation = allmlp.evaluate(run, photos, device="cpu")
    paths = sorted((photos / "test").rglob("*.png"))
    answers = allmlp.Predictor.from_checkpoint(run, device="cpu").predict(paths, top_k=1)
    names = [evaluation.class_names[index] for index in evaluation.predictions]
    assert names == [answer.labels[0]["label"] for answer in answers]
    assert evaluation.top1 == np.mean([name == path.parent.name for name, path in zip(names, paths, strict=True)])
    assert evaluation.class_indices is not None
    assert [evaluation.class_names[index] for index in evaluation.class_indices] == ["cat", "owl", "yak"]


def test_the_split_is_divided_as_the_run_divided_it(run, photos):
    whole = allmlp.evaluate(allmlp.load_checkpoint(run), photos / "train", device="cpu")
    assert (whole.split, whole.num_photos) == ("train", 18)
    assert whole.remark == "These are all photos of the data set."
    for model, of_run in ((run, None), (allmlp.load_checkpoint(run), run)):
        part = allmlp.evaluate(model, photos / "train", run=of_run, device="cpu")
        assert (part.split, part.num_photos) == ("validation", 2)
        assert part.remark == "Split as in the run's split.json."


def test_sets_of_labels_score_beside_the_datas_own(run, photos, tmp_path):
    plain = allmlp.evaluate(run, photos, device="cpu")
    sets = {
        path.relative_to(photos / "test").as_posix(): [plain.class_names[index]]
        for path, index in zip(sorted((photos / "test").rglob("*.png")), plain.predictions, strict=True)
    }
    (tmp_path / "sets.json").write_text(json.dumps(sets))
    evaluation = allmlp.evaluate(run, photos, labels=tmp_path / "sets.json", device="cpu")
    assert (evaluation.top1, evaluation.original_top1) == (1.0, plain.top1)
    assert plain.original_top1 is None


def test_lines_for_people_are_reported_before_the_photos_are_scored(run, photos):
    lines: list[str] = []
    allmlp.evaluate(run, photos, device="cpu", report=lines.append)
    assert lines[-1] == "test: 12 photos."
    (photos / "test" / "yak" / "4-0.png").write_text("text")
    with pytest.raises(DataError, match=r"1 of 12 photos.*\n?.*4-0\.png"):
        allmlp.evaluate(run, photos, device="cpu", report=lines.append)
    assert lines[-1] == "test: 12 photos."


def test_impossible_requests_are_config_errors(run, photos, checkpoint):
    features = allmlp.open_model(run, device="cpu", output="features")
    headless = checkpoint.replace(
        config=dataclasses.replace(checkpoint.config, num_classes=0),
        weights={name: weight for name, weight in checkpoint.weights.items() if not name.startswith("head.")},
        class_names=(),
    )
    for model, options, words in (
        (run, {"batch_size": 0}, "batch_size is 0"),
        (run, {"split": "tset"}, "--split tset: .* has no such split. It has: train, test, validation"),
        (run, {"device": "cudaa"}, "unknown device 'cudaa'"),
        (features, {}, "returns features"),
        (headless, {}, "no classifier"),
        (allmlp.open_model(run, device="cpu"), {"image_size": 32}, r"image_size is \(32, 32\)"),
    ):
        with pytest.raises(ConfigError, match=words):
            allmlp.evaluate(model, photos, **options)


def test_a_run_that_is_none_is_refused_and_an_empty_split_too(run, photos, checkpoint):
    with pytest.raises(ConfigError, match="run is 'rnu', which is not a run folder"):
        allmlp.evaluate(checkpoint, photos, run="rnu")
    with pytest.raises(ConfigError, match=r"--split : .*has no such split"):
        allmlp.evaluate(run, photos, split="")


def test_a_run_folder_is_only_read(run, photos):
    before = {path: path.stat().st_mtime_ns for path in Path(run).rglob("*")}
    allmlp.evaluate(run, photos, device="cpu")
    assert {path: path.stat().st_mtime_ns for path in Path(run).rglob("*")} == before


def test_photos_of_one_class_are_scored():
    checkpoint = tiny_checkpoint(class_names=("apple", "leaf", "sky"))
    scored = allmlp.evaluate(checkpoint, CASES / "layouts" / "one_class_test.zip", device="cpu")
    assert scored.num_photos == 3
    assert np.count_nonzero(scored.confusion.sum(axis=1)) == 1


def test_names_are_compared_only_where_the_bytes_of_the_trained_photos_are_unknown(run, photos):
    whole, lines = photos / "train", list[str]()
    (run / "split.json").write_text(json.dumps({"train": allmlp.open_dataset(whole).splits["train"].sample_ids[1:]}))
    assert "photos with the same names" in allmlp.evaluate(run, whole, device="cpu").remark
    write_photo_digests(run / "photos.csv", {"train": ["cat/x.png"]}, {"train": ["0" * 64]})
    scored = allmlp.evaluate(run, whole, device="cpu", report=lines.append)
    assert scored.trained_on == ()
    assert lines[-1] == "18 photos. These are all photos of the data set."


def renamed_copy(photos: Path, names: list[str], folder: Path) -> Path:
    """Copy photos of the train split into a test split, under other names."""
    for number, name in enumerate(names):
        copy = folder / "test" / Path(name).parent / f"copy {number}{Path(name).suffix}"
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes((photos / "train" / name).read_bytes())
    return folder


def test_photos_that_were_trained_on_are_known_under_other_names(run, photos, tmp_path):
    train = allmlp.open_dataset(photos).splits["train"]
    digests = [photo_digest(train.read(index)) for index in range(len(train))]
    write_photo_digests(run / "photos.csv", {"train": train.sample_ids}, {"train": digests})
    new = tmp_path / "new"
    shutil.copytree(photos / "test", new / "test")
    renamed_copy(photos, list(train.sample_ids[:2]), new)
    lines: list[str] = []
    scored = allmlp.evaluate(run, new, device="cpu", report=lines.append)
    names = [f"{Path(name).parent}/copy {number}.png" for number, name in enumerate(train.sample_ids[:2])]
    assert sorted(scored.trained_on) == sorted(names)
    assert lines[-1].startswith("The model was trained on 2 of these 14 photos, known by their content: ")
    assert allmlp.evaluate(run, photos, split="test", device="cpu").trained_on == ()

    rows = {}  # of two processes, one after the other
    other = Shares(1, 2, lambda own: np.concatenate([rows.setdefault("other", own), own]))
    allmlp.evaluate(run, new, device="cpu", shares=other)
    shared = allmlp.evaluate(
        run, new, device="cpu", shares=Shares(0, 2, lambda own: np.concatenate([own, rows["other"]]))
    )
    assert shared.trained_on == scored.trained_on and shared.to_dict() == scored.to_dict()


def test_a_notebook_shows_the_scores_and_the_repr_is_short(run, photos):
    result = allmlp.evaluate(run, photos, device="cpu")
    right = round(12 * result.top1)
    interval = binomtest(right, 12).proportion_ci(method="wilson")
    low, high = interval.low, interval.high
    assert repr(result) == (
        f"Evaluation({result.split}: {result.num_photos} photos, top-1 {low:.0%} to {high:.0%} ({right} of 12; 95% interval))"
    )
    shown = result._repr_html_()
    assert f"<td>top-1</td><td>{low:.0%} to {high:.0%} ({right} of 12; 95% interval)</td>" in shown
    assert "calibration error" not in shown  # of 12 photos


@pytest.mark.parametrize("function", [allmlp.evaluate, allmlp.evaluate_few_shot])
def test_progress_counts_every_photo(function, run, photos):
    seen = []
    options = {"options": allmlp.FewShotOptions(shots=(1,))} if function is allmlp.evaluate_few_shot else {}
    result = function(
        run, photos, device="cpu", batch_size=2, progress=lambda done, total: seen.append((done, total)), **options
    )
    assert seen[-1] == (result.num_photos, result.num_photos)
    assert all(done <= total for done, total in seen)
