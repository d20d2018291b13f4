"""Commands about run folders: the report of a run, the comparison of several, and likely label errors.

Safe to change: the files of the commands; start reading at the function with the name of the command.
Invariants: a run is only read; photos are moved only by `clean --apply` and `clean --undo`.
To add one: a file here and a line in `COMMANDS` of `cli/main`.
"""
