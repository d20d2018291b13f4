"""Resources of this machine: devices, instruction sets, memory.

Safe to change: the modules, each of which is imported by its own name (`allmlp.hardware.memory`).
Invariants: nothing here reads the settings of a recipe, or any files but the kernel's.
To add one: one file per resource, with a function that queries the operating system or torch and caches nothing.
"""
