"""Learning in studies: Mixers and other networks by one plain loop, on photos in memory.

`allmlp.train` trains the Mixer of a recipe. A study compares it with other networks, so that all of its arms learn here alike:
same photos, augmentation, optimizer and schedule.

Safe to change: `networks` (what learns), `photos`.
Invariants: a batch is a function of (seed, step), so that an interrupted arm continues bit for bit.
To add one: a network is a function in `networks` and an entry in `NETWORKS`.
"""
