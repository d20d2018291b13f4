"""The main job: photos in any form in, a whole run folder out, bit for bit the same each time."""

import csv
import dataclasses
import json
import threading
import zipfile

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from safetensors.numpy import load_file
from tests.forks import run_python
from tests.training.small_runs import CLASSES, TINY, write_photos
from torch._inductor import config as inductor

from allmlp import load_checkpoint, train
from allmlp.data import Augmentation, evaluation_batches, open_dataset, resized_images
from allmlp.errors import ConfigError, DataError, DivergedError
from allmlp.inference import eager_forward
from allmlp.metrics import score_batches
from allmlp.training import DataConfig, OptimizerConfig


def tiny_recipe(**changes):
    return dataclasses.replace(TINY, **changes)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_photos(tmp_path_factory.mktemp("photos") / "data")


@pytest.fixture(scope="module")
def run(folder, tmp_path_factory):
    """One run that several tests look at."""
    return train(tiny_recipe(), folder, tmp_path_factory.mktemp("runs") / "run")


def weights(run_directory, name="last"):
    return load_file(run_directory / "checkpoints" / name / "model.safetensors")


def same(one, two):
    return one.keys() == two.keys() and all(np.array_equal(one[key], two[key]) for key in one)


def rows(run_directory):
    with (run_directory / "results.csv").open() as file:
        return list(csv.DictReader(file))


def losses(run_directory):
    return [(row["train_loss"], row["validation_loss"], row["validation_top1"]) for row in rows(run_directory)]


def test_a_run_folder_holds_all_that_one_needs_later(run):
    names = {str(path.relative_to(run.directory)) for path in run.directory.rglob("*") if path.is_file()}
    assert names == {
        "recipe.json",
        "environment.json",
        "split.json",
        "data.json",
        "decoded.json",
        "notes.json",
        "resume/step-000000007/manifest.json",
        "resume/step-000000007/state.json",
        "resume/step-000000007/state.safetensors",
        "class_names.txt",
        "photos.csv",
        "results.csv",
        "metrics.json",
        "predictions.csv",
        "log.txt",
        "report.html",
        "plots/curves.png",
        "plots/confusion.png",
        "plots/samples.png",  # and no calibration, for which these are too few photos
        "checkpoints/best/model.safetensors",
        "checkpoints/best/config.json",
        "checkpoints/last/model.safetensors",
        "checkpoints/last/config.json",
    }
    assert [row["epoch"] for row in rows(run.directory)] == ["1", "2", "3"]
    assert (run.directory / "class_names.txt").read_text() == "blue\ngreen\nred\n"
    recipe = json.loads((run.directory / "recipe.json").read_text())
    assert recipe["model"]["num_classes"] == 3
    assert recipe["precision"] == "float32"


def test_a_tenth_of_each_class_is_held_out_and_test_is_left_alone(run):
    split = json.loads((run.directory / "split.json").read_text())
    assert {name: len(photos) for name, photos in split.items()} == {"train": 39, "validation": 3, "test": 42}
    assert {sample_id.split("/")[0] for sample_id in split["validation"]} == set(CLASSES)
    assert not set(split["train"]) & set(split["validation"])


def test_metrics_are_those_of_the_best_checkpoint(run, folder):
    checkpoint = load_checkpoint(run.directory)
    split = open_dataset(folder).splits["test"]
    batches = evaluation_batches(
        resized_images(split, checkpoint.preprocessing), split.labels, checkpoint.preprocessing, num_classes=3
    )
    metrics = score_batches(eager_forward(checkpoint), batches, checkpoint.class_names)
    written = json.loads((run.directory / "metrics.json").read_text())["evaluations"]["test"]
    assert metrics.to_dict() == written


def test_the_photos_colours_are_learned(folder, tmp_path):
    recipe = tiny_recipe(num_epochs=40, augmentation=Augmentation(crop="pad", pad_pixels=2, flip=True), ema_decay=0.8)
    result = train(recipe, folder, tmp_path / "run")
    assert result.evaluations["test"].top1 == 1.0


def as_zip(folder, target):
    with zipfile.ZipFile(target / "data.zip", "w") as archive:
        for path in sorted(folder.rglob("*.png"), reverse=True):
            archive.write(path, path.relative_to(folder))
    return target / "data.zip"


