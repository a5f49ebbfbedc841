"""The types that a project's data sets, its transform and `Batches` share.

Legend: B images, C channels, H height, W width.
"""

from collections.abc import Sequence
from typing import Any, Protocol

from torch import Generator, Tensor

# Image (B, C, H, W): bytes, or floats in 0..1. Target: class numbers of images (B,) or of pixels (B, H, W); or floats,
# such as another image (B, C, H, W).
Samples = tuple[Tensor, Tensor]


def as_target(target: Tensor) -> Tensor:
    """Convert class numbers of any integer type to int64, the type that losses expect; leave floats unchanged."""
    return target if target.is_floating_point() else target.long()


class Transform(Protocol):
    """A transform of whole batches on the device, such as the template's `transform.Transform`."""

    @property
    def steps(self) -> Sequence[Any]: ...  # empty: nothing to do

    def __call__(self, image_BCHW: Tensor, target: Tensor, random: Generator | None) -> Samples:
        """Transform a batch; without `random`, leave out the random steps."""

    def split_normalize(self) -> "tuple[Transform | None, Transform]":
        """Return the leading `normalize`, which can be applied once to the whole data set, and the other steps."""
