"""One training step: loss, optimizer, schedule, and the state that they change.

Touch: `update` (the step itself), `optimizer`, `loss`, `schedule`.
Do not touch: `TrainState` holds everything that the next step depends on; nothing else may.
A new one: an optimizer is a case in `optimizer`; whatever it remembers must be in `tensors()`.
"""
