"""`bench`: what it measures, what it leaves out, and what it writes; with tiny Mixers, whose times mean nothing."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from tests.builders import tiny_checkpoint, tiny_config

from allmlp import ConfigError, MixerConfig, Preprocessing, export, open_dataset
from allmlp.bench import (
    PEERS,
    BenchOptions,
    bench,
    matrix_product_gflops,
    measure_input,
    measure_training,
    random_checkpoint,
    table_lines,
    text_table,
    write_plot,
)
from allmlp.bench.contestants import Contestant, Opened
from allmlp.bench.fresh_processes import start_up_of_timm
from allmlp.bench.peers import peer_contestants, timm_model
from allmlp.bench.subject import subject_of
from allmlp.bench.turns import measured_rows
from allmlp.hardware.processor import has_exact_int8
from allmlp.io.display import discard
from allmlp.model import num_multiply_adds

QUICK: dict[str, Any] = {"num_rounds": 3, "precisions": ("float32",), "start_up": False}


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("photos")
    for number in range(6):
        (folder / f"class {number % 3}").mkdir(exist_ok=True)
        pixels = np.random.default_rng(number).integers(0, 256, (20, 30, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"class {number % 3}" / f"{number}.png")
    return folder


@pytest.fixture(scope="module")
def result() -> dict[str, Any]:
    options = BenchOptions(
        batch_sizes=(1, 2), backends=("eager", "onnxruntime"), against=("timm-eager",), minutes=10.0, **QUICK
    )
    return bench(tiny_checkpoint(), options)


def test_all_contestants_are_measured_at_all_batch_sizes(result: dict[str, Any]) -> None:
    rows = {(row["batch_size"], row["contestant"]): row for row in result["results"]}
    contestants = ("allmlp-eager", "allmlp-onnxruntime", "timm-eager")
    assert set(rows) == {(size, name) for size in (1, 2) for name in contestants}
    for (size, name), row in rows.items():
        seconds = row["milliseconds"]["median"] / 1000
        assert row["images_per_second"] == pytest.approx(size / seconds, rel=1e-3)
        assert row["gflops"] == pytest.approx(row["images_per_second"] * result["gflop_per_image"], rel=0.1, abs=1e-3)
        assert row["reference"] == ("allmlp-eager" if name == "timm-eager" else "timm-eager")
    assert result["environment"]["instruction_sets"] is not None
    json.dumps(result, allow_nan=False)


def test_the_table_the_page_and_the_plot_show_every_row(result: dict[str, Any], tmp_path: Path) -> None:
    lines = table_lines(result)
    assert len(lines) == 1 + len(result["results"])
    page = text_table(result)
    assert all(row["contestant"] in page for row in result["results"])
    with Image.open(write_plot(result, tmp_path / "bench.png")) as plot:
        assert plot.size[0] > 300


def test_what_is_unavailable_or_fails_is_listed_with_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> Any:
        raise RuntimeError("no such operator\nat line 7")

    peers = {"broken": (("torch",), ("float32",), refuse), "absent": (("no_such_module",), ("float32",), refuse)}
    monkeypatch.setattr("allmlp.bench.peers.PEERS", peers)
    options = BenchOptions(batch_sizes=(1,), backends=("eager",), against=("all",), minutes=10.0, **QUICK)
    left_out = bench(tiny_checkpoint(), options)["left_out"]
    assert left_out["broken, float32, batch 1"] == "failed: no such operator"
    assert left_out["absent"] == "no_such_module is not installed"
    assert [each for each, _ in peer_contestants(tiny_config(), ("float32",), ("absent",))] == ["absent"]  # type: ignore[misc]


def test_without_time_the_first_contestant_is_measured_and_the_others_are_listed() -> None:
    options = BenchOptions(batch_sizes=(1,), backends=("eager", "compiled"), minutes=10.0, **QUICK)
    ticks = iter(range(10**6))
    outcome = bench(tiny_checkpoint(), options, clock=lambda: 300.0 * next(ticks))
    assert [row["contestant"] for row in outcome["results"]] == ["allmlp-eager"]
    assert "no time was left" in outcome["left_out"]["allmlp-compiled, float32, batch 1"]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"against": ("tim-eager",)}, "Unknown peer 'tim-eager'. Did you mean 'timm-eager'"),
        ({"backends": ("eagre",)}, "Unknown backend 'eagre'. Did you mean 'eager'"),
        ({"precisions": ("float16",)}, "Unknown precision 'float16'"),
        ({"batch_sizes": (0,)}, "expected numbers from 1 to 1024"),
        ({"minutes": 0.0}, "minutes is 0; expected more than 0"),
    ],
    ids=str,
)
def test_invalid_options_are_config_errors(options: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        BenchOptions(**options)


def test_timms_mixer_computes_the_same_function() -> None:
    """The same weights give the same logits, so that the peers do the same work."""
    checkpoint = tiny_checkpoint()
    ours, theirs = checkpoint.build().eval(), timm_model(checkpoint.config)
    with torch.no_grad():
        for mine, other in zip(ours.parameters(), theirs.parameters(), strict=True):
            other.copy_(mine.reshape(other.shape))
        images = torch.randn(2, 3, *checkpoint.config.image_size)
        torch.testing.assert_close(theirs(images), ours(images), rtol=1e-5, atol=1e-5)


def test_a_random_checkpoint_answers_differently_for_different_images() -> None:
    config = MixerConfig(
        image_size=(16, 16),
        patch_size=8,
        num_blocks=1,
        hidden_dim=8,
        tokens_mlp_dim=4,
        channels_mlp_dim=8,
        num_classes=5,
    )
    model = random_checkpoint(config, source="random").build()
    with torch.no_grad():
        logits = model(torch.randn(2, 3, 16, 16))
    assert not torch.equal(logits[0], logits[1])


def test_the_matrix_product_rate_is_positive() -> None:
    assert matrix_product_gflops("float32", side=64, turns=2) > 0


def test_the_share_of_the_matrix_product_is_that_of_the_same_round(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another program makes everything three times as slow halfway, which cancels out."""
    config = tiny_checkpoint().config
    gflop = 2e-9 * num_multiply_adds(config)
    now, num_calls = 0.0, 0

    def spend(seconds: float) -> None:
        nonlocal now, num_calls
        num_calls += 1
        # One call when it is opened, two before the rounds, two per round.
        now += seconds * (1 if num_calls <= 7 else 3)

    monkeypatch.setattr("allmlp.bench.turns.matrix_product", lambda _: (lambda: spend(0.5), gflop))
    contestant = Contestant(
        name="ours",
        precision="float32",
        is_peer=False,
        is_compiled=False,
        open=lambda _: Opened(lambda _: spend(1.0)),
    )
    limits: dict[str, list[float]] = {"float32": []}
    rows = measured_rows(
        [contestant],
        config,
        1,
        end=1000.0,
        share=1000.0,
        rounds=(4, 4),
        limits=limits,
        left_out={},
        report=discard,
        clock=lambda: now,
    )
    assert [row["share_of_matrix_product_rate"] for row in rows] == [0.5]
    assert limits["float32"] == pytest.approx([2 * gflop, 2 * gflop, 2 * gflop / 3, 2 * gflop / 3])


