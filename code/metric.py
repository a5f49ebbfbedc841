"""Metrics by name, exact over an epoch: sums on the device, read at its end.

Shapes: output (B, K) or (B, K, H, W), target (B,) or (B, H, W) of class numbers. Where K is 1, the output is a logit,
the target 0 or 1, and what is counted is class 1. A metric's attributes are sums, which checkpoints hold and which
several processes may add up; arguments have an underscore.
"""

import re
from collections.abc import Callable
from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn import functional

from exper.core import components
from exper.core.components import Count, Positive
from exper.core.errors import Refused

Sum = Tensor | float
Average = Literal["macro", "micro"]


def predicted(output_BK: Tensor) -> Tensor:
    """Return the class numbers (B,) or (B, H, W) that logits stand for."""
    return (output_BK[:, 0] > 0).long() if output_BK.shape[1] == 1 else output_BK.argmax(1)


def count(output_BK: Tensor, target_B: Tensor, each_image: bool = False) -> Tensor:
    """Count by class the hits, the targets and the guesses: (3, K), or (3, B, K) with `each_image`.

    A hit is a target of the class that is guessed right: a true positive.
    """
    images = len(target_B) if each_image else 1
    guess_IP = predicted(output_BK).reshape(images, -1)
    target_IP = target_B.reshape(images, -1)
    is_hit_IP = (guess_IP == target_IP).long()
    counts_3IK = target_IP.new_zeros(3, images, max(2, output_BK.shape[1]))
    counts_3IK[0].scatter_add_(1, target_IP, is_hit_IP)
    counts_3IK[1].scatter_add_(1, target_IP, torch.ones_like(is_hit_IP))
    counts_3IK[2].scatter_add_(1, guess_IP, torch.ones_like(is_hit_IP))
    if output_BK.shape[1] == 1:
        counts_3IK = counts_3IK[..., 1:]
    return counts_3IK if each_image else counts_3IK[:, 0]


class Accuracy:
    """The share of images, or of pixels, whose largest output is at their class."""

    def __init__(self) -> None:
        self.right: Sum = 0
        self.seen = 0

    def add(self, output_BK: Tensor, target_B: Tensor) -> None:
        self.right = self.right + (predicted(output_BK) == target_B).sum()
        self.seen += target_B.numel()

    def value(self) -> float:
        return float(self.right) / self.seen


class TopK:
    """The share of images, or of pixels, whose class is among the `k` largest outputs."""

    def __init__(self, k: Count) -> None:
        self._k = k
        self.right: Sum = 0
        self.seen = 0

    def check(self, classes: int) -> None:
        """Refuse what is always 1."""
        if self._k >= classes:
            raise Refused(f"metric.k = {self._k}: of {classes} classes it has to leave some out.")

    def add(self, output_BK: Tensor, target_B: Tensor) -> None:
        self.right = self.right + (output_BK.topk(self._k, 1).indices == target_B[:, None]).sum()
        self.seen += target_B.numel()

    def value(self) -> float:
        return float(self.right) / self.seen


class Confusion:
    """How often each class (row) is taken for each (column): a table (K, K), which evaluate.py draws."""

    is_table = True  # its value is no number: it is in no line of history

    def __init__(self) -> None:
        self.counts: Sum = 0

    def add(self, output_BK: Tensor, target_B: Tensor) -> None:
        classes = max(2, output_BK.shape[1])
        pair_N = (target_B * classes + predicted(output_BK)).flatten()
        counts = pair_N.new_zeros(classes**2).scatter_add_(0, pair_N, torch.ones_like(pair_N))
        self.counts = self.counts + counts.view(classes, classes)

    def value(self) -> list[list[int]]:
        return torch.as_tensor(self.counts).tolist()


class Ratio:
    """A ratio of an epoch's counts; "macro": its mean over classes, "micro": that of the sums over classes."""

    def __init__(self, ratio: Callable[[Tensor, Tensor, Tensor], Tensor], average: Average = "macro") -> None:
        self._ratio = ratio
        self._average = average
        self.counts: Sum = 0

    def add(self, output_BK: Tensor, target_B: Tensor) -> None:
        self.counts = self.counts + count(output_BK, target_B)

    def value(self) -> float:
        counts_3K = torch.as_tensor(self.counts)
        if self._average == "micro":
            counts_3K = counts_3K.sum(1, keepdim=True)
        return float(_mean(self._ratio, counts_3K[:, None]))


class Dice:
    """The mean over images of an image's Dice coefficient, its mean over classes; Kaggle's Carvana where K is 1.

    Over the pixels of the whole epoch it is "f1".
    """

    def __init__(self) -> None:
        self.score: Sum = 0
        self.seen = 0

    def add(self, output_BK: Tensor, target_B: Tensor) -> None:
        self.score = self.score + dice_of_images(output_BK, target_B).sum()
        self.seen += len(target_B)

    def value(self) -> float:
        return float(self.score) / self.seen


def dice_of_images(output_BK: Tensor, target_B: Tensor) -> Tensor:
    """Return each image's Dice coefficient, its mean over classes: (B,)."""
    return _mean(f1, count(output_BK, target_B, each_image=True))


def precision(hits: Tensor, targets: Tensor, guesses: Tensor) -> Tensor:  # noqa: ARG001
    """Return the share of the guesses that are hits."""
    return hits / guesses


def recall(hits: Tensor, targets: Tensor, guesses: Tensor) -> Tensor:  # noqa: ARG001
    """Return the share of the targets that are hit."""
    return hits / targets


