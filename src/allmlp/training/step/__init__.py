"""The training step: loss, optimizer, schedule, and the state that they update.

Safe to change: `update` (the step itself), `optimizer`, `loss`, `schedule`.
Invariants: `TrainState` holds everything that the next step depends on; no other object may hold any of it.
To add one: an optimizer is a case in `optimizer`; all of its state must be in `tensors()`.
"""
