"""The public names: complete, lazy, and without torch until it is needed."""

import subprocess
import sys

import pytest

import allmlp
import allmlp.model

LIGHT = ["AllmlpError", "CheckpointError", "ConfigError", "DataError", "Metrics", "MissingExtraError", "MixerConfig"]
LIGHT += ["ModelDescription", "Preprocessing", "Recipe", "VARIANTS", "evaluate", "open_dataset"]


def modules_after(code: str) -> set[str]:
    """Return the top-level modules that a new interpreter has loaded after `code`."""
    code += "\nimport sys; print(*{name.partition('.')[0] for name in sys.modules})"
    process = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120)
    return set(process.stdout.split())


def test_importing_allmlp_imports_nothing_heavy() -> None:
    heavy = {"torch", "torchvision", "numpy", "PIL", "pyarrow", "matplotlib", "safetensors", "typer", "rich", "timm"}
    assert not modules_after("import allmlp; allmlp.__version__; dir(allmlp)") & heavy


def test_light_names_import_no_torch() -> None:
    assert "torch" not in modules_after(f"from allmlp import {', '.join(LIGHT)}")


@pytest.mark.parametrize("name", allmlp.__all__)
def test_every_public_name_resolves(name: str) -> None:
    assert getattr(allmlp, name) is not None


def test_public_names_are_unique_and_listed_by_dir() -> None:
    assert len(set(allmlp.__all__)) == len(allmlp.__all__)
    assert set(dir(allmlp)) >= set(allmlp.__all__)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="'allmlp' has no attribute 'Mixer'"):
        _ = allmlp.Mixer
    assert not hasattr(allmlp.model, "Mixer")


def test_every_kind_of_error_has_its_exit_code() -> None:
    codes = {"ConfigError": 2, "DataError": 3, "CheckpointError": 4, "MissingExtraError": 5, "CheckFailedError": 6}
    for name, code in codes.items():
        error = getattr(allmlp, name)
        assert issubclass(error, allmlp.AllmlpError)
        assert error.exit_code == code
