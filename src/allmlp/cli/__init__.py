"""The command line, which starts without torch: each command imports what it needs when it runs.

Touch: `commands` (one file per command), `arguments` (what commands share), `console` and `progress` (how output looks).
Do not touch: exit codes and JSON keys, which scripts rely on.
A new one: a file in `commands` and its name in `main`; logic belongs in a library package, not here.
"""
