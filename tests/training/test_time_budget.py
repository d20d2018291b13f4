"""A time budget: the length of a run follows the time that its steps take, and another run can take the same steps."""

import dataclasses
import itertools
import json
import time

import pytest
from tests.training.same_run import assert_same_run
from tests.training.small_runs import TINY, write_photos

from allmlp import ConfigError, train
from allmlp.data import open_dataset
from allmlp.training import DataConfig, ScheduleConfig
from allmlp.training.length import time_budget
from allmlp.training.length.fold_budget import FoldBudget
from allmlp.training.length.run_plan import RunPlan
from allmlp.training.length.time_budget import TimeBudget
from allmlp.training.progress import NoProgress
from allmlp.training.recipe.folds import recipe_of_fold
from allmlp.training.recipe.resolve import resolve
from allmlp.training.snapshots.history import TrainingHistory
from allmlp.training.step.schedule import RunLength, learning_rate_factor


class Clock:
    """Stands for `time.monotonic` in the budget."""

    def __init__(self, monkeypatch):
        self.now = 1000.0
        monkeypatch.setattr(time_budget.time, "monotonic", lambda: self.now)


@pytest.fixture
def clock(monkeypatch):
    return Clock(monkeypatch)


def simulate(clock, budget, *, planned, seconds, validation_seconds=0.0, steps_per_epoch=10):
    """Train on the simulated clock; `seconds` gives the duration of a step. Return the steps taken."""
    step, num_steps = 0, planned
    while step < num_steps:
        clock.now += seconds(step)
        budget.step_ended()
        step += 1
        if step % steps_per_epoch == 0 or step == num_steps:
            clock.now += validation_seconds
            budget.validation_ended()
        if step < num_steps:
            num_steps = budget.revised(step) or num_steps
    return step


PACES = {
    "even": lambda step: 0.1,
    "a slow start": lambda step: 5.0 if step < 3 else 0.1,
    "slower later": lambda step: 0.1 if step < 200 else 0.3,
    "faster later": lambda step: 0.4 if step < 100 else 0.1,
    "busy in the middle": lambda step: 0.5 if 150 < step < 250 else 0.1,
    "uneven": lambda step: 0.05 + 0.1 * (step % 3),
    "steps as long as a tenth of the time": lambda step: 6.0,
}


@pytest.mark.parametrize("pace", PACES)
@pytest.mark.parametrize("validation_seconds", [0.0, 0.7])
def test_a_run_ends_within_ten_percent_of_its_time(pace, validation_seconds, clock):
    budget = TimeBudget(minutes=1.0, planned=100_000, steps_per_epoch=10, spent_seconds=4.0)
    start = clock.now - 4.0
    steps = simulate(clock, budget, planned=100_000, seconds=PACES[pace], validation_seconds=validation_seconds)
    used = clock.now - start
    assert steps < 100_000
    assert 0.84 * 60 <= used <= 1.0 * 60  # the rest is left for the scores and the report


def test_a_run_that_fits_is_not_shortened(clock):
    budget = TimeBudget(minutes=1.0, planned=300, steps_per_epoch=10, spent_seconds=0.0)
    assert simulate(clock, budget, planned=300, seconds=lambda step: 0.1) == 300


def test_a_run_that_looked_too_long_for_a_while_takes_all_its_steps(clock):
    """Other work in the first seconds shortens nothing that fits in the end."""
    budget = TimeBudget(minutes=1.0, planned=300, steps_per_epoch=10, spent_seconds=0.0)
    assert simulate(clock, budget, planned=300, seconds=lambda step: 1.0 if step < 10 else 0.1) == 300


def test_at_most_one_validation_is_counted_per_step(clock):
    """A step may be several epochs of a few photos."""
    budget = TimeBudget(minutes=1.0, planned=3000, steps_per_epoch=0.1, spent_seconds=0.0)
    options = {"seconds": lambda step: 0.05, "validation_seconds": 0.1, "steps_per_epoch": 1}
    steps = simulate(clock, budget, planned=3000, **options)
    assert budget.minutes_needed(steps) == pytest.approx(3000 * (0.05 + 0.1) / 60, rel=0.05)


def test_the_time_needed_is_that_of_all_steps(clock):
    budget = TimeBudget(minutes=1.0, planned=3000, steps_per_epoch=10, spent_seconds=0.0)
    steps = simulate(clock, budget, planned=3000, seconds=lambda step: 0.1, validation_seconds=0.5)
    assert budget.minutes_needed(steps) == pytest.approx((3000 * 0.1 + 300 * 0.5) / 60, rel=0.05)