def f1(hits: Tensor, targets: Tensor, guesses: Tensor) -> Tensor:
    """Return the harmonic mean of precision and recall, which is the Dice coefficient."""
    return 2 * hits / (targets + guesses)


def iou(hits: Tensor, targets: Tensor, guesses: Tensor) -> Tensor:
    """Return intersection over union, the Jaccard index; over all pixels of an epoch it is that of Pascal VOC."""
    return hits / (targets + guesses - hits)


def _mean(ratio: Callable[..., Tensor], counts_3IK: Tensor) -> Tensor:
    """Return the mean (I,) over the classes that are a target or a guess; 1 where there is none."""
    hits_IK, targets_IK, guesses_IK = counts_3IK.double()
    is_counted_IK = targets_IK + guesses_IK > 0
    ratio_IK = ratio(hits_IK, targets_IK, guesses_IK).nan_to_num(0)
    mean_I = (ratio_IK * is_counted_IK).sum(1) / is_counted_IK.sum(1)
    return torch.where(is_counted_IK.any(1), mean_I, 1.0)


class PSNR:
    """The mean over images of 10 log10(range^2 / mean squared error), in dB, of outputs that are images themselves.

    `range` is the largest value less the smallest. Targets are images as well: (B, C, H, W), or (B, H, W) where C is 1.
    """

    def __init__(self, range: Positive = 1.0) -> None:  # noqa: A002
        self._range = range
        self.decibel: Sum = 0
        self.seen = 0

    def add(self, output_BCHW: Tensor, target_BCHW: Tensor) -> None:
        difference_BN = (output_BCHW.double() - _image(target_BCHW, output_BCHW)).flatten(1)
        self.decibel = self.decibel + (10 * (self._range**2 / difference_BN.square().mean(1)).log10()).sum()
        self.seen += len(target_BCHW)

    def value(self) -> float:
        return float(self.decibel) / self.seen


class SSIM:
    """The mean over images of their structural similarity to the target, images as for PSNR.

    With the constants of Wang et al., Image Quality Assessment: From Error Visibility to Structural Similarity, 2004:
    a Gaussian window of 11 x 11 with a deviation of 1.5, K1 = 0.01, K2 = 0.03; where the window is inside the image.
    """

    def __init__(self, range: Positive = 1.0) -> None:  # noqa: A002
        self._range = range
        self.similarity: Sum = 0
        self.seen = 0

    def add(self, output_BCHW: Tensor, target_BCHW: Tensor) -> None:
        x = output_BCHW.double()
        y = _image(target_BCHW, output_BCHW)
        mean_x = _windowed(x)
        mean_y = _windowed(y)
        var_x = _windowed(x * x) - mean_x**2
        var_y = _windowed(y * y) - mean_y**2
        cov = _windowed(x * y) - mean_x * mean_y
        c1 = (0.01 * self._range) ** 2
        c2 = (0.03 * self._range) ** 2
        light = (2 * mean_x * mean_y + c1) / (mean_x**2 + mean_y**2 + c1)
        structure = (2 * cov + c2) / (var_x + var_y + c2)
        self.similarity = self.similarity + (light * structure).flatten(1).mean(1).sum()
        self.seen += len(target_BCHW)

    def value(self) -> float:
        return float(self.similarity) / self.seen


def _image(target: Tensor, output_BCHW: Tensor) -> Tensor:
    image_BCHW = target[:, None] if target.ndim == 3 else target
    if image_BCHW.shape != output_BCHW.shape:
        raise ValueError(f"psnr and ssim compare images: {tuple(output_BCHW.shape)} with {tuple(target.shape)}")
    return image_BCHW.double()  # mixed precision has rounded the output alone


def _windowed(image_BCHW: Tensor) -> Tensor:
    """Return the mean around each pixel that is 5 or more away from the edge."""
    channels = image_BCHW.shape[1]
    distance_11 = torch.arange(-5, 6, dtype=image_BCHW.dtype, device=image_BCHW.device)
    weight_11 = (-(distance_11**2) / (2 * 1.5**2)).exp()
    weight_C1N1 = (weight_11 / weight_11.sum()).view(1, 1, 11, 1).expand(channels, 1, 11, 1)
    down = functional.conv2d(image_BCHW, weight_C1N1, groups=channels)
    return functional.conv2d(down, weight_C1N1.transpose(2, 3), groups=channels)


METRIC: dict[str, Callable[..., Any]] = {
    "acc": Accuracy, "top_k": TopK, "confusion": Confusion, "dice": Dice, "psnr": PSNR, "ssim": SSIM,
    "precision": partial(Ratio, precision), "recall": partial(Ratio, recall), "f1": partial(Ratio, f1),
    "iou": partial(Ratio, iou),
}  # fmt: skip


def build(given: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the metrics that config.py's `metric` lists, by their names in history.

    Raises:
        Refused: a name or an argument is wrong, or a metric is listed twice.
    """
    metrics: dict[str, Any] = {}
    for component in given:
        name = title(component)
        if name in metrics:
            raise Refused(f"metric: {name!r} is listed twice.")
        metrics[name] = components.build("metric", component, METRIC)
    return metrics


def title(component: dict[str, Any]) -> str:
    """Return a metric's name in history: with its arguments, such as f1_micro; top_5 for "top_k"."""
    words = [component["name"].removesuffix("_k"), *(value for key, value in component.items() if key != "name")]
    return re.sub(r"[^\w.+-]+", "-", "_".join(map(str, words)))
