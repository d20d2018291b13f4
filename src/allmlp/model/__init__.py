"""What a Mixer is. The numbers load at once; the module itself, and torch with it, when first asked for."""

from typing import TYPE_CHECKING, Any

from allmlp.model.cost import PartCost, cost, num_parameters
from allmlp.model.variants import VARIANTS, MixerConfig, variant_config

if TYPE_CHECKING:
    from allmlp.model.mixer import MlpMixer, create

__all__ = ["VARIANTS", "MixerConfig", "MlpMixer", "PartCost", "cost", "create", "num_parameters", "variant_config"]


def __getattr__(name: str) -> Any:
    if name in ("MlpMixer", "create"):
        from allmlp.model import mixer

        return getattr(mixer, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
