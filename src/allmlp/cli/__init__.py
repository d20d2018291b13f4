"""The command line, which starts without torch: each command imports what it needs when it runs.

Safe to change: `commands` (one file per command), `arguments` (what commands share), `console` and `progress` (output).
Invariants: exit codes and JSON keys, which scripts rely on.
To add one: a file in `commands` and its name in `main`; logic belongs in a library package, not here.
"""
