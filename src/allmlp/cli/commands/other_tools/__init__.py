"""Commands that hand a model to other programs (convert, export, push), and bench, search and study.

Safe to change: the files of the commands; start reading at the function with the name of the command.
Invariants: nothing is overwritten, and what the other form cannot hold is reported.
To add one: a file here and a line in `COMMANDS` of `cli/main`.
"""
