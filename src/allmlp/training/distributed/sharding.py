"""Sharding of weights, gradients and optimizer state across processes (FSDP2), and conversion to and from full tensors.

A sharded tensor is a `DTensor`. The conversions return any other tensor unchanged, so that callers need not distinguish them.
"""

import sys
from typing import TYPE_CHECKING, TypeGuard

import torch
from torch import Tensor

from allmlp.model import MlpMixer
from allmlp.training.distributed.process_group import ProcessGroup

if TYPE_CHECKING:
    from torch.distributed.tensor import DTensor

__all__ = ["full_tensor", "is_sharded", "local_tensor", "shard", "shard_like"]


def shard(model: MlpMixer, ranks: ProcessGroup) -> None:
    """Shard a model that all processes hold: each keeps its rows of every parameter and gathers one block at a time."""
    # Imported here: it takes half a second, and a single process does not need them.
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    mesh = init_device_mesh(torch.device(ranks.device).type, (ranks.count,))
    for block in model.blocks:
        fully_shard(block, mesh=mesh)
    # The root reshards as well, so that weights changed between two forward passes take effect.
    fully_shard(model, mesh=mesh, reshard_after_forward=True)


def is_sharded(tensor: Tensor) -> TypeGuard["DTensor"]:
    """Return whether each process holds only a part of this tensor."""
    module = sys.modules.get("torch.distributed.tensor")  # if it was never imported, there are no DTensors
    return module is not None and isinstance(tensor, module.DTensor)


def full_tensor(tensor: Tensor) -> Tensor:
    """Return a tensor gathered from the parts of all processes, which must all call this."""
    return tensor.full_tensor() if is_sharded(tensor) else tensor


def local_tensor(tensor: Tensor) -> Tensor:
    """Return this process's part of a tensor."""
    return tensor.to_local() if is_sharded(tensor) else tensor


def shard_like(tensor: Tensor, parameter: Tensor) -> Tensor:
    """Return a copy of a full tensor on the device of a parameter, sharded like the parameter."""
    if not is_sharded(parameter):
        return tensor.to(parameter.device, copy=True)
    from torch.distributed.tensor import distribute_tensor

    on_device = tensor.to(parameter.device_mesh.device_type)
    return distribute_tensor(on_device, parameter.device_mesh, parameter.placements, src_data_rank=None)
