"""Sampling: stateless randomness, training order, class balance and hold-out.

Safe to change: `order` (steps over epochs), `class_balance` (frequency of classes), `holdout` (validation photos from train).
Invariants: `stateless_random`; every random choice is a pure function of (seed, epoch, sample).
To add one: a pure function of (seed, epoch, sample) or of (seed, step), so that any step can be computed by itself.
"""
