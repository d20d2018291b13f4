"""Several processes that train as one.

Touch: `process_group` (who is there, what is gathered), `sharding` (FSDP2), `data_parallel` (DDP), `speaker` (who reports).
Do not touch: the first process alone writes and speaks; what decides is gathered first, so that all processes decide alike.
A new one: whatever processes must agree on is a fact in `consistency`.
"""
