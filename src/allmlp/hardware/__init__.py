"""What this machine has: devices, instruction sets, memory.

Touch: the modules themselves; each is imported by its own name (`allmlp.hardware.memory`).
Do not touch: no setting of a recipe is read here, and no file but the kernel's.
A new one: a file for one resource, with a function that asks the operating system or torch and caches nothing.
"""
