"""`allmlp bench`: files, errors and printed commands. What is measured is tested in tests/bench."""

import json

import pytest

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
    assert [row["contestant"] for row in json.loads(outcome.out)["results"]] == ["allmlp-eager"]


def test_tuning_is_remembered_and_predict_says_so(allmlp, saved_checkpoint, write_photo, tmp_path, monkeypatch):
    monkeypatch.setenv("ALLMLP_HOME", str(tmp_path))
    outcome = allmlp("bench", saved_checkpoint, "--tune")
    assert outcome.code == 0, outcome.err
    (path,) = (tmp_path / "tuned").iterdir()
    content = json.loads(path.read_text())
    content["seconds_per_image"] = {"onnxruntime": 0.001, "eager": 0.002}
    path.write_text(json.dumps(content))
    outcome = allmlp("predict", saved_checkpoint, write_photo(tmp_path / "photo.png"), "--json")
    assert "Backend onnxruntime: the fastest here by allmlp bench --tune" in outcome.err
    json.loads(outcome.out)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--tune", "--training"), "--tune and --training measure different things"),
        (("--tune", "--against", "all"), "--against with --tune would have no effect"),
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
