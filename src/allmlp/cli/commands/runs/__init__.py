"""Commands about run folders: the report of a run, and the comparison of several.

Safe to change: the files of the commands; start reading at the function with the name of the command.
Invariants: a run is only read; the page is all that is written.
To add one: a file here and a line in `COMMANDS` of `cli/main`.
"""
