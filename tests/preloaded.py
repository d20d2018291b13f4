"""What `allmlp train` imports, for the process that those of tests/forks.py are forked from."""

# ruff: noqa: F401
import matplotlib.pyplot
import pydantic.type_adapter  # typer imports it when it reads the first option
import rich.console
import torch._dynamo
import torch.distributed.fsdp
import torch.distributed.run  # what starts the processes of a job

import allmlp.cli.main
import allmlp.recipes
import allmlp.report
import allmlp.training.length.estimate
import allmlp.training.several_runs.training_run
from allmlp.report.rendering import _environment

for _name in _environment().list_templates(extensions=["html"]):
    _environment().get_template(_name)  # compiles it, which takes each process longer than to draw the plots of a run
