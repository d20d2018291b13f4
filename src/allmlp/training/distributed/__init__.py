"""Distributed training: several processes train one model.

Safe to change: `process_group` (collectives), `sharding` (FSDP2), `data_parallel` (DDP), `speaker` (who reports errors).
Invariants: only the first process writes and reports; values that affect control flow are gathered on all processes first.
To add one: a value that must be the same on all processes is a fact in `consistency`.
"""
