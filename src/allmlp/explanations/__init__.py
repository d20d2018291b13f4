"""Explanations: contributions of patches to logits, what an answer depends on, what each block would say, pictures of weights.

Safe to change: `pictures`, `occlusion`, `weight_analysis`. (Not `explain`: that is the public function.)
Invariants: bias + the sum of contributions = logit, on every backend; exports are explained without torch. The rule of
    `opposing_pairs`, which the results in docs/ follow.
To add one: a backend's contributions are a function in `engines`, and a line in `contributions.READERS`.
"""

from allmlp.explanations.class_maps import MAX_MAPPED_CLASSES, ClassMap
from allmlp.explanations.contributions import gives_contributions
from allmlp.explanations.explainer import NUM_EXPLAINED_CLASSES, Explainer, PreparedPhoto, explain
from allmlp.explanations.explanation import Explanation
from allmlp.explanations.geometry import PatchGeometry
from allmlp.explanations.opposing_pairs import MAX_PAIR_COSINE, OpposingPairs
from allmlp.explanations.pictures import AGAINST_COLOUR, FOR_COLOUR, heat_map, occlusion_scale, overlay
from allmlp.explanations.weight_analysis import (
    HiddenUnits,
    PatchFilters,
    WeightAnalysis,
    WeightPictures,
    analyse_weights,
)

__all__ = [
    "AGAINST_COLOUR",
    "FOR_COLOUR",
    "MAX_MAPPED_CLASSES",
    "MAX_PAIR_COSINE",
    "NUM_EXPLAINED_CLASSES",
    "ClassMap",
    "Explainer",
    "Explanation",
    "HiddenUnits",
    "OpposingPairs",
    "PatchFilters",
    "PatchGeometry",
    "PreparedPhoto",
    "WeightAnalysis",
    "WeightPictures",
    "analyse_weights",
    "explain",
    "gives_contributions",
    "heat_map",
    "occlusion_scale",
    "overlay",
]
