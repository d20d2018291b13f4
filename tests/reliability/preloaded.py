"""What `allmlp train` imports, for the process that sessions are forked from: seconds, once instead of each time."""

import matplotlib.pyplot  # noqa: F401
import torch._dynamo  # noqa: F401  what torch.optim imports when the first optimizer is made

import allmlp.cli.main
import allmlp.report
import allmlp.training.loop  # noqa: F401
