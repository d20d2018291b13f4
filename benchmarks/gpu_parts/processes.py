"""Losses of several processes, DDP and FSDP2, against those of a single one: NCCL on GPUs, gloo on CPUs.

With one GPU, there is one process, which still averages its gradients over NCCL (DDP) and gathers its shards (FSDP2). With two,
two processes run as `torchrun` starts them.
"""

import multiprocessing
import os
import socket
import time

from gpu_parts.settings import Settings, one_process

_NUM_STEPS = 8
_BATCH_SIZE = 32
_TIMEOUT = 60.0  # seconds for one set of processes
_ALONE = "one process, no group"


def measure(settings: Settings, save):
    """Save the losses by precision and way to train, and their largest relative difference from those of one process."""
    figures = {"num_devices": _run(_num_devices, 1, settings)[0], "losses": {}}
    ways = {_ALONE: (_alone, 1), "DDP, 1 process": (_ddp_group_of_one, 1), "FSDP2, 1 process": (_fsdp_group_of_one, 1)}
    if figures["num_devices"] >= 2:
        ways |= {"DDP, 2 processes": (_ddp, 2), "FSDP2, 2 processes": (_fsdp, 2)}
    else:
        figures["left_out"] = "two processes: there is one device"
    for precision in ("float32", "bfloat16"):
        found = figures["losses"][precision] = {}
        for name, (train, count) in ways.items():
            try:
                losses = _run(train, count, settings, precision)
            except RuntimeError as error:
                found[name] = {"error": str(error)}
            else:
                found[name] = {"losses": losses[0], **_compared(losses, found.get(_ALONE, {}).get("losses"))}
            save(figures)


def _compared(losses, expected):
    if expected is None:
        return {}
    differences = [abs(a - b) / abs(b) for values in losses for a, b in zip(values, expected, strict=True)]
    return {"largest_relative_difference": float(f"{max(differences):.3g}")}


def _run(function, count, settings, *arguments):
    """Return what a function returns in each of `count` new processes, called with the settings, its rank and the arguments.

    Raises:
        RuntimeError: a process failed, died, or took too long.
    """
    context = multiprocessing.get_context("fork")  # this process has not used the GPU
    port = _free_port()
    started = []
    for rank in range(count):
        receiver, sender = context.Pipe(duplex=False)
        described = {
            "RANK": rank,
            "LOCAL_RANK": rank,
            "WORLD_SIZE": count,
            "MASTER_ADDR": "127.0.0.1",
            "MASTER_PORT": port,
        }
        process = context.Process(target=_child, args=(function, settings, rank, arguments, described, sender))
        process.start()
        sender.close()
        started.append((process, receiver))
    deadline = time.monotonic() + _TIMEOUT
    try:
        return [_answer(process, receiver, deadline) for process, receiver in started]
    finally:
        for process, _ in started:
            process.join(max(0.0, min(5.0, deadline - time.monotonic())))
            process.kill()
            process.join()


def _answer(process, receiver, deadline):
    if not receiver.poll(max(0.0, deadline - time.monotonic())):
        raise RuntimeError(f"no answer within {_TIMEOUT:.0f} s")
    try:
        is_result, value = receiver.recv()
    except EOFError:
        process.join(5)
        raise RuntimeError(f"a process died with exit code {process.exitcode}") from None
    if not is_result:
        raise RuntimeError(value)
    return value


def _child(function, settings, rank, arguments, described, sender):
    os.environ.update({name: str(value) for name, value in described.items()}, ALLMLP_TIMEOUT_S="60")
    os.environ.pop("TORCHELASTIC_USE_AGENT_STORE", None)
    try:
        sender.send((True, function(settings, rank, *arguments)))
    except BaseException as error:  # it is the parent's to report
        sender.send((False, f"{type(error).__name__}: {error}"[:500]))


def _free_port():
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


def _num_devices(settings, _):
    import torch

    return torch.cuda.device_count() if settings.device == "cuda" else 2


def _recipe(settings, precision, *, is_sharded=False):
    from allmlp.training import OptimizerConfig, Recipe

    return Recipe(
        name="gpu",
        model=settings.config("S/16"),
        num_epochs=1,
        batch_size=_BATCH_SIZE,
        optimizer=OptimizerConfig(name="adamw", learning_rate=3e-3, clip_norm=1.0),
        precision=precision,
        sharded=is_sharded,
    )


def _alone(settings, _, precision):
    from allmlp.training import TrainState

    ranks, recipe = one_process(settings.device), _recipe(settings, precision)
    state = TrainState(recipe, ranks)
    return _losses(state, state.model, recipe, ranks)


def _ddp(settings, _, precision):
    from allmlp.training import TrainState, join_ranks
    from allmlp.training.distributed.data_parallel import wrap_ddp

    recipe = _recipe(settings, precision)
    with join_ranks(settings.device) as ranks:
        state = TrainState(recipe, ranks)
        return _losses(state, wrap_ddp(state.model, ranks), recipe, ranks)


def _fsdp(settings, _, precision):
    from allmlp.training import TrainState, join_ranks

    recipe = _recipe(settings, precision, is_sharded=True)
    with join_ranks(settings.device) as ranks:
        state = TrainState(recipe, ranks)
        assert state.is_sharded
        return _losses(state, state.model, recipe, ranks)


def _ddp_group_of_one(settings, _, precision):
    """As `_ddp`, with a process group, which allmlp does not make for one process."""
    from allmlp.training import TrainState
    from allmlp.training.distributed.data_parallel import wrap_ddp

    ranks, recipe = _group_of_one(settings), _recipe(settings, precision)
    state = TrainState(recipe, ranks)
    return _losses(state, wrap_ddp(state.model, ranks), recipe, ranks)


def _fsdp_group_of_one(settings, _, precision):
    """As `_fsdp`: a sharded state, which allmlp does not make for one process."""
    from allmlp.training import TrainState
    from allmlp.training.distributed.sharding import shard
    from allmlp.training.step.optimizer import Optimizer

    ranks, recipe = _group_of_one(settings), _recipe(settings, precision)
    state = TrainState(recipe, ranks)
    shard(state.model, ranks)
    state.optimizer = Optimizer(state.model, recipe.optimizer)
    state.is_sharded = True
    return _losses(state, state.model, recipe, ranks)


def _group_of_one(settings):
    import torch
    import torch.distributed as dist

    is_cuda = settings.device == "cuda"
    if is_cuda:
        torch.cuda.set_device(0)
    store = dist.TCPStore("127.0.0.1", 0, world_size=1, is_master=True)
    dist.init_process_group("nccl" if is_cuda else "gloo", store=store, rank=0, world_size=1)
    return one_process("cuda:0" if is_cuda else "cpu")


def _losses(state, model, recipe, ranks):
    """Return the losses of a few steps on the same random images, of which each process computes its part.

    The losses fall by much more than rounding, so that a gradient that is not averaged shows.
    """
    import numpy as np
    import torch

    from allmlp.training import TrainingBatch, update

    generator = torch.Generator().manual_seed(0)
    part = ranks.part(recipe.batch_size)
    images = torch.randn(recipe.batch_size, 3, *recipe.model.image_size, generator=generator)[part]
    classes = torch.randint(0, recipe.model.num_classes, (recipe.batch_size,), generator=generator)[part]
    labels = torch.nn.functional.one_hot(classes, recipe.model.num_classes).float()
    batch = TrainingBatch(images.to(ranks.device), labels.to(ranks.device), None, np.zeros(0, np.uint64))
    return [update(state, model, batch, recipe, 1.0, ranks=ranks) for _ in range(_NUM_STEPS)]
