"""The command line, which starts without torch: each command imports what it needs when it runs.

Safe to change: `commands` (one file per command), `arguments` (options that commands share), `outputs` (what they
    write and print), `console` and `progress` (lines and bars).
Invariants: exit codes and JSON keys, which scripts rely on.
To add one: a file in `commands` and its name in `main`; logic belongs in a library package, not here.
"""
