"""Explanations: what each patch of a photo contributes to each logit, what an answer depends on, and what each block would say.

Safe to change: `pictures`, `occlusion`. (Not `explain`: that is the public function.)
Invariants: bias + the sum of contributions = logit, on every backend; exports are explained without torch.
To add one: a backend's contributions are a function in `engines`, and a line in `contributions.READERS`.
"""

from allmlp.explanations.class_maps import MAX_MAPPED_CLASSES, ClassMap
from allmlp.explanations.contributions import gives_contributions
from allmlp.explanations.explainer import Explainer, explain
from allmlp.explanations.explanation import Explanation
from allmlp.explanations.geometry import PatchGeometry
from allmlp.explanations.pictures import AGAINST_COLOUR, FOR_COLOUR, heat_map, occlusion_scale, overlay

__all__ = [
    "AGAINST_COLOUR",
    "FOR_COLOUR",
    "MAX_MAPPED_CLASSES",
    "ClassMap",
    "Explainer",
    "Explanation",
    "PatchGeometry",
    "explain",
    "gives_contributions",
    "heat_map",
    "occlusion_scale",
    "overlay",
]
