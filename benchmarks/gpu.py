"""Everything that needs a GPU, in one command of under 8 minutes. Results go to results/gpu.json.

    python benchmarks/gpu.py
    python benchmarks/gpu.py --device cpu --quick --out FILE

The second command runs the same code with tiny Mixers on a CPU, within a minute, to test it.

Each part runs in a process of its own with a time limit. If it fails, is killed or takes too long, its error is recorded next
to the figures that it had until then, and the other parts go on.
"""

import argparse
import json
import multiprocessing
import os
import signal
import sys
import tempfile
import time
import traceback
from pathlib import Path

RESULT = Path(__file__).parent / "results" / "gpu.json"

# The time limits, in seconds; together under 8 minutes.
PARTS = {"logits": 75, "inference": 160, "training": 55, "processes": 60, "resume": 60, "feeding": 40}
_DEVICE_SECONDS = 25
_QUICK_SECONDS = 600  # only against processes that hang, on a CPU of any speed
_KILL_SECONDS = 5.0


def describe_device(settings, save):
    """Save the environment and the device; raises ConfigError if the device is not available."""
    import torch

    from allmlp.hardware.devices import choose_device
    from allmlp.provenance import environment

    device = choose_device(settings.device)
    facts = {"environment": environment(device)}
    if device == "cuda":
        torch.zeros(1, device=device)
        properties = torch.cuda.get_device_properties(0)
        facts["gpu"] = {
            "name": properties.name,
            "count": torch.cuda.device_count(),
            "memory_gibibytes": round(properties.total_memory / 2**30, 1),
            "compute_capability": f"{properties.major}.{properties.minor}",
            "cuda": torch.version.cuda,
            "nccl": ".".join(map(str, torch.cuda.nccl.version())),
        }
    save(facts)


def import_for_forks():
    """Import what takes seconds, once for all parts. None of it initialises CUDA."""
    import torch._dynamo
    import torch.distributed.fsdp
    import torch.distributed.tensor

    import allmlp.training.several_runs.training_run  # noqa: F401

    assert not torch.cuda.is_initialized()


def in_process(function, settings, folder):
    """Run a part in a new process and return its figures, with "error" if it did not end well, and its seconds."""
    figures, errors = folder / "figures.json", folder / "error.txt"
    for path in (figures, errors):
        path.unlink(missing_ok=True)
    # Forked, because importing torch takes seconds; this process never uses the GPU, which would not survive it.
    process = multiprocessing.get_context("fork").Process(target=_child, args=(function, settings, figures, errors))
    started = time.monotonic()
    process.start()
    try:
        process.join(settings.seconds)
        is_late = process.exitcode is None
    finally:  # Ctrl-C, too, ends the part
        _end(process)
    found = json.loads(figures.read_text()) if figures.exists() else {}
    if is_late:
        found["error"] = f"it took longer than {settings.seconds:g} s and was ended; the figures are those until then"
    elif errors.exists():
        found["error"] = errors.read_text()
    elif process.exitcode != 0:
        found["error"] = f"its process ended with exit code {process.exitcode}"
    return {**found, "seconds": round(time.monotonic() - started, 1)}


def _end(process):
    """End a part and whatever it started: it leads a group of processes."""
    if process.exitcode is None:
        try:
            os.killpg(process.pid, signal.SIGKILL)
        except ProcessLookupError:  # it has no group yet
            process.kill()
    process.join(_KILL_SECONDS)


def _child(function, settings, figures, errors):
    from allmlp.errors import AllmlpError

    os.setsid()

    def save(found):
        partial = figures.with_suffix(".part")
        partial.write_text(json.dumps(found))
        partial.replace(figures)  # a killed part leaves a whole file

    try:
        function(settings, save)
    except BaseException as error:
        if not isinstance(error, AllmlpError):  # its message says what to do
            traceback.print_exc()
        errors.write_text(f"{type(error).__name__}: {error}"[:1000])
        sys.exit(1)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda", choices=("cuda", "cpu"))
    parser.add_argument("--quick", action="store_true", help="tiny Mixers; the figures mean nothing")
    parser.add_argument("--parts", nargs="+", default=list(PARTS), choices=list(PARTS))
    parser.add_argument("--out", type=Path, help=f"default: {RESULT.name} in results/; none with --quick or on a CPU")
    arguments = parser.parse_args()
    # Without it, the question whether there is a GPU would initialise CUDA, and no forked process could use it.
    os.environ.setdefault("PYTORCH_NVML_BASED_CUDA_CHECK", "1")

    from allmlp.io.atomic_write import write_json

    import_for_forks()
    from gpu_parts import feeding, inference, logits, processes, resume, training
    from gpu_parts.settings import Settings

    modules = (logits, inference, training, processes, resume, feeding)
    functions = {module.__name__.rpartition(".")[2]: module.measure for module in modules}
    is_real = arguments.device == "cuda" and not arguments.quick
    out = arguments.out or (RESULT if is_real else None)

    def run(function, seconds):
        limit = _QUICK_SECONDS if arguments.quick else seconds
        settings = Settings(device=arguments.device, is_quick=arguments.quick, seconds=limit)
        return in_process(function, settings, folder)

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        described = run(describe_device, _DEVICE_SECONDS)
        if "error" in described:
            sys.exit(f"The device {arguments.device} cannot be used. {described['error']}")
        command = "python benchmarks/gpu.py" + "".join(f" {word}" for word in _options(arguments))
        result = {"environment": {**described["environment"], "command": command}, "is_quick": arguments.quick}
        result |= {"gpu": described.get("gpu"), "parts": {}}
        for part in arguments.parts:
            print(part, flush=True)
            result["parts"][part] = found = run(functions[part], PARTS[part])
            print(f"  {found.get('error', 'ok')}, {found['seconds']:.0f} s", flush=True)
            if out is not None:
                write_json(out, result)
    failed = [part for part, found in result["parts"].items() if "error" in found]
    print("wrote" if out else "nothing was written; choose a file with --out", out or "")
    if failed:
        sys.exit(f"failed: {', '.join(failed)}")


def _options(arguments):
    device = [] if arguments.device == "cuda" else ["--device", arguments.device]
    parts = [] if arguments.parts == list(PARTS) else ["--parts", *arguments.parts]
    return [*device, *(["--quick"] if arguments.quick else []), *parts]


if __name__ == "__main__":
    main()
