"""Sharing a checkpoint: the model card.

Touch: the wording of the card.
Do not touch: figures come from the checkpoint and its run only.
A new one: a file per place to publish to.
"""
