"""The training step: loss, optimizer, schedule, and the state that they update.

Touch: `update` (the step itself), `optimizer`, `loss`, `schedule`.
Do not touch: `TrainState` holds everything that the next step depends on; no other object may hold any of it.
A new one: an optimizer is a case in `optimizer`; all of its state must be in `tensors()`.
"""
