"""Resources of this machine: devices, instruction sets, memory.

Touch: the modules, each of which is imported by its own name (`allmlp.hardware.memory`).
Do not touch: nothing here reads the settings of a recipe, or any files but the kernel's.
A new one: one file per resource, with a function that queries the operating system or torch and caches nothing.
"""
