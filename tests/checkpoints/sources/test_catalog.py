"""The catalogue: sizes against the published files, names against timm's own tables."""

import pytest
import timm
import torch

from allmlp import CheckpointError
from allmlp.checkpoints.sources.catalog import CATALOG, PublishedModel, find_published, fitting
from allmlp.model import num_parameters

# MiB of the authors' files, as `gsutil ls -lh` lists them in their notebook vit_jax.ipynb.
FILE_SIZES = {
    "b16-i1k": 228.47,
    "l16-i1k": 794.29,
    "b16-i21k": 289.61,
    "l16-i21k": 875.78,
    "b16-sam": 228.47,
    "b32-sam": 230.04,
    "b16-gsam": 228.47,
    "b32-gsam": 230.04,
    "s16-gsam": 70.71,
    "s32-gsam": 72.91,
    "s8-gsam": 78.79,
}
HUB = [model for model in CATALOG.values() if model.hub_repository is not None]


def test_there_are_eleven_files_and_six_repositories() -> None:
    files = [model for model in CATALOG.values() if model.url_path is not None]
    assert [model.name for model in files] == list(FILE_SIZES)
    assert len(HUB) == 6
    assert len({model.url_path for model in files}) == 11
    assert all((model.url_path is None) == (model.hub_repository is not None) for model in CATALOG.values())


@pytest.mark.parametrize("name", FILE_SIZES)
def test_the_authors_files_have_the_size_of_their_parameters(name: str) -> None:
    # Float32 values, and of names and headers less than a tenth of a MiB.
    assert FILE_SIZES[name] - 0.1 < num_parameters(CATALOG[name].config) * 4 / 2**20 < FILE_SIZES[name]


@pytest.mark.parametrize("model", HUB, ids=lambda model: model.name)
def test_hub_entries_agree_with_timm(model: PublishedModel) -> None:
    assert model.timm_name is not None
    config = timm.get_pretrained_cfg(model.timm_name)
    assert config is not None
    assert config.hf_hub_id == model.hub_repository or config.hf_hub_id == "timm/"
    assert config.num_classes == model.config.num_classes
    assert config.input_size == (3, *model.preprocessing.image_size)
    assert config.crop_pct == model.preprocessing.crop_fraction
    assert config.interpolation == model.preprocessing.interpolation
    assert (config.mean, config.std) == (model.preprocessing.mean, model.preprocessing.std)
    with torch.device("meta"):
        network = timm.create_model(model.timm_name, pretrained=False)
    assert sum(weight.numel() for weight in network.parameters()) == num_parameters(model.config)


def test_every_mixer_that_timm_has_weights_for_is_found() -> None:
    names = list(timm.list_models("mixer_*", pretrained=True))
    assert len(names) == 6
    for name in names:
        model = find_published(name)
        assert model is not None
        assert model is find_published(f"timm/{name}")
        assert model.timm_name == name


@pytest.mark.parametrize("name", ["mixer_b16_224", "mixer_l16_224"])
def test_a_name_without_a_tag_is_what_timm_loads_for_it(name: str) -> None:
    model = find_published(name)
    assert model is not None
    assert timm.get_pretrained_cfg(name).tag == model.timm_name.partition(".")[2]


def test_names_that_timm_gave_up_mean_what_they_said() -> None:
    found = {
        name: find_published(name) for name in ("mixer_b16_224_in21k", "mixer_l16_224_in21k", "mixer_b16_224_miil")
    }
    assert [model and model.name for model in found.values()] == ["b16-i21k-timm", "l16-i21k-timm", "b16-miil-i1k"]


def test_every_name_finds_its_entry_and_others_none() -> None:
    assert all(find_published(name) is model for name, model in CATALOG.items())
    assert all(model.name == name for name, model in CATALOG.items())
    for name in ("", "B/16", "b16", "resnet50", "timm/", "timm/b16-i1k", "gmixer_24_224"):
        assert find_published(name) is None


def test_a_mixer_that_timm_has_no_weights_for_is_refused_with_those_there_are() -> None:
    without = set(timm.list_models("mixer_*")) - {
        name.partition(".")[0] for name in timm.list_models("mixer_*", pretrained=True)
    }
    assert without == {"mixer_s32_224", "mixer_s16_224", "mixer_b32_224", "mixer_l32_224"}
    for name in (*without, "timm/mixer_s32_224.untrained"):
        with pytest.raises(CheckpointError, match=r"there are no published weights .* b16-i1k, "):
            find_published(name)


def test_the_two_misnamed_tags_carry_a_warning_and_no_others() -> None:
    warned = {model.timm_name: model.warning for model in CATALOG.values() if model.warning}
    assert list(warned) == ["mixer_b16_224.goog_in21k_ft_in1k", "mixer_l16_224.goog_in21k_ft_in1k"]
    for name, warning in warned.items():
        assert name in warning
        assert "ImageNet-1k model trained from scratch" in warning


def test_fitting_names_all_of_one_shape() -> None:
    same = ("b16-i1k", "b16-sam", "b16-gsam", "b16-i1k-timm", "b16-miil-i1k")
    for name in same:
        assert fitting(CATALOG[name].config) == same
    assert fitting(CATALOG["s8-gsam"].config) == ("s8-gsam",)
    for name, model in CATALOG.items():
        assert name in fitting(model.config)
