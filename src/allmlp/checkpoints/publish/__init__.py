"""Publication of a checkpoint: its model card, and the upload to the Hugging Face Hub.

Safe to change: the wording of the card.
Invariants: figures come from the checkpoint and its run only.
To add one: one file per service to publish to.
"""