def test_training_steps_are_measured_against_timms() -> None:
    result = measure_training(tiny_checkpoint().config, batch_size=2, seconds=5, num_rounds=3)
    rows = {row["contestant"]: row for row in result["training"]}
    assert set(rows) == {"allmlp", "timm"}
    hours = rows["allmlp"]["core_hours_per_million_images"]
    assert hours == pytest.approx(1e6 / rows["allmlp"]["images_per_second"] * result["num_threads"] / 3600, rel=2e-3)
    assert len(table_lines(result)) == 3


def test_training_steps_are_not_measured_in_int8() -> None:
    with pytest.raises(
        ConfigError, match="precision is 'int8', but training steps are measured in float32 and bfloat16"
    ):
        measure_training(tiny_config(), precisions=("float32", "int8"))


def test_the_input_is_measured_in_stages(tmp_path: Path) -> None:
    for number in range(3):
        (tmp_path / "train" / f"class {number}").mkdir(parents=True)
        pixels = np.random.default_rng(number).integers(0, 256, (40, 60, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / "train" / f"class {number}" / "a.png")
    split = open_dataset(tmp_path).splits["train"]
    result = measure_input(split, Preprocessing(image_size=(16, 16)), seconds=2, num_rounds=3)
    assert result["num_photos"] == 3
    assert next(iter(result["images_per_core_second"])) == "read"
    assert len(table_lines(result)) == 1 + len(result["images_per_core_second"])


def test_peers_are_named_after_their_library() -> None:
    assert all(name.startswith("timm-") or name == "vit_jax" for name in PEERS)


def test_the_authors_mixer_is_left_out_for_the_erf_gelu() -> None:
    """Theirs has the tanh form, so that it would do other work."""
    config = dataclasses.replace(tiny_checkpoint().config, gelu="erf")
    with pytest.raises(ValueError, match="the authors' Mixer has the tanh GELU"):
        PEERS["vit_jax"][2](config, "float32", 1)


@pytest.fixture(scope="module")
def of_int8(photos: Path) -> dict[str, Any]:
    options = BenchOptions(
        batch_sizes=(2,),
        backends=("eager", "onnxruntime", "openvino"),
        against=("timm-eager",),
        precisions=("float32", "int8"),
        calibrate=photos,
        minutes=10.0,
        num_rounds=3,
        start_up=False,
    )
    return bench(tiny_checkpoint(), options)


def test_int8_is_measured_in_both_engines_and_compared_with_timm_in_float32(of_int8: dict[str, Any]) -> None:
    widths = ("int8, 7 bits", "int8, 8 bits") if has_exact_int8() else ("int8, 7 bits",)
    found = {(row["contestant"], row["precision"]) for row in of_int8["results"] if row["precision"] != "float32"}
    assert found == {(f"allmlp-{engine}", width) for engine in ("onnxruntime", "openvino") for width in widths}
    for row in of_int8["results"]:
        if row["precision"] != "float32":
            assert row["reference"] == "timm-eager, float32"
            assert row["speed_ratio"] == row["times_timm_eager_float32"]
            assert row["share_of_matrix_product_rate"] is None
    assert of_int8["left_out"]["allmlp-eager, int8"] == "the backend runs no int8 files"


def test_int8_says_that_its_accuracy_was_not_measured(of_int8: dict[str, Any], photos: Path) -> None:
    assert f"photos of {photos.name}" in of_int8["int8"] and "accuracy was not measured" in of_int8["int8"]
    assert "accuracy was not measured" in text_table(of_int8)


def test_without_vnni_only_portable_weights_are_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("allmlp.bench.subject.has_exact_int8", lambda: False)
    assert list(subject_of(tiny_checkpoint(), calibrate=None, folder=tmp_path).precisions) == [
        "float32",
        "int8, 7 bits",
    ]


def test_an_export_runs_in_its_own_precision_in_the_backends_that_open_it(photos: Path, tmp_path: Path) -> None:
    int8 = export(
        tiny_checkpoint(), out=tmp_path / "x.onnx", precision="int8", calibrate=photos, agreement=0.0, portable=True
    )
    options = BenchOptions(batch_sizes=(1,), minutes=10.0, num_rounds=3, start_up=False)
    result = bench(int8, options)
    assert {row["precision"] for row in result["results"]} == {"int8, 7 bits"}
    assert {row["contestant"] for row in result["results"]} == {"allmlp-onnxruntime", "allmlp-openvino"}
    assert result["left_out"]["allmlp-eager"] == "it does not open this export"
    assert result["left_out"]["allmlp-openvino, float32"] == "this export has another precision"


@pytest.mark.parametrize("is_native", [True, False])
def test_a_file_of_torch_in_bfloat16_is_measured_in_bfloat16(
    is_native: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("allmlp.bench.run.has_native_bfloat16", lambda _: is_native)
    path = export(tiny_checkpoint(), to="torch", precision="bfloat16", out=tmp_path / "x.pt2")
    assert list(subject_of(path, calibrate=None, folder=tmp_path).precisions) == ["bfloat16"]
    options = BenchOptions(batch_sizes=(1,), backends=("eager",), minutes=10.0, num_rounds=3, start_up=False)
    result = bench(path, options)
    assert [row["precision"] for row in result["results"]] == ["bfloat16"]
    assert "bfloat16" not in result["left_out"]


def test_start_up_is_measured_in_fresh_processes_of_exports(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("allmlp.bench.fresh_processes._NUM_ROUNDS", 1)
    options = BenchOptions(
        batch_sizes=(1,),
        backends=("eager", "onnxruntime", "litert"),
        precisions=("float32",),
        minutes=10.0,
        num_rounds=3,
    )
    fresh = bench(tiny_checkpoint(), options)["start_up"]
    assert set(fresh) == {f"allmlp-{backend}, float32" for backend in ("eager", "onnxruntime", "litert")}
    assert (
        fresh["allmlp-onnxruntime, float32"]["processor_seconds"] > 0 and fresh["allmlp-onnxruntime, float32"]["n"] == 1
    )


@pytest.mark.slow
def test_start_up_of_timm_is_measured_with_its_own_weights(tmp_path: Path) -> None:
    config = tiny_checkpoint().config
    torch.save(timm_model(config).state_dict(), tmp_path / "timm.pth")
    found = start_up_of_timm(config, tmp_path / "timm.pth")
    assert 0 < found.processor_seconds < 10 * found.seconds


def test_a_processor_without_bfloat16_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("allmlp.bench.run.has_native_bfloat16", lambda _: False)
    options = BenchOptions(batch_sizes=(1,), backends=("eager",), minutes=10.0, num_rounds=3, start_up=False)
    result = bench(tiny_checkpoint(), options)
    assert {row["precision"] for row in result["results"]} == {"float32"}
    assert result["left_out"]["bfloat16"] == "this processor lacks it, and would emulate it slowly"
