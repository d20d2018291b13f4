"""Consistency check before distributed training: all processes need the same recipe, photos, versions and code."""

import hashlib
import platform
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy
import PIL
import torch
import torch.distributed as dist

import allmlp
from allmlp.checkpoints import Checkpoint
from allmlp.config import to_dict
from allmlp.data import ImageDataset, Split
from allmlp.errors import ConfigError
from allmlp.hardware.devices import has_native_bfloat16
from allmlp.io.display import escape, shorten
from allmlp.training.distributed.process_group import ProcessGroup
from allmlp.training.recipe.recipe import ResolvedRecipe
from allmlp.training.stored_run import StoredRun

__all__ = ["check_consistent", "facts_of", "photos_fact", "weights_fact"]

_MAX_SHOWN = 20


def facts_of(
    recipe: ResolvedRecipe,
    dataset: ImageDataset,
    path: Path,
    stored: StoredRun | None,
    checkpoint: Checkpoint | None,
    *,
    device: str,
) -> dict[str, str]:
    """Return the facts that determine the result of a run, as text by name.

    `dataset` includes the validation split, `checkpoint` is the initial checkpoint of a new run, and `device` is the device of
    this process.
    """
    facts = {f"recipe: {name}": str(value) for name, value in _flat(to_dict(recipe), "").items()}
    facts |= {f"photos: {name}": _photos(split) for name, split in dataset.splits.items()}
    facts |= {} if checkpoint is None else weights_fact(checkpoint)
    facts["classes"] = ", ".join(map(escape, dataset.class_names))
    if recipe.optimizer.name == "muon":  # on different CPUs the replicas would drift apart
        facts["Muon orthogonalises in"] = "bfloat16" if has_native_bfloat16(device) else "float32"
    facts["run folder"] = f"{path.name} ({'new' if stored is None else 'existing'})"
    facts |= {"Python": platform.python_version(), "torch": torch.__version__, "numpy": numpy.__version__}
    return facts | {"pillow": PIL.__version__, "allmlp": f"{allmlp.__version__}, code {_code()}"}


def check_consistent(ranks: ProcessGroup, facts: Mapping[str, str]) -> None:
    """Compare the facts of all processes.

    Raises:
        ConfigError: on all processes, with every fact in which a process differs from the first.
    """
    if ranks.count == 1:
        return
    gathered: list[Any] = [None] * ranks.count
    dist.all_gather_object(gathered, dict(facts))
    differences = [
        f"{name}: {_shown(gathered[0].get(name))} on process 0, {_shown(other.get(name))} on process {rank}"
        for rank, other in enumerate(gathered)
        for name in sorted({*gathered[0], *other})
        if gathered[0].get(name) != other.get(name)
    ]
    if differences:
        more = [f"and {len(differences) - _MAX_SHOWN:,} more"] if len(differences) > _MAX_SHOWN else []
        with ranks.raise_on_all():
            raise ConfigError(
                "The processes would not train the same model. These differ:\n  "
                + "\n  ".join(differences[:_MAX_SHOWN] + more)
                + "\nStart all processes with the same command, photos and versions, and with the same run folder on a disk "
                "that all of them share."
            )


def _photos(split: Split) -> str:
    digest = hashlib.sha256("\0".join(split.sample_ids).encode("utf-8", "surrogateescape"))
    digest.update(split.labels.astype("<i8").tobytes())
    return f"{len(split):,}, names and labels {digest.hexdigest()[:12]}"


def weights_fact(checkpoint: Checkpoint) -> dict[str, str]:
    """Return the fact that identifies the weights of a checkpoint: a digest."""
    digest = hashlib.sha256()
    for name, value in sorted(checkpoint.weights.items()):
        digest.update(name.encode() + value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return {"initial weights": digest.hexdigest()[:12]}


def photos_fact(digests: Mapping[str, Sequence[str]]) -> dict[str, str]:
    """Return the fact that identifies the bytes of all photos, given their digests by split."""
    digest = hashlib.sha256()
    for name, values in sorted(digests.items()):
        digest.update("\0".join([name, *values]).encode())
    return {"content of the photos": digest.hexdigest()[:12]}


def _code() -> str:
    """Return a digest of the package's source code on this machine."""
    folder = Path(__file__).parents[2]
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*.py")):
        digest.update(f"{path.relative_to(folder).as_posix()}\0".encode() + path.read_bytes())
    return digest.hexdigest()[:12]


def _flat(values: Mapping[str, Any], prefix: str) -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in values.items():
        flat |= _flat(value, f"{prefix}{name}.") if isinstance(value, dict) else {f"{prefix}{name}": value}
    return flat


def _shown(value: str | None) -> str:
    return "none" if value is None else shorten(value, 80)
