"""WebDataset tar shards: indexed by one pass, then read at random, so that order and resumption stay exact; and written.

tarfile parses the headers; each name and size is checked here before anything is read or kept.
Safe to change: `labels` (which members hold the class), `shard_files` (which files are shards, and of which split).
Invariants: a photo is returned only with the SHA-256 of the index; sample IDs are those of the source the shards were made of;
a shard from an address enters the cache only with the SHA-256 of its list.
To add one: a way to state the class in `labels`; a file next to the shards in `shard_files`.
"""
