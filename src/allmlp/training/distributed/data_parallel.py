"""Data-parallel training (DDP): every process holds the whole model, and gradients are averaged."""

import torch
from torch.nn.parallel import DistributedDataParallel

from allmlp.model import MlpMixer
from allmlp.training.distributed.process_group import ProcessGroup

__all__ = ["wrap_ddp"]


def wrap_ddp(model: MlpMixer, ranks: ProcessGroup) -> DistributedDataParallel:
    """Wrap a model so that every backward pass averages its gradients over all processes, which must all call this.

    After the first backward pass torch rebuilds its gradient buckets in the order in which the gradients arrived, and the
    position of a gradient in its bucket determines the order in which the processes' values are summed. With three or more
    processes, the first step of a session would therefore differ in the last bits from the same step in a session that
    started earlier. A dummy backward pass avoids this.
    """
    devices = [ranks.device] if ranks.device.startswith("cuda") else None
    replica = DistributedDataParallel(model, device_ids=devices)
    height, width = model.config.image_size
    images = torch.zeros(1, 3, height, width, device=ranks.device)
    replica(images, depth_draws=torch.ones(1, 2 * model.config.num_blocks, device=ranks.device)).sum().backward()
    model.zero_grad()
    return replica
