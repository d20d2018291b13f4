"""Weights, gradients and optimizer state divided among processes (FSDP2), and tensors put together again.

A tensor that is divided is a `DTensor`; one that is not is returned as it is, so that callers need not know which they have.
"""

import sys
from typing import TYPE_CHECKING, TypeGuard

import torch
from torch import Tensor

from allmlp.model import MlpMixer
from allmlp.training.distributed.process_group import ProcessGroup

if TYPE_CHECKING:
    from torch.distributed.tensor import DTensor

__all__ = ["is_divided", "local_part", "part_like", "shard", "whole"]


def shard(model: MlpMixer, ranks: ProcessGroup) -> None:
    """Divide a model that every process has alike: each keeps its rows of each parameter, and gathers a block to compute it."""
    # Not at the top: importing them takes half a second, and one process alone needs neither.
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    mesh = init_device_mesh(torch.device(ranks.device).type, (ranks.count,))
    for block in model.blocks:
        fully_shard(block, mesh=mesh)
    # The root too gives back what it gathered: weights that are changed between two passes must not be passed over.
    fully_shard(model, mesh=mesh, reshard_after_forward=True)


def is_divided(tensor: Tensor) -> TypeGuard["DTensor"]:
    """Return whether each process has only a part of this tensor."""
    module = sys.modules.get("torch.distributed.tensor")  # not imported: there are no DTensors
    return module is not None and isinstance(tensor, module.DTensor)


def whole(tensor: Tensor) -> Tensor:
    """Return a tensor put together from all processes' parts. All have to call it."""
    return tensor.full_tensor() if is_divided(tensor) else tensor


def local_part(tensor: Tensor) -> Tensor:
    """Return what this process has of a tensor."""
    return tensor.to_local() if is_divided(tensor) else tensor


def part_like(tensor: Tensor, parameter: Tensor) -> Tensor:
    """Return a copy of a whole tensor on a parameter's device, divided as the parameter is."""
    if not is_divided(parameter):
        return tensor.to(parameter.device, copy=True)
    from torch.distributed.tensor import distribute_tensor

    placed = tensor.to(parameter.device_mesh.device_type)
    return distribute_tensor(placed, parameter.device_mesh, parameter.placements, src_data_rank=None)
