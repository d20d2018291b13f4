"""The maps of classes on a report's page."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from allmlp.explanations import AGAINST_COLOUR, FOR_COLOUR, ClassMap, PatchGeometry, heat_map
from allmlp.report.heat_maps.drawing import css_colour, webp_uri

__all__ = ["ShownClassMaps", "show_class_maps"]

_SIDE = 192  # pixels; smaller inputs are enlarged, so that the borders of patches are sharp


@dataclass(frozen=True, kw_only=True)
class ShownClassMap:
    """The maps of a class as data URIs, and the number of photos that were averaged for each."""

    uri: str
    occlusion_uri: str
    name: str
    num_photos: int
    num_occluded: int


@dataclass(frozen=True, kw_only=True)
class ShownClassMaps:
    """All maps of a page, which have one scale for each kind: the value at which colours are strongest."""

    maps: tuple[ShownClassMap, ...]
    scale: float
    occlusion_scale: float
    num_classes: int
    for_colour: str
    against_colour: str


def show_class_maps(maps: Sequence[ClassMap], num_classes: int) -> ShownClassMaps | None:
    """Draw the maps; None if there are none. `num_classes` are the model's."""
    if not maps:
        return None
    scale = max(float(np.abs(each.values).max()) for each in maps)
    occlusion_scale = max(float(np.abs(each.occlusion).max()) for each in maps)
    return ShownClassMaps(
        maps=tuple(
            ShownClassMap(
                uri=_draw(each, each.values, scale),
                occlusion_uri=_draw(each, each.occlusion, occlusion_scale),
                name=each.name,
                num_photos=each.num_photos,
                num_occluded=each.num_occluded,
            )
            for each in maps
        ),
        scale=scale,
        occlusion_scale=occlusion_scale,
        num_classes=num_classes,
        for_colour=css_colour(FOR_COLOUR),
        against_colour=css_colour(AGAINST_COLOUR),
    )


def _draw(each: ClassMap, values: NDArray[np.float32], scale: float) -> str:
    height, width, _ = each.photo.shape
    factor = max(1, _SIDE // max(height, width))
    photo = each.photo.repeat(factor, axis=0).repeat(factor, axis=1)
    rows, columns = values.shape
    geometry = PatchGeometry(photo_size=(height, width), grid=(rows, columns), shown=(0, 0, height, width))
    return webp_uri(heat_map(photo, values, geometry, scale=scale), side=_SIDE)
