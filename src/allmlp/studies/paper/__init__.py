"""The studies of the paper, and beyond it: one per file.

Safe to change: the arms of a study, its table, its plot and the rule of its sentence.
Invariants: claims are the paper's; nothing is chosen on the scored photos; a sentence is computed from the figures.
To add one: a file that defines `STUDY`, and a line in `registry.STUDIES`.
"""