def as_parquet(folder, target):
    names = ["red", "blue", "green"]  # another order than ours
    for split in ("train", "test"):
        paths = sorted((folder / split).rglob("*.png"), key=lambda path: path.name[::-1])
        table = pa.table(
            {
                "image": [{"bytes": path.read_bytes(), "path": f"{path.parent.name}/{path.name}"} for path in paths],
                "label": [names.index(path.parent.name) for path in paths],
            }
        )
        features = {"image": {"_type": "Image"}, "label": {"names": names, "_type": "ClassLabel"}}
        table = table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})
        (target / "parquet").mkdir(exist_ok=True)
        pq.write_table(table, target / "parquet" / f"{split}-00000-of-00001.parquet", row_group_size=5)
    return target / "parquet"


def as_csv(folder, target):
    lines = ["path,label,split"]
    for path in sorted(folder.rglob("*.png"), key=lambda path: path.name):
        relative = path.relative_to(folder)
        lines.append(f"{relative},{relative.parts[1]},{relative.parts[0]}")
    (folder / "list.csv").write_text("\n".join(lines) + "\n")
    return folder / "list.csv"


@pytest.mark.parametrize("convert", [as_zip, as_parquet, as_csv])
def test_the_same_photos_in_another_form_train_to_the_same_bits(convert, run, folder, tmp_path):
    other = train(tiny_recipe(), convert(folder, tmp_path), tmp_path / "run")
    assert losses(other.directory) == losses(run.directory)
    assert same(weights(other.directory), weights(run.directory))


@pytest.mark.parametrize(
    ("storage", "num_workers"),
    [("memory", 0), pytest.param("stream", 0, marks=pytest.mark.slow), ("stream", 2), ("auto", 2)],
)
def test_two_runs_are_the_same_bits_however_photos_are_read(storage, num_workers, run, folder, tmp_path):
    recipe = tiny_recipe(data=DataConfig(storage=storage, num_workers=num_workers))
    other = train(recipe, folder, tmp_path / "run")
    assert same(weights(other.directory), weights(run.directory))
    assert same(weights(other.directory, "best"), weights(run.directory, "best"))


@pytest.mark.parametrize("change", [{"seed": 1}, {"ema_decay": None}, {"augmentation": Augmentation()}])
def test_what_should_change_a_run_changes_it(change, run, folder, tmp_path):
    other = train(tiny_recipe(**change), folder, tmp_path / "run")
    assert not same(weights(other.directory), weights(run.directory))


@pytest.mark.parametrize(
    "change",
    [
        {"precision": "bfloat16"},
        {"activation_checkpointing": True},
        pytest.param({"compile": True}, marks=pytest.mark.slow),
    ],
)
def test_what_only_changes_speed_or_memory_hardly_changes_a_run(change, run, folder, tmp_path):
    other = train(tiny_recipe(**change), folder, tmp_path / "run")
    for one, two in zip(losses(run.directory), losses(other.directory), strict=True):
        # bfloat16 has 8 bits of mantissa; the losses are about 1 and move by a tenth in a run.
        assert float(one[0]) == pytest.approx(float(two[0]), rel=0.02)


