"""Distributed training: several processes train one model.

Touch: `process_group` (ranks and collectives), `sharding` (FSDP2), `data_parallel` (DDP), `speaker` (who reports errors).
Do not touch: only the first process writes and reports; values that affect control flow are gathered on all processes first.
A new one: a value that must be the same on all processes is a fact in `consistency`.
"""
