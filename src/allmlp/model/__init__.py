"""The Mixer: equation 1 and table 1 of the paper. Configurations need no torch; it is imported with the first model.

Safe to change: `variants` (table 1), `resolution` (other image sizes), `cost`.
Invariants: `mixer`, unless the tests against the authors' golden outputs pass.
To add one: a variant is a row of `VARIANTS`.
"""

from typing import TYPE_CHECKING, Any

from allmlp.model.cost import PartCost, cost, num_multiply_adds, num_parameters
from allmlp.model.parameters import LAYER_NORM_EPSILON, PARAMETERS, Axis, parameter_shapes
from allmlp.model.variants import MAX_SIDE, VARIANTS, Gelu, MixerConfig, MixerTemplate, as_sides, variant_config

if TYPE_CHECKING:
    from allmlp.model.mixer import MlpMixer, create, lecun_normal_
    from allmlp.model.resolution import Method, at_patch_size, at_resolution

__all__ = [
    "LAYER_NORM_EPSILON",
    "MAX_SIDE",
    "PARAMETERS",
    "VARIANTS",
    "Axis",
    "Gelu",
    "Method",
    "MixerConfig",
    "MixerTemplate",
    "MlpMixer",
    "PartCost",
    "as_sides",
    "at_patch_size",
    "at_resolution",
    "cost",
    "create",
    "lecun_normal_",
    "num_multiply_adds",
    "num_parameters",
    "parameter_shapes",
    "variant_config",
]


def __getattr__(name: str) -> Any:
    if name in ("MlpMixer", "create", "lecun_normal_"):
        from allmlp.model import mixer

        return getattr(mixer, name)
    if name in ("Method", "at_patch_size", "at_resolution"):
        from allmlp.model import resolution

        return getattr(resolution, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