def test_a_budget_that_is_used_up_ends_with_the_next_step(clock):
    budget = TimeBudget(minutes=0.1, planned=100, steps_per_epoch=10, spent_seconds=60.0)
    assert simulate(clock, budget, planned=100, seconds=lambda step: 1.0) <= 5


def use(clock, plan, *, setup_seconds, step_seconds, validation_seconds):
    """Train the steps of a plan on the simulated clock, from the start of its setup."""
    started, history, step = clock.now, TrainingHistory(), 0
    clock.now += setup_seconds
    plan.start_budget(history, setup_seconds=clock.now - started)
    while step < plan.num_steps:
        clock.now += step_seconds
        plan.step_ended()
        step += 1
        if plan.epoch_at(step) > plan.epoch_at(step - 1) or step == plan.num_steps:
            clock.now += validation_seconds
            plan.validation_ended(step, history, NoProgress())
        plan.revise(step, plan.wanted_steps(step), history, NoProgress())
    return clock.now - started, step, history


@pytest.mark.parametrize("minutes", [1.0, 2.0, 6.0])
@pytest.mark.parametrize("scoring_seconds", [0.2, 1.5])
@pytest.mark.parametrize("report_seconds", [1.0, 4.0])
def test_a_run_with_folds_ends_within_ten_percent_of_its_time(minutes, scoring_seconds, report_seconds, photos, clock):
    """The run, five folds with their scores, and the end: setting up once more, all scores, and the report."""
    num_folds, setup_seconds = 5, 1.5
    recipe = dataclasses.replace(TINY, num_epochs=10_000, max_minutes=minutes, data=DataConfig(folds=num_folds))
    recipe = resolve(recipe, open_dataset(photos), "cpu")
    start = clock.now
    pace = {"setup_seconds": setup_seconds, "step_seconds": 0.02}
    spent, whole_steps, _ = use(clock, RunPlan(recipe, {"train": 100}), **pace, validation_seconds=0.01)
    budget = FoldBudget(
        minutes=minutes, num_folds=num_folds, spent_seconds=spent, setup_seconds=setup_seconds, end_ratio=1.7
    )
    steps = []
    for number in range(num_folds):
        fold = recipe_of_fold(recipe, number, num_photos=100, num_fold_photos=80)
        plan = RunPlan(fold, {"train": 80, "validation": 20})
        plan.take_minutes(budget.minutes_of_fold())
        steps.append(use(clock, plan, **pace, validation_seconds=0.02)[1])
        clock.now += scoring_seconds
        budget.fold_ended(scoring_seconds=scoring_seconds)
    clock.now += setup_seconds + 1.7 * scoring_seconds + report_seconds
    assert 0.85 * 60 * minutes <= clock.now - start <= 1.1 * 60 * minutes
    assert min(steps) > 0.4 * whole_steps


def test_a_fold_that_took_long_leaves_less_for_the_others(clock):
    budget = FoldBudget(minutes=1.0, num_folds=3, spent_seconds=15.0, setup_seconds=1.0, end_ratio=2.0)
    first = budget.minutes_of_fold()
    clock.now += 20.0
    budget.fold_ended(scoring_seconds=0.5)
    assert 1 / 60 < budget.minutes_of_fold() < first
    clock.now += 60.0
    budget.fold_ended(scoring_seconds=0.5)
    assert budget.minutes_of_fold() == 1 / 60  # its time is used up: a second


def rates(length, schedule=None):
    schedule = schedule or ScheduleConfig()
    return [
        learning_rate_factor(schedule, step=length.scheduled_step(step), num_steps=length.planned)
        for step in range(length.num_steps)
    ]


def test_without_revisions_the_schedule_is_that_of_the_steps():
    assert [RunLength(planned=7).scheduled_step(step) for step in range(8)] == list(range(8))


@pytest.mark.parametrize(
    "revisions", [((40, 60),), ((10, 90), (50, 55)), ((30, 150),), ((20, 40), (30, 200), (60, 100))]
)
def test_a_revised_schedule_has_no_jump_and_ends_at_its_end(revisions):
    length = RunLength(planned=100, revisions=revisions)
    places = [length.scheduled_step(step) for step in range(length.num_steps + 1)]
    assert places[-1] == pytest.approx(100)
    gaps = [after - before for before, after in itertools.pairwise(places)]
    assert min(gaps) > 0
    for step, num_steps in revisions:  # the rest of the schedule, evenly over the rest of the steps
        assert gaps[step] == pytest.approx((100 - places[step]) / (num_steps - step))
    assert rates(length)[-1] < 0.05


def test_a_rate_during_a_revised_warm_up_is_at_most_the_peak():
    assert max(rates(RunLength(planned=100, revisions=((2, 30),)))) <= 1.0


