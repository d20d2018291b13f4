"""Publication of a checkpoint: `push`, its model card, and the upload to the Hugging Face Hub.

Safe to change: the wording of the card; `push` (start reading here).
Invariants: figures come from the checkpoint and its run only; no absolute path of this machine is published (`local_paths`).
To add one: one file per service to publish to.
"""
