"""Quality of a data set: what would hurt training or deserves a look, found by reading every photo once.

Safe to change: `findings` and `file_findings` (one function per kind of finding), `copy_findings`, and the thresholds in
`findings`, `file_findings` and `near_duplicates`, each with a test.
Invariants: functions return findings and never print; nothing of the user's is changed; the cache of facts is untrusted.
To add one: a function in `findings` or `file_findings`, a line in its table, and a planted example in the tests.
"""
