"""Gradients averaged over processes, each of which keeps the whole model."""

import torch
from torch.nn.parallel import DistributedDataParallel

from allmlp.model import MlpMixer
from allmlp.training.distributed.process_group import ProcessGroup

__all__ = ["wrap_ddp"]


def wrap_ddp(model: MlpMixer, ranks: ProcessGroup) -> DistributedDataParallel:
    """Wrap a model so that every backward pass averages its gradients over all processes; all have to call it.

    After its first backward pass torch packs gradients anew, in the order in which they came, and a gradient's place in its
    package decides in which order the processes' parts are summed: on three and more, the first step of a session would have
    other last bits than the same step in a session that started earlier. So one pass that counts for nothing comes first.
    """
    devices = [ranks.device] if ranks.device.startswith("cuda") else None
    replica = DistributedDataParallel(model, device_ids=devices)
    height, width = model.config.image_size
    images = torch.zeros(1, 3, height, width, device=ranks.device)
    replica(images, depth_draws=torch.ones(1, 2 * model.config.num_blocks, device=ranks.device)).sum().backward()
    model.zero_grad()
    return replica
