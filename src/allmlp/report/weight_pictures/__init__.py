"""Pictures of weights: token-mixing units and patch filters, next to those of an untrained Mixer (`allmlp inspect --plot`).

Safe to change: `panels` (arrangement and captions), `tiles` (colours).
Invariants: 0 is white, or grey for filters; each tile has its own scale; trained and untrained are drawn alike.
To add one: a picture is a panel in `panels`, and an entry in `files`.
"""
