"""Cross-validation: every photo is scored by a run that did not train on it, and the run itself trains on all of them."""

import csv
import dataclasses
import json
import re
import shutil

import numpy as np
import pytest
from tests.forks import run_python
from tests.training.same_run import assert_same_run, differences
from tests.training.small_runs import TINY, write_photos
from tests.training.test_time_budget import Slow

from allmlp import (
    ConfigError,
    DataError,
    Embedder,
    Predictor,
    evaluate,
    load_checkpoint,
    report_run,
    save_checkpoint,
    train,
)
from allmlp.config import override
from allmlp.data import fold_datasets, fold_of_photos, open_dataset
from allmlp.metrics import closeness, fit_closeness, fit_threshold
from allmlp.recipes import load_recipe
from allmlp.training import DataConfig, ScheduleConfig, TransferConfig
from allmlp.training.length.fold_budget import FoldLength
from allmlp.training.length.run_plan import RunPlan
from allmlp.training.progress import NoProgress
from allmlp.training.recipe.folds import recipe_of_fold
from allmlp.training.recipe.resolve import resolve
from allmlp.training.reporting.compare_runs import compare_runs
from allmlp.training.run_folder import lock_run
from allmlp.training.several_runs.cross_validation import AfterStart
from allmlp.training.snapshots.history import TrainingHistory

NUM_FOLDS = 3
NUM_STEPS = 8  # 3 epochs of 42 photos in batches of 16
CROSS_VALIDATED = override(TINY, [f"data.folds={NUM_FOLDS}", "optimizer.learning_rate=0.002"])


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    return write_photos(tmp_path_factory.mktemp("photos"))


class Messages(NoProgress):
    def __init__(self):
        self.lines, self.lengths = [], []

    def message(self, text):
        self.lines.append(text)

    def start(self, total_steps):
        self.lengths.append(total_steps)


@pytest.fixture(scope="module")
def messages():
    return Messages()


@pytest.fixture(scope="module")
def result(photos, messages, tmp_path_factory):
    return train(CROSS_VALIDATED, photos, tmp_path_factory.mktemp("runs") / "run", progress=messages)


class StopInFold(NoProgress):
    """Presses Ctrl-C at a step of a fold; fold 0 is the run itself."""

    def __init__(self, fold, step):
        self.fold, self.stop_at, self.now = fold, step, -1

    def start(self, total_steps):
        self.now += 1

    def step(self, step, **_):
        if (self.now, step) == (self.fold, self.stop_at):
            raise KeyboardInterrupt


@pytest.fixture(scope="module")
def stopped_in_last_fold(photos, tmp_path_factory):
    """A run to copy, that was stopped when it had the predictions of two folds of three."""
    run = tmp_path_factory.mktemp("stopped") / "run"
    with pytest.raises(KeyboardInterrupt):
        train(CROSS_VALIDATED, photos, run, progress=StopInFold(3, 5))
    return run


@pytest.fixture(scope="module")
def folds(photos, tmp_path_factory):
    """The oracle: the folds as separate runs on separate data sets, each with its data set and the rows that it holds out."""
    dataset = open_dataset(photos)
    numbers = fold_of_photos(dataset, num_folds=NUM_FOLDS, seed=TINY.seed)
    length = ["num_epochs=0", f"num_steps={NUM_STEPS}"]
    recipe = override(CROSS_VALIDATED, ["data.folds=0", "best_by=last", *length])
    folder = tmp_path_factory.mktemp("folds")
    return [
        (train(recipe, fold, folder / str(number)).directory, fold, numbers == number)
        for number, fold in enumerate(fold_datasets(dataset, numbers))
    ]


def test_each_photo_is_predicted_by_a_run_that_did_not_see_it(result, photos, folds):
    dataset = open_dataset(photos)
    expected = np.empty(len(dataset.splits["train"]), object)
    for run, fold, rows in folds:
        held_out = fold.splits["validation"]
        images = [held_out.read(index) for index in range(len(held_out))]
        expected[rows] = [answer.labels[0]["label"] for answer in Predictor.from_checkpoint(run).predict(images)]
    scores = result.evaluations["cross-validation"]
    assert [dataset.class_names[index] for index in scores.predictions] == expected.tolist()
    truths = [dataset.class_names[label] for label in dataset.splits["train"].labels]
    assert scores.top1 == np.mean([a == b for a, b in zip(expected, truths, strict=True)])
    assert scores.num_examples == len(truths) == scores.confusion.sum()