def test_compiling_without_a_compiler_is_refused_before_anything_is_written(folder, tmp_path):
    with (
        inductor.patch({"cpp.cxx": (None, str(tmp_path / "g++"))}),
        pytest.raises(ConfigError, match=r"no C\+\+ compiler\. Install one .* compile=false"),
    ):
        train(tiny_recipe(compile=True), folder, tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("num_classes", [7, 999, 1000])
def test_a_number_of_classes_other_than_the_datas_is_refused(num_classes, folder, tmp_path):
    """1000 too, which is the default elsewhere."""
    recipe = tiny_recipe(model=dataclasses.replace(tiny_recipe().model, num_classes=num_classes))
    with pytest.raises(ConfigError, match=rf"num_classes is {num_classes}, but .* has 3 classes\. Omit it"):
        train(recipe, folder, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_used_folder_is_refused_and_left_as_it_was(run, folder):
    before = {path: path.stat().st_mtime_ns for path in run.directory.rglob("*")}
    with pytest.raises(ConfigError, match="holds another run; nothing is ever overwritten"):
        train(tiny_recipe(), folder, run.directory)
    assert before == {path: path.stat().st_mtime_ns for path in run.directory.rglob("*")}


def test_a_run_among_the_photos_is_refused(folder):
    with pytest.raises(ConfigError, match=r"is inside the folder of photos .* Choose a folder outside"):
        train(tiny_recipe(), folder, folder / "runs" / "run")
    assert not (folder / "runs").exists()


def test_a_file_as_output_is_refused(folder, tmp_path):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(ConfigError, match="this is a file; a run needs a folder"):
        train(tiny_recipe(), folder, tmp_path / "file")
    assert (tmp_path / "file").read_text() == "mine"


def test_all_unreadable_photos_are_named_before_anything_is_written(tmp_path):
    root = write_photos(tmp_path / "data", per_class=6)
    (root / "train" / "red" / "00.png").write_bytes(b"")
    cut = (root / "train" / "blue" / "03.png").read_bytes()
    (root / "train" / "blue" / "03.png").write_bytes(cut[: len(cut) // 2])
    (root / "test" / "green" / "01.png").write_bytes(b"<html>404</html>")
    with pytest.raises(DataError) as caught:
        train(tiny_recipe(), root, tmp_path / "run")
    for name in ("red/00.png", "blue/03.png", "green/01.png"):
        assert name in str(caught.value)
    assert not (tmp_path / "run").exists()


def test_a_loss_that_explodes_stops_with_advice_and_a_finite_checkpoint(folder, tmp_path):
    recipe = tiny_recipe(
        num_epochs=30, optimizer=OptimizerConfig(name="sgd", learning_rate=1e3, clip_norm=None, weight_decay=0.0)
    )
    with pytest.raises(
        DivergedError,
        match=r"The (loss|gradient norm) became (nan|inf) at step \d+.*learning_rate=3e\+02.*--set on_nonfinite=skip",
    ):
        train(recipe, folder, tmp_path / "run")
    assert all(np.isfinite(weight).all() for weight in weights(tmp_path / "run").values())


class StopAfter:
    """Presses Ctrl-C at a step."""

    def __init__(self, step):
        self.stop_at = step

    def message(self, text): ...

    def start(self, total_steps): ...

    def step(self, step, **figures):
        if step == self.stop_at:
            raise KeyboardInterrupt

    def epoch(self, row): ...

    def finish(self): ...


@pytest.mark.parametrize("step", [1, 4])
def test_ctrl_c_leaves_usable_checkpoints(step, folder, tmp_path):
    with pytest.raises(KeyboardInterrupt) as stopped:
        train(tiny_recipe(), folder, tmp_path / "run", progress=StopAfter(step))
    assert stopped.traceback  # it holds on to all that the run had, which would end its threads when it goes
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("allmlp-")]
    last = load_checkpoint(tmp_path / "run" / "checkpoints" / "last")
    assert f"step {step}" in last.source
    assert load_checkpoint(tmp_path / "run").class_names == CLASSES


STOPPED_IN_THE_LAST_SAVE = """
import signal, sys
from allmlp import train
from allmlp.training.session import Session
from allmlp.training.stop_signals import Stopped
from tests.training.test_train import tiny_recipe

wait, calls = Session.wait_for_saves, []

def stopped(session):
    calls.append(session)
    if len(calls) == 1:
        signal.raise_signal(signal.SIGTERM)
    wait(session)

Session.wait_for_saves = stopped
try:
    train(tiny_recipe(), sys.argv[1], sys.argv[2])
except Stopped as stop:
    print("Stopped", stop.exit_code)
"""


def test_a_signal_while_the_last_state_is_saved_stops_the_run(run, folder, tmp_path):
    done = run_python(STOPPED_IN_THE_LAST_SAVE, folder, tmp_path / "run")
    assert (done.returncode, done.stdout.splitlines()[-1]) == (0, "Stopped 143"), done.stderr
    assert not (tmp_path / "run" / "metrics.json").exists()
    resumed = train(tiny_recipe(), folder, tmp_path / "run", resume=True)
    assert same(weights(resumed.directory), weights(run.directory))


def test_a_data_set_smaller_than_a_batch_trains(tmp_path):
    root = write_photos(tmp_path / "data", per_class=3)
    result = train(tiny_recipe(batch_size=64), root, tmp_path / "run")
    assert result.evaluations["validation"].num_examples == 3


def test_a_full_disk_is_one_clear_error(folder, tmp_path):
    """RLIMIT_FSIZE is the kernel's own refusal to write more, as on a full disk, in a process of its own."""
    script = (
        "import resource, signal, sys; signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (6000, 6000))\n"
        "from allmlp.cli.main import main; main()\n"
    )
    quick = ["--epochs", "1", "--set", "max_minutes=none", "--set", "batch_size=16"]
    command = ["train", str(folder), "--recipe", "cifar10", *quick, "--out", str(tmp_path / "run")]
    done = run_python(script, *command)
    assert done.returncode == 2, done.stderr
    assert "could not be written (File too large)" in done.stderr
    assert "Traceback" not in done.stderr
