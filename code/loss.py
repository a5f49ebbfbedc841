"""Losses by name: each takes the arguments of config.py's `loss` and returns a function (output, label) -> mean."""

from torch import nn


def cross_entropy(label_smoothing: float = 0.0) -> nn.Module:
    """Build the cross entropy of logits (B, K) and class numbers (B,)."""
    return nn.CrossEntropyLoss(label_smoothing=label_smoothing)


LOSS = {"cross_entropy": cross_entropy}