def test_the_report_without_predictions_has_the_score_of_the_folds(result, tmp_path):
    run = shutil.copytree(result.directory, tmp_path / "run")
    before = report_run(run, tmp_path / "before.html").read_text()
    (run / "predictions.csv").unlink()
    after = report_run(run, tmp_path / "after.html").read_text()
    figures = re.compile(r"<dd[^>]*>.*?</dd>|<td[^>]*>.*?</td>", re.DOTALL)
    assert f"{result.evaluations['cross-validation'].num_examples} " in after
    assert figures.findall(after) == figures.findall(before) != []


def test_unknown_is_what_is_less_close_than_photos_are_to_those_of_their_fold(result, photos, folds):
    found = []
    for run, fold, _ in folds:
        embedder = Embedder.from_checkpoint(run, device="cpu")
        held_out, trained = (embedder.embed_split(fold.splits[name]) for name in ("validation", "train"))
        found += closeness(held_out, fit_closeness(trained)).tolist()
    rule = load_checkpoint(result.directory).unknown
    assert rule is not None
    assert (rule.score, rule.kept, rule.num_photos) == ("closeness", 0.95, 42)
    assert rule.threshold == pytest.approx(fit_threshold(np.array(found), kept=0.95), rel=1e-4)
    features = Embedder.from_checkpoint(result.directory, device="cpu").embed_split(
        open_dataset(photos).splits["train"]
    )
    np.testing.assert_allclose(rule.matrix(features.shape[1])[0, :-1], features.mean(axis=0), atol=1e-6)
    assert "unknown     predict answers it for photos unlike 95% of 42 photos of the classes" in (
        result.directory / "log.txt"
    ).read_text(encoding="utf-8")


def test_a_fold_takes_as_many_steps_as_the_run(result, messages):
    assert messages.lengths == [NUM_STEPS] * (1 + NUM_FOLDS + 1)  # the run, its folds, and the run again, to be scored


@pytest.mark.parametrize("settings", [["num_epochs=3"], ["num_epochs=0", "num_steps=10"], ["schedule.warmup_steps=11"]])
def test_a_fold_of_fewer_photos_takes_as_many_steps_too(settings, photos):
    dataset = open_dataset(photos)
    train = dataset.splits["train"]

    def of(size):
        return dataclasses.replace(dataset, splits={"train": train.subset(np.arange(size) % len(train))})

    recipe = override(load_recipe("finetune"), ["num_epochs=3", "batch_size=32", "data.folds=5", *settings])
    recipe = resolve(recipe, of(125), "cpu")
    fold = resolve(recipe_of_fold(recipe, 0, num_photos=125, num_fold_photos=100), of(100), "cpu")
    assert fold.num_steps_on(100) == recipe.num_steps_on(125) == (recipe.num_steps or 12)
    assert fold.data.folds == 0 and fold.best_by == "last"


def test_a_fold_shares_the_time_of_the_run_for_as_many_steps(result):
    fold = recipe_of_fold(dataclasses.replace(result.recipe, max_minutes=8.0), 0, num_photos=42, num_fold_photos=28)
    assert (fold.max_minutes, fold.num_steps) == (2.0, None)
    assert fold.num_steps_on(28) == pytest.approx(NUM_STEPS, abs=1)


@pytest.mark.parametrize("settings", [["num_epochs=0", "num_steps=4"], ["num_epochs=1", "schedule.warmup_steps=2"]])
def test_a_cross_validated_run_may_be_short(settings, photos, tmp_path):
    result = train(override(CROSS_VALIDATED, settings), photos, tmp_path / "run")
    assert "cross-validation" in result.evaluations


def test_what_could_not_be_saved_in_a_fold_is_reported():
    messages = Messages()
    progress = AfterStart(messages, prefix="warning")
    progress.message("warning before the start: the run has said it")
    progress.start(8)
    for line in ("RUN/resume: step 8 could not be saved (disk full).", "warning of the fold", "resumed at step 3 of 8"):
        progress.message(line)
    assert messages.lines == ["RUN/resume: step 8 could not be saved (disk full).", "warning of the fold"]