@pytest.mark.parametrize("revisions", [[[0, 5]], [[3, 3]], [[5, 9], [4, 8]], [[4, 8], [4, 9]], [[-1, 5]]])
def test_revisions_that_cannot_be_are_refused(revisions):
    with pytest.raises(ConfigError, match=r"schedule.revisions is .*expected pairs \[step, number of steps\]"):
        ScheduleConfig(revisions=tuple(map(tuple, revisions)))


def test_revisions_and_a_budget_are_refused_together():
    with pytest.raises(ConfigError, match=r"schedule\.revisions sets the number of steps, and so does max_minutes=2"):
        dataclasses.replace(TINY, schedule=ScheduleConfig(revisions=((2, 5),)), max_minutes=2.0)


class Slow(NoProgress):
    """Takes a while for each step, as a slow machine does."""

    def __init__(self, seconds, stop_at=None):
        self.seconds, self.stop_at, self.lengths, self.messages = seconds, stop_at, [], []

    def message(self, text):
        self.messages.append(text)

    def revise(self, total_steps):
        self.lengths.append(total_steps)

    def step(self, step, **_):
        time.sleep(self.seconds)
        if step == self.stop_at:
            raise KeyboardInterrupt


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    return write_photos(tmp_path_factory.mktemp("photos"))


LONG = dataclasses.replace(TINY, num_epochs=1000, max_minutes=0.1)


@pytest.fixture(scope="module")
def short_run(photos, tmp_path_factory):
    """A run that its budget of six seconds cuts short."""
    progress = Slow(0.1)
    started = time.monotonic()
    result = train(LONG, photos, tmp_path_factory.mktemp("runs") / "run", progress=progress)
    return result, progress, time.monotonic() - started


def test_a_run_that_is_cut_short_says_so_and_what_it_would_need(short_run):
    result, progress, _ = short_run
    metrics = json.loads((result.directory / "metrics.json").read_text())
    assert result.recipe.num_epochs == metrics["planned_epochs"] == 1000
    assert 0.1 < metrics["num_epochs"] == round(result.num_epochs, 2) < 100
    assert metrics["revisions"][-1][1] == metrics["num_steps"] == progress.lengths[-1]
    assert result.minutes_needed == metrics["minutes_needed"] > 3.0  # 2,400 steps of at least 0.1 s
    (said,) = [text for text in progress.messages if "cut short" in text]
    assert f"{result.num_epochs:.3g} of 1,000 epochs fit into 0.1 minutes" in said and "--max-minutes" in said
    assert "cut short" in (result.directory / "report.html").read_text()
    last = (result.directory / "results.csv").read_text().splitlines()[-1].split(",")
    assert int(last[1]) == metrics["num_steps"] and float(last[3]) < 0.2 * TINY.optimizer.learning_rate


def test_a_run_ends_in_about_its_time(short_run):
    assert 2.5 < short_run[2] < 34.0  # six seconds; a loaded machine may take longer for the report


def test_the_recorded_revisions_give_the_same_bits(short_run, photos, tmp_path):
    result = short_run[0]
    revisions = tuple(map(tuple, json.loads((result.directory / "metrics.json").read_text())["revisions"]))
    recipe = dataclasses.replace(LONG, max_minutes=None, schedule=ScheduleConfig(revisions=revisions))
    again = train(recipe, photos, tmp_path / "again")
    assert again.sample_digest == result.sample_digest
    weights = "checkpoints/last/model.safetensors"
    assert (again.directory / weights).read_bytes() == (result.directory / weights).read_bytes()


def test_a_run_with_a_budget_that_was_stopped_goes_on_within_it(photos, tmp_path):
    run = tmp_path / "run"
    with pytest.raises(KeyboardInterrupt):
        train(LONG, photos, run, progress=Slow(0.1, stop_at=3))
    result = train(LONG, photos, run, progress=Slow(0.1), resume=True)
    metrics = json.loads((run / "metrics.json").read_text())
    assert 3 <= metrics["num_steps"] < 60
    revisions = tuple(map(tuple, metrics["revisions"]))
    recipe = dataclasses.replace(LONG, max_minutes=None, schedule=ScheduleConfig(revisions=revisions))
    assert train(recipe, photos, tmp_path / "again").sample_digest == result.sample_digest
    weights = "checkpoints/last/model.safetensors"
    assert (tmp_path / "again" / weights).read_bytes() == (run / weights).read_bytes()


def test_a_run_that_fits_into_its_time_is_the_run_without_a_budget(photos, tmp_path):
    assert_same_run(
        train(dataclasses.replace(TINY, max_minutes=30.0), photos, tmp_path / "with").directory,
        train(TINY, photos, tmp_path / "without").directory,
    )
