"""Publication of a checkpoint: its model card, and the upload to the Hugging Face Hub.

Touch: the wording of the card.
Do not touch: figures come from the checkpoint and its run only.
A new one: one file per service to publish to.
"""