class InFirstFold(NoProgress):
    """Tries to train the run, and writes its report, while its first fold starts."""

    def __init__(self, run):
        self.run, self.now, self.problem, self.page = run, -1, "", ""

    def start(self, total_steps):
        self.now += 1
        if self.now == 1:
            try:
                with lock_run(self.run, is_new=False):
                    pass
            except ConfigError as error:
                self.problem = str(error)
            self.page = report_run(self.run, self.run.parent / "page.html").read_text()
            raise KeyboardInterrupt


def test_a_run_whose_folds_train_is_in_use_and_says_so(photos, tmp_path):
    progress = InFirstFold(tmp_path / "run")
    with pytest.raises(KeyboardInterrupt):
        train(override(CROSS_VALIDATED, ["num_epochs=1"]), photos, tmp_path / "run", progress=progress)
    assert "another training process is using this run" in progress.problem
    assert "This run is still in training" in progress.page
    with lock_run(tmp_path / "run", is_new=False):
        pass


def test_folds_of_an_earlier_version_give_no_threshold(stopped_in_last_fold, photos, tmp_path):
    """They did not save how close the photos are."""
    run, messages = shutil.copytree(stopped_in_last_fold, tmp_path / "run"), Messages()
    path = run / "folds" / "fold-1.npz"
    with np.load(path) as arrays:
        kept = {name: arrays[name] for name in ("sample_ids", "logits")}
    np.savez(path, **kept)
    train(CROSS_VALIDATED, photos, run, resume=True, progress=messages)
    assert load_checkpoint(run).unknown is None
    assert messages.lines[-1].startswith("unknown     no threshold: it needs validation photos.")
    assert messages.lines[-1].endswith(f" allmlp convert {run} NEW --to allmlp --unknown-from PHOTOS")


def test_the_run_itself_trains_on_all_photos(result, photos, tmp_path):
    """The oracle: a run without validation photos to choose by; those it has are copies of its test photos."""
    dataset = open_dataset(photos)
    with_validation = dataclasses.replace(dataset, splits={**dataset.splits, "validation": dataset.splits["test"]})
    recipe = override(CROSS_VALIDATED, ["data.folds=0", "best_by=last"])
    other = train(recipe, with_validation, tmp_path / "run")
    weights = "checkpoints/best/model.safetensors"
    assert (result.directory / weights).read_bytes() == (other.directory / weights).read_bytes()
    assert result.evaluations["test"].top1 == other.evaluations["test"].top1
    assert json.loads((result.directory / "split.json").read_text()).keys() == {"train", "test"}


def test_what_a_run_leaves_and_says(result, photos):
    metrics = json.loads((result.directory / "metrics.json").read_text())
    assert metrics["evaluations"].keys() == {"cross-validation", "test"}
    assert metrics["best_epoch"] == TINY.num_epochs
    log = (result.directory / "log.txt").read_text()
    assert "cross-validation: 42 of 42 photos are held out once, in 3 folds (seed 0)" in log
    page = (result.directory / "report.html").read_text()
    assert "Cross-validation top-1" in page
    assert "Training time, without folds" in page
    assert sorted(path.name for path in (result.directory / "folds").iterdir()) == [f"fold-{n}.npz" for n in (1, 2, 3)]
    assert evaluate(result.directory, photos, split="test").top1 == result.evaluations["test"].top1


def test_advice_on_the_photos_is_given_for_the_run_and_not_for_each_fold(result, messages):
    first_fold = next(number for number, line in enumerate(messages.lines) if line.startswith("fold"))
    last_fold = max(number for number, line in enumerate(messages.lines) if line.startswith("fold"))
    assert any(line.startswith("warning fewer than 20 training photos") for line in messages.lines[:first_fold])
    between = [line for line in messages.lines[first_fold : last_fold + 1] if not line.startswith("fold")]
    assert between == []


SLOW_STOPS = [pytest.param(*stop, marks=pytest.mark.slow) for stop in ((0, 2), (1, 3))]


