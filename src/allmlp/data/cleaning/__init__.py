"""Changes to a user's folder of photos after a search for label errors: photos that are moved to another class or removed.

Safe to change: `choices` (the table of label errors), `plan` (which file goes where), `moves` (moving, the log, undoing it).
Invariants: nothing is overwritten or deleted; the log has a line for a move before the file moves, so that all can be undone.
To add one: an action is a name in `ACTIONS` and its target in `plan`.
"""
