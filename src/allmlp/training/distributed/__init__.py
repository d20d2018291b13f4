"""Several processes that train as one.

Touch: `process_group` (who is there, what is gathered), `sharding` (FSDP2), `data_parallel` (DDP).
Do not touch: what decides is gathered first, so that all processes decide alike.
A new one: whatever processes must agree on is a fact in `consistency`.
"""