@pytest.mark.parametrize(("fold", "step"), [(0, 8), (2, 1), (3, 5), *SLOW_STOPS])
def test_a_stopped_cross_validation_goes_on_bit_for_bit(fold, step, result, photos, tmp_path):
    run = tmp_path / "run"
    with pytest.raises(KeyboardInterrupt):
        train(CROSS_VALIDATED, photos, run, progress=StopInFold(fold, step))
    assert not (run / "metrics.json").exists()
    assert "This run was stopped" in (run / "report.html").read_text()
    assert not [*run.glob("folds/*/report.html")]
    again = train(CROSS_VALIDATED, photos, run, resume=True)
    rewritten = (
        "only one has best/"  # the snapshot of the last step was saved before its validation, and is not saved again
    )
    assert not [name for name in differences(again.directory, result.directory) if not name.startswith(rewritten)]
    for number in range(1, 1 + NUM_FOLDS):
        name = f"folds/fold-{number}.npz"
        assert (run / name).read_bytes() == (result.directory / name).read_bytes()


STOPPED_BETWEEN_FOLDS = """
import signal, sys
import numpy as np
from allmlp import train
from allmlp.training.stop_signals import Stopped
from tests.training.test_cross_validation import CROSS_VALIDATED

savez, calls = np.savez, []

def stopped(file, **arrays):  # writes the predictions of a fold
    calls.append(file)
    if len(calls) == 2:
        signal.raise_signal(signal.SIGTERM)
    savez(file, **arrays)

np.savez = stopped
try:
    train(CROSS_VALIDATED, sys.argv[1], sys.argv[2])
except Stopped as stop:
    print("Stopped", stop.exit_code)
"""


def test_a_signal_between_two_folds_stops_the_run_like_any_other(result, photos, tmp_path):
    """SIGTERM would otherwise kill the process, without a word on how to continue."""
    run = tmp_path / "run"
    done = run_python(STOPPED_BETWEEN_FOLDS, photos, run)
    assert (done.returncode, done.stdout.splitlines()[-1]) == (0, "Stopped 143"), done.stderr
    train(CROSS_VALIDATED, photos, run, resume=True)
    for number in range(1, 1 + NUM_FOLDS):
        name = f"folds/fold-{number}.npz"
        assert (run / name).read_bytes() == (result.directory / name).read_bytes()


def test_damaged_predictions_of_a_fold_are_refused_by_name(stopped_in_last_fold, photos, result, tmp_path):
    run = shutil.copytree(stopped_in_last_fold, tmp_path / "run")
    for content in (b"", b"PK\x03\x04 not a zip", b"[1, 2]"):
        (run / "folds" / "fold-2.npz").write_bytes(content)
        with pytest.raises(ConfigError, match=r"fold-2\.npz: cannot be read .*Delete it to train this fold again"):
            train(CROSS_VALIDATED, photos, run, resume=True)
    (run / "folds" / "fold-2.npz").unlink()
    assert_same_run(train(CROSS_VALIDATED, photos, run, resume=True).directory, result.directory)


def test_predictions_of_another_fold_are_refused(stopped_in_last_fold, photos, tmp_path):
    run = shutil.copytree(stopped_in_last_fold, tmp_path / "run")
    (run / "folds" / "fold-1.npz").replace(run / "folds" / "fold-2.npz")
    (run / "folds" / "fold-1.npz").write_bytes((run / "folds" / "fold-2.npz").read_bytes())
    with pytest.raises(ConfigError, match=r"fold-2\.npz: not the predictions of this fold"):
        train(CROSS_VALIDATED, photos, run, resume=True)


def test_an_own_validation_split_needs_no_folds(photos, tmp_path):
    dataset = open_dataset(photos)
    divided = dataclasses.replace(dataset, splits={**dataset.splits, "validation": dataset.splits["test"]})
    result = train(CROSS_VALIDATED, divided, tmp_path / "run")
    assert result.recipe.data.folds == 0 and set(result.evaluations) == {"validation", "test"}
    log = (tmp_path / "run" / "log.txt").read_text()
    assert f"data.folds={NUM_FOLDS} has no effect: these photos have a validation split" in log
    assert train(CROSS_VALIDATED, divided, tmp_path / "run", resume=True).sample_digest == result.sample_digest


