"""The command line: one file a command. It loads no torch: each command imports what it needs when it runs."""
