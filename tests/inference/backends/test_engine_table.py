"""The table of measured engines: what is in it was measured, and what was not is not answered."""

import json

import pytest
from benchmarks import engine_table, speed
from tests.builders import tiny_config

from allmlp.inference.backends.engine_table import measured_engines
from allmlp.model import num_multiply_adds, variant_config

TABLE = json.loads(engine_table.TABLE.read_text())


def test_the_table_is_what_the_program_makes_of_the_published_measurements() -> None:
    """All rows: one was of a result that another machine had replaced."""
    assert engine_table.table_of(engine_table.stored_results()) == TABLE, "run `python benchmarks/engine_table.py`"
    assert [each["vectors"] for each in TABLE["measurements"]] == ["avx2", "avx512"]
    for each in TABLE["measurements"]:
        assert {"command", "written", "commit", "device"} <= each["environment"].keys()
        assert each["settings"] == "tuned"


def test_each_result_is_in_the_file_of_its_kind_of_processor() -> None:
    for path in engine_table.RESULTS.iterdir():
        assert speed.result_file(json.loads(path.read_text())["environment"]).name == path.name


def test_seconds_are_those_of_the_start_and_of_a_hundred_photos() -> None:
    row = {"precision": "float32", "batch_size": 32, "contestant": "allmlp-openvino", "images_per_second": 50.0}
    others = [
        {**row, "batch_size": 1, "images_per_second": 1.0},
        {**row, "precision": "int8", "images_per_second": 1e6},
    ]
    measured = {
        "gflop_per_image": 7.5,
        "results": [row, *others, {**row, "contestant": "allmlp-onnxruntime"}, {**row, "contestant": "timm-openvino"}],
        "start_up": {"allmlp-openvino, float32": {"seconds": 0.5}},  # of the other engine, it could not be measured
    }
    assert engine_table.entry_of(measured) == {"gflop_per_image": 7.5, "seconds": {"openvino": 2.5}}


def test_two_results_of_one_kind_of_processor_are_a_fault() -> None:
    result, _ = engine_table.stored_results()
    with pytest.raises(AssertionError, match="two results"):
        engine_table.table_of([result, result])


@pytest.mark.parametrize("vectors", [each["vectors"] for each in TABLE["measurements"]])
@pytest.mark.parametrize("variant", ["S/16", "B/16"])
def test_a_mixer_gets_what_was_measured_of_its_size(variant: str, vectors: str) -> None:
    config = variant_config(variant, num_classes=1000)
    found = measured_engines(config, vectors)
    assert found is not None and {*found.seconds} == {"onnxruntime", "openvino"}
    assert found.gflop_per_image == pytest.approx(2e-9 * num_multiply_adds(config), rel=0.01)


def test_where_nothing_was_measured_there_is_no_answer() -> None:
    assert measured_engines(variant_config("S/16"), "") is None  # another kind of processor
    assert measured_engines(tiny_config(), "avx2") is None  # a thousandth of the smallest one that was measured
    assert measured_engines(variant_config("H/14"), "avx2") is None  # ten times the largest
