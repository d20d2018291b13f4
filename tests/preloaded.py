"""What `allmlp train` imports, for the process that those of tests/forks.py are forked from."""

import matplotlib.pyplot  # noqa: F401
import torch._dynamo
import torch.distributed.fsdp
import torch.distributed.run  # noqa: F401  what starts the processes of a job

import allmlp.cli.main
import allmlp.report
import allmlp.training.several_runs.training_run  # noqa: F401