def test_too_few_photos_are_refused_before_anything_is_written(photos, tmp_path):
    with pytest.raises(DataError, match=r"42 photos are too few for 50 folds.*--folds 2"):
        train(override(TINY, ["data.folds=50"]), photos, tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("folds", [1, -1, 101])
def test_a_number_of_folds_that_cannot_be_is_refused(folds):
    with pytest.raises(
        ConfigError, match=rf"data\.folds is {folds}; expected 2 to 100, such as 5, or 0 to hold out once"
    ):
        override(TINY, [f"data.folds={folds}"])


def test_runs_are_compared_by_the_predictions_of_their_folds(result, tmp_path):
    runs = [tmp_path / "first", tmp_path / "second"]
    for run in runs:
        shutil.copytree(result.directory, run)
        with (run / "predictions.csv").open(newline="", encoding="utf-8") as file:
            header, *rows = csv.reader(file)
        split, label, prediction = map(header.index, ("split", "label", "prediction"))
        rows = [row for row in rows if row[split] == "cross-validation"]
        for row in rows if run == runs[1] else ():
            row[prediction] = row[label]
        with (run / "predictions.csv").open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([header, *rows])
    comparison = compare_runs(runs)
    (test,) = comparison.tests
    assert "training time, without folds" in comparison.figures()
    metrics = result.evaluations["cross-validation"]
    num_wrong = metrics.num_examples - round(metrics.top1 * metrics.num_examples)
    assert (test.split, test.num_photos) == ("cross-validation", metrics.num_examples)
    assert (test.num_only_first, test.num_only_second) == (0, num_wrong)


def resized(checkpoint, **changes):
    """Fine-tuning at another image size and with another mean, cross-validated."""
    transfer = TransferConfig(checkpoint=str(checkpoint), image_size=(24, 24), mean=(0.4, 0.4, 0.4))
    return dataclasses.replace(CROSS_VALIDATED, name="resized", transfer=transfer, **changes)


def test_folds_start_from_what_their_run_started_from(result, photos, tmp_path):
    """The oracle: a run whose checkpoint stays where it is."""
    source = save_checkpoint(load_checkpoint(result.directory), tmp_path / "source")
    whole, stopped = train(resized(source), photos, tmp_path / "whole"), tmp_path / "stopped"
    assert not (whole.directory / "folds" / "initial").exists()
    with pytest.raises(KeyboardInterrupt):
        train(resized(source), photos, stopped, progress=StopInFold(1, 2))
    assert load_checkpoint(stopped / "folds" / "initial").config.image_size == (24, 24)
    shutil.rmtree(source)
    for change in ("deleted", "replaced"):
        run = shutil.copytree(stopped, tmp_path / change)
        if change == "replaced":
            other = load_checkpoint(result.directory)
            save_checkpoint(other.replace(weights={name: 2 * value for name, value in other.weights.items()}), source)
        assert_same_run(train(resized(source), photos, run, resume=True).directory, whole.directory)
        for number in range(1, 1 + NUM_FOLDS):
            name = f"folds/fold-{number}.npz"
            assert (run / name).read_bytes() == (whole.directory / name).read_bytes()
        assert not (run / "folds" / "initial").exists()


class SlowInFolds(Slow):
    """Takes a while for each step of a fold."""

    def __init__(self, seconds):
        super().__init__(seconds)
        self.num_starts = 0

    def start(self, total_steps):
        self.num_starts += 1

    def step(self, step, **_):
        if self.num_starts > 1:
            super().step(step)


@pytest.fixture(scope="module")
def cut_short(photos, tmp_path_factory):
    """A run whose budget cuts its folds short, and on a busy machine the run itself, too."""
    recipe = dataclasses.replace(CROSS_VALIDATED, num_epochs=14, max_minutes=0.2)
    progress = SlowInFolds(0.15)
    return train(recipe, photos, tmp_path_factory.mktemp("short") / "run", progress=progress), progress


def test_folds_that_are_cut_short_say_so(cut_short):
    result, progress = cut_short
    metrics = json.loads((result.directory / "metrics.json").read_text())
    assert metrics["planned_epochs"] == 14
    assert result.minutes_needed == metrics["minutes_needed"] > 0.2
    (said,) = [text for text in progress.messages if "cut short" in text]
    assert re.search(
        r"warning cut short: ([\d.]+ of 14 epochs, and )?\d+( to \d+)? of 37 steps in \d of 3 folds fit into 0\.2 minutes\.",
        said,
    )
    assert "cut short" in (result.directory / "report.html").read_text()
    assert len(metrics["fold_revisions"]) == NUM_FOLDS
    assert any(revisions and revisions[-1][1] < 37 for revisions in metrics["fold_revisions"])


def test_the_recorded_revisions_give_the_same_folds(cut_short, photos, tmp_path):
    before = cut_short[0].directory
    metrics = json.loads((before / "metrics.json").read_text())
    given = [f"schedule.{name}={json.dumps(metrics[name])}" for name in ("revisions", "fold_revisions")]
    recipe = override(CROSS_VALIDATED, ["num_epochs=14", *given])
    again = train(recipe, photos, tmp_path / "again")
    assert again.sample_digest == cut_short[0].sample_digest
    for number in range(1, 1 + NUM_FOLDS):
        with np.load(before / "folds" / f"fold-{number}.npz") as mine, np.load(
            again.directory / "folds" / f"fold-{number}.npz"
        ) as theirs:  # fmt: skip
            assert mine["logits"].tobytes() == theirs["logits"].tobytes()
    assert json.loads((again.directory / "metrics.json").read_text())["fold_revisions"] == []


def test_a_fold_takes_its_own_revisions_or_those_of_its_run(result):
    schedule = ScheduleConfig(revisions=((2, 6),), fold_revisions=(((2, 5),), (), ((1, 7),)))
    recipe = dataclasses.replace(result.recipe, schedule=schedule)
    folds = [recipe_of_fold(recipe, number, num_photos=42, num_fold_photos=28) for number in range(NUM_FOLDS)]
    assert [fold.schedule.revisions for fold in folds] == [((2, 5),), (), ((1, 7),)]
    assert all(fold.schedule.fold_revisions == () for fold in folds)
    recipe = dataclasses.replace(recipe, schedule=dataclasses.replace(schedule, fold_revisions=()))
    assert recipe_of_fold(recipe, 1, num_photos=42, num_fold_photos=28).schedule.revisions == ((2, 6),)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            ["schedule.fold_revisions=[[[2,5]],[]]"],
            "has 2 lists of revisions, and data.folds is 3; expected one per fold",
        ),
        (["schedule.fold_revisions=[[],[],[]]", "data.folds=0"], "has 3 lists of revisions, and data.folds is 0"),
        (["schedule.fold_revisions=[[],[],[[5,5]]]"], r"schedule.fold_revisions is \[\[5, 5\]\]; expected pairs"),
        (
            ["schedule.fold_revisions=[[],[],[]]", "max_minutes=1"],
            "fold_revisions sets the number of steps, and so does",
        ),
    ],
)
def test_revisions_that_are_not_those_of_all_folds_are_refused(settings, message, photos, tmp_path):
    with pytest.raises(ConfigError, match=message):
        train(override(CROSS_VALIDATED, settings), photos, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_what_was_cut_short_is_named_of_the_run_and_of_its_folds(result):
    recipe = dataclasses.replace(result.recipe, num_epochs=30, max_minutes=2.0, data=DataConfig(folds=3))
    plan = RunPlan(recipe, {"train": 42})
    history, short = TrainingHistory(), FoldLength(((9, 60),), 1.1)
    plan.add_folds([short, FoldLength((), None), short], history)
    assert str(plan.cut_short(history)).startswith(
        "cut short: 60 of 79 steps in 2 of 3 folds fit into 2 minutes. All of"
    )
    history = TrainingHistory(revisions=((9, 70),), minutes_needed=3.0)
    plan.restore(history)
    plan.add_folds([short, FoldLength(((9, 40), (12, 79)), None), FoldLength((), None)], history)
    assert history.minutes_needed == pytest.approx(4.4)
    assert plan.cut_short(history) == (
        "cut short: 26.7 of 30 epochs, and 60 of 79 steps in 1 of 3 folds fit into 2 minutes. All of them would take about 4.4 "
        "minutes on this machine: --max-minutes 5"
    )
    assert plan.fold_revisions == (((9, 60),), ((9, 40), (12, 79)), ())
    history.minutes_needed = 1234.5
    assert "would take about 1,200 minutes on this machine: --max-minutes 1358" in str(plan.cut_short(history))
