"""The parts of benchmarks/gpu.py: each file has one function, `measure(settings, save)`, that runs in a process of its own.

`save` takes all figures so far; a part calls it after each of them, so that they are kept if the part fails or takes too long.
"""
