"""Commands that hand a checkpoint to others: to another library, to another engine, to the Hub.

Safe to change: the files of the commands; start reading at the function with the name of the command.
Invariants: nothing is overwritten, and what the other form cannot hold is reported.
To add one: a file here and a line in `COMMANDS` of `cli/main`.
"""
