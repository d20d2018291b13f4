import json
import os

import pytest

from allmlp.checkpoints import CATALOG


@pytest.fixture(autouse=True)
def empty_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("ALLMLP_HOME", str(tmp_path))


def table_of(outcome):
    """Return the lines of the table, which follows the recommendations."""
    return outcome.out.split("\n\n")[1].splitlines()


def test_what_to_start_with_comes_first(allmlp):
    title, *lines = allmlp("models").out.partition("\n\n")[0].splitlines()
    assert title == "start here"
    assert [line.split()[0] for line in lines] == ["starter", "b16-i21k", "b16-i21k", "b16-miil-i1k"]
    assert {line.split()[0] for line in lines} <= {"starter", *CATALOG}
    for line in lines:
        command = line.rpartition("allmlp ")[2].split()
        assert allmlp(command[0], "--help").code == 0
        assert command[1] in ("PHOTOS", line.split()[0])


def test_every_published_model_is_listed_with_what_it_is(allmlp):
    outcome = allmlp("models")
    assert outcome.code == 0
    title, *lines = table_of(outcome)
    for column in ("name", "trained on", "classes", "size", "GELU", "ImageNet top-1", "source", "cached"):
        assert column in title
    for line, model in zip(lines, CATALOG.values(), strict=False):
        assert line.startswith(f"{model.name} ")
        for part in (model.trained_on, f"{model.config.num_classes:,}", model.accuracy, model.config.gelu):
            assert part in line
        assert (model.hub_repository or model.url_path) in line


def test_the_table_fits_a_wide_terminal(allmlp):
    table = table_of(allmlp("models"))
    assert len(table) == 18
    assert max(map(len, table)) <= 160


def test_the_misnamed_tags_are_explained(allmlp):
    outcome = allmlp("models")
    warnings = [model.warning for model in CATALOG.values() if model.warning]
    assert [line.removeprefix("! ") for line in outcome.out.splitlines() if line.startswith("! ")] == warnings


def test_what_is_in_the_cache_is_marked(allmlp, tmp_path):
    path = tmp_path / "mixer_models" / "gsam" / "Mixer-S_8.npz"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"weights")
    path.with_name("Mixer-S_16.npz").touch()  # what a disk without space leaves
    lines = {line.split()[0]: line.split()[-1] for line in table_of(allmlp("models"))[1:12]}
    assert {name for name, cached in lines.items() if cached == "yes"} == {"s8-gsam"}


def test_programs_get_all_of_it_as_json(allmlp):
    outcome = allmlp("models", "--json")
    entries = json.loads(outcome.out)
    assert (outcome.code, outcome.err) == (0, "")
    assert [entry["name"] for entry in entries] == list(CATALOG)
    entry = entries[list(CATALOG).index("b16-miil-i1k")]
    assert entry["timm_name"] == "mixer_b16_224.miil_in21k_ft_in1k"
    assert entry["config"]["gelu"] == "erf"
    assert entry["preprocessing"]["interpolation"] == "bilinear"
    assert entry["parameters"] == 59_880_472
    assert entry["labels"] == "imagenet-1k"


def test_it_needs_no_network(allmlp, monkeypatch):
    monkeypatch.setenv("ALLMLP_MIXER_MODELS_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
    assert "ALLMLP_OFFLINE" not in os.environ
    assert allmlp("models").code == 0
