"""Which engine of an ONNX file in float32 was measured to be the fastest, by processor and size of the Mixer.

benchmarks/engine_table.py writes engine_table.json from the results of benchmarks/speed.py: the seconds of a fresh process that
opens the file and classifies a hundred photos. So an engine that takes long to start must gain that back. The engines were
tuned when they were measured; how they compare with the usual settings was not measured. Files in int8 are not in it: what an
engine answers there was measured only of those that tuning or the export has compared.
"""

import functools
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from allmlp.hardware.processor import known_instruction_sets, vector_instructions
from allmlp.model import MixerConfig, num_multiply_adds

__all__ = ["MeasuredEngines", "measured_engines"]

# A Mixer of up to four times the cost of a measured one, or down to a quarter of it, is taken for one of its size.
_MAX_DOUBLINGS = 2.0


@dataclass(frozen=True, kw_only=True)
class MeasuredEngines:
    """A measurement.

    Attributes:
        vectors: the widest vector instructions of the processor, "avx512" or "avx2".
        gflop_per_image: of the Mixer.
        seconds: by backend.
    """

    vectors: str
    gflop_per_image: float
    seconds: Mapping[str, float]


def measured_engines(config: MixerConfig, vectors: str | None = None) -> MeasuredEngines | None:
    """Return what was measured of the nearest size on such a processor, by default this one; None if nothing near was."""
    here = vector_instructions(known_instruction_sets()) if vectors is None else vectors
    gflop = 2e-9 * num_multiply_adds(config)

    def doublings(entry: MeasuredEngines) -> float:
        return abs(math.log2(gflop / entry.gflop_per_image))

    found = [entry for entry in _entries() if entry.vectors == here and doublings(entry) <= _MAX_DOUBLINGS]
    return min(found, key=doublings, default=None)


@functools.cache
def _entries() -> tuple[MeasuredEngines, ...]:
    content: dict[str, Any] = json.loads(Path(__file__).with_suffix(".json").read_text(encoding="utf-8"))
    return tuple(
        MeasuredEngines(vectors=part["vectors"], gflop_per_image=entry["gflop_per_image"], seconds=entry["seconds"])
        for part in content["measurements"]
        for entry in part["entries"]
    )
