"""Float32Muon against torch's own Muon, which is made to compute in float64 for it, and against its bfloat16."""

import contextlib

import pytest
import torch
from tests.forks import run_torchrun
from tests.reference.muon_float64 import in_float64
from torch import nn

from allmlp.hardware.devices import has_native_bfloat16
from allmlp.training.step.muon import Float32Muon, muon_class, orthogonalize

SETTINGS = {"lr": 0.05, "momentum": 0.8, "weight_decay": 0.3}
# Tall, wide and square ones, several of one shape, and one that is the transpose of another's shape.
SHAPES = [
    (64, 16),
    (16, 64),
    (16, 64),
    (128, 128),
    (5, 7),
    (7, 5),
    (1, 9),
    (128, 512),
    (512, 128),
    (512, 400),
    (400, 512),
]


def stepped(optimizer_class, context, *, num_steps=3):
    """Return parameters after some steps with the same gradients, of which one parameter has none."""
    generator = torch.Generator().manual_seed(0)
    parameters = [nn.Parameter(torch.randn(shape, generator=generator)) for shape in SHAPES]
    idle = nn.Parameter(torch.ones(3, 3))
    groups = [{"params": [*parameters[:3], idle]}, {"params": parameters[3:], "lr": 0.02}]
    optimizer = optimizer_class(groups, **SETTINGS)
    for _ in range(num_steps):
        for parameter in parameters:
            parameter.grad = torch.randn(parameter.shape, generator=generator)
        with context():
            optimizer.step()
    return parameters, idle, optimizer


def test_steps_are_torchs_up_to_the_rounding_of_float32():
    ours, our_idle, _ = stepped(Float32Muon, contextlib.nullcontext)
    theirs, their_idle, _ = stepped(torch.optim.Muon, in_float64)
    for our, their in zip(ours, theirs, strict=True):
        assert torch.allclose(our, their, rtol=1e-5, atol=2e-6), our.shape
    assert torch.equal(our_idle, their_idle)


def test_steps_are_torchs_up_to_the_rounding_of_bfloat16():
    ours, _, _ = stepped(Float32Muon, contextlib.nullcontext)
    theirs, _, _ = stepped(torch.optim.Muon, contextlib.nullcontext)
    start, _, _ = stepped(torch.optim.Muon, contextlib.nullcontext, num_steps=0)
    for our, their, first in zip(ours, theirs, start, strict=True):
        # 8 bits of mantissa, through five iterations: seen 1 to 3 % of the step.
        assert (our - their).norm() < 0.05 * (their - first).norm(), our.shape


def test_what_it_remembers_is_what_torchs_remembers():
    """A run may be resumed on a machine of the other kind."""
    _, _, ours = stepped(Float32Muon, contextlib.nullcontext)
    _, _, theirs = stepped(torch.optim.Muon, contextlib.nullcontext)
    mine, other = ours.state_dict()["state"], theirs.state_dict()["state"]
    assert mine.keys() == other.keys()
    for index, entries in other.items():
        assert mine[index].keys() == entries.keys() == {"momentum_buffer"}
        assert torch.allclose(mine[index]["momentum_buffer"], entries["momentum_buffer"], rtol=1e-6, atol=1e-7)


def test_each_matrix_of_a_batch_is_orthogonalised_as_if_alone():
    scales = torch.tensor([1e-6, 1.0, 1e4, 0.0])[:, None, None]
    matrices = scales * torch.randn(4, 6, 20, generator=torch.Generator().manual_seed(1))
    options = {"coefficients": (3.4445, -4.7750, 2.0315), "num_steps": 5, "eps": 1e-7}
    together = orthogonalize(matrices, **options)
    for index, matrix in enumerate(matrices):
        assert torch.allclose(together[index], orthogonalize(matrix[None], **options)[0], rtol=1e-5, atol=1e-6)
    singular = torch.linalg.svdvals(together[:3])
    assert singular.max() < 1.3 and singular.min() > 0.3
    assert not together[3].any()


def test_a_closure_is_refused():
    with pytest.raises(ValueError, match="a closure is not supported"):
        Float32Muon([nn.Parameter(torch.ones(2, 2))]).step(lambda: 0.0)


@pytest.mark.parametrize(
    ("features", "chosen"),
    [
        ({"avx2": True}, Float32Muon),
        ({"avx2": True, "avx512_f": True}, Float32Muon),
        ({"avx2": True, "avx512_bf16": True}, torch.optim.Muon),
        ({"amx_bf16": True}, torch.optim.Muon),
        ({"bf16": True}, torch.optim.Muon),
        ({}, Float32Muon),
    ],
)
def test_torchs_own_runs_where_bfloat16_is_native(monkeypatch, features, chosen):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: features)
    assert has_native_bfloat16("cpu") is (chosen is torch.optim.Muon)
    assert muon_class("cpu") is chosen


# Each of two processes has some rows of every matrix; a third matrix has too few rows for both.
DIVIDED = """
import torch, torch.distributed as dist
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import DTensor, Shard, distribute_tensor
from allmlp.training.step.muon import Float32Muon

dist.init_process_group("gloo")
mesh = init_device_mesh("cpu", (2,))
generator = torch.Generator().manual_seed(0)
whole = [nn.Parameter(torch.randn(shape, generator=generator)) for shape in ((7, 4), (4, 7), (1, 5))]
parts = [nn.Parameter(distribute_tensor(value.detach().clone(), mesh, [Shard(0)])) for value in whole]
optimizers = [Float32Muon(values, lr=0.05, momentum=0.8, weight_decay=0.3) for values in (whole, parts)]
for _ in range(3):
    for value, part in zip(whole, parts):
        value.grad = torch.randn(value.shape, generator=generator)
        part.grad = distribute_tensor(value.grad.clone(), mesh, [Shard(0)])
    for optimizer in optimizers:
        optimizer.step()
for value, part in zip(whole, parts):
    assert isinstance(part, DTensor) and isinstance(optimizers[1].state[part]["momentum_buffer"], DTensor)
    assert torch.allclose(part.full_tensor(), value, rtol=1e-6, atol=1e-7), (part.full_tensor(), value)
dist.destroy_process_group()
"""


def test_matrices_that_are_divided_among_processes_step_as_whole_ones(tmp_path):
    (tmp_path / "divided.py").write_text(DIVIDED)
    done = run_torchrun(2, "divided.py", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
