"""`allmlp bench`: files, errors and printed commands. What is measured is tested in tests/bench."""

import json

import pytest
from tests.builders import tiny_checkpoint, tiny_config

from allmlp import save_checkpoint
from allmlp.model import VARIANTS

SMALL = ("--backend", "eager", "--batch-sizes", "1", "--quick")


def test_a_bench_prints_a_table_writes_its_files_and_says_what_to_run_next(allmlp, saved_checkpoint, tmp_path):
    outcome = allmlp("bench", saved_checkpoint, *SMALL, "--out", tmp_path / "bench")
    assert outcome.code == 0, outcome.err
    assert "allmlp-eager" in outcome.out
    assert {path.name for path in (tmp_path / "bench").iterdir()} == {"bench.json", "bench.md", "bench.png"}
    assert f"allmlp bench {saved_checkpoint} --tune" in outcome.out
    result = json.loads((tmp_path / "bench" / "bench.json").read_text())
    assert "instruction_sets" in result["environment"]


def test_json_is_the_only_standard_output(allmlp, saved_checkpoint):
    outcome = allmlp("bench", saved_checkpoint, *SMALL, "--json")
    assert {row["contestant"] for row in json.loads(outcome.out)["results"]} == {"allmlp-eager"}  # in each precision


def test_printed_commands_keep_the_image_size(allmlp, saved_checkpoint):
    outcome = allmlp("bench", saved_checkpoint, *SMALL, "--precision", "float32", "--image-size", "24x16")
    assert f"allmlp bench {saved_checkpoint} --image-size 24x16 --tune" in outcome.out
    assert f"allmlp bench {saved_checkpoint} --image-size 24x16 --against all" in outcome.out


def test_if_everything_is_left_out_the_reasons_are_an_error_and_nothing_is_written(allmlp, saved_checkpoint, tmp_path):
    only = ("--backend", "onnxruntime", "--precision", "bfloat16", "--quick", "--out", tmp_path / "bench")
    outcome = allmlp("bench", saved_checkpoint, *only)
    assert outcome.code == 2 and not outcome.out and not (tmp_path / "bench").exists()
    assert "nothing was measured" in outcome.err
    assert "allmlp-onnxruntime, bfloat16: ONNX Runtime computes in it only on ARM" in outcome.err


def test_tuning_is_remembered_and_predict_says_so(allmlp, saved_checkpoint, write_photo, tmp_path, monkeypatch):
    monkeypatch.setenv("ALLMLP_HOME", str(tmp_path))
    outcome = allmlp("bench", saved_checkpoint, "--tune")
    assert outcome.code == 0, outcome.err
    (path,) = (tmp_path / "tuned").glob("*.json")
    content = json.loads(path.read_text())
    content["seconds_per_image"] = {"onnxruntime": 0.001, "eager": 0.002}
    path.write_text(json.dumps(content))
    outcome = allmlp("predict", saved_checkpoint, write_photo(tmp_path / "photo.png"), "--json")
    assert "Backend onnxruntime: the fastest here by allmlp bench --tune" in outcome.err
    json.loads(outcome.out)


def test_a_tuned_variant_has_no_weights_to_predict_with(allmlp, tmp_path, monkeypatch):
    monkeypatch.setenv("ALLMLP_HOME", str(tmp_path))
    monkeypatch.setitem(VARIANTS, "S/32", tiny_config())  # quick to tune
    outcome = allmlp("bench", "S/32", "--image-size", "32", "--tune")
    assert outcome.code == 0 and "allmlp bench S/32 --image-size 32  #" in outcome.out
    assert "allmlp predict" not in outcome.out


def test_a_mixer_without_a_classifier_is_tuned_for_features_and_not_trained(allmlp, tmp_path, monkeypatch):
    monkeypatch.setenv("ALLMLP_HOME", str(tmp_path))
    path = save_checkpoint(tiny_checkpoint(num_classes=0), tmp_path / "headless")
    outcome = allmlp("bench", path, "--tune")
    assert outcome.code == 0 and f"allmlp embed {path} PHOTOS -o features.npz" in outcome.out
    outcome = allmlp("bench", path, "--training", "--minutes", "0.01")
    assert outcome.code == 2 and "this Mixer has no classifier" in outcome.err


def test_tuning_prints_json_for_programs(allmlp, saved_checkpoint, tmp_path, monkeypatch):
    monkeypatch.setenv("ALLMLP_HOME", str(tmp_path))
    result = json.loads(allmlp("bench", saved_checkpoint, "--tune", "--json").out)
    assert "eager" in result["seconds_per_image"] and result["remembered_in"].startswith(str(tmp_path))


def test_a_folder_that_cannot_be_written_is_noticed_before_tuning(allmlp, saved_checkpoint, tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("ALLMLP_HOME", str(tmp_path / "file"))
    outcome = allmlp("bench", saved_checkpoint, "--tune")
    assert outcome.code == 2 and not outcome.out
    assert f"{tmp_path / 'file' / 'tuned'}: the fastest backend could not be remembered here" in outcome.err
    assert "Set ALLMLP_HOME to a folder that can be written." in outcome.err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--tune", "--training"), "--tune and --training measure different things"),
        (("--tune", "--against", "all"), "--against with --tune would have no effect"),
        (
            ("--tune", "--batch-sizes", "3", "--minutes", "1"),
            "--batch-sizes and --minutes with --tune would have no effect",
        ),
        (("--tune", "--quick"), "--quick with --tune would have no effect"),
        (("--tune", "--out", "x"), "--out with --tune would have no effect"),
        (("--input", "photos", "--precision", "float32"), "--precision with --input would have no effect"),
        (("--training", "--batch-sizes", "8,16"), "--training measures one batch size"),
        (("--backend", ","), "--backend ',' has no name in it"),
        (("--against", ""), "--against '' has no name in it"),
        (("--batch-sizes", ""), "expected numbers such as 1,32"),
        (("--quick", "--minutes", "2"), "--quick and --minutes both limit the time"),
        (("--batch-sizes", "1;2"), "expected numbers such as 1,32"),
        (("--against", "jax"), "Unknown peer 'jax'"),
        (("--precision", "int4"), "Unknown precision 'int4'"),
        (("--backend", "tensorrt"), "Unknown backend 'tensorrt'"),
    ],
    ids=str,
)
def test_invalid_options_are_refused_in_one_line(arguments, words, allmlp):
    outcome = allmlp("bench", *arguments)
    assert outcome.code == 2
    assert words in outcome.err
    assert outcome.err.count("\n") == 1


def test_an_export_is_measured_and_neither_trained_nor_resized(allmlp, saved_checkpoint, tmp_path):
    from allmlp import export

    path = export(saved_checkpoint, out=tmp_path / "plain.onnx")
    outcome = allmlp("bench", path, "--batch-sizes", "1", "--quick", "--json")
    assert outcome.code == 0, outcome.err
    assert "allmlp-onnxruntime" in {row["contestant"] for row in json.loads(outcome.out)["results"]}
    for words, message in (
        (("--training",), "which is not trained"),
        (("--image-size", "32"), "whose image size is fixed"),
        (("--calibrate", "photos"), "whose ranges are fixed"),
    ):
        outcome = allmlp("bench", path, *words)
        assert outcome.code == 2 and message in outcome.err and outcome.err.count("\n") == 1
