"""Losses by name: modules that map logits and class numbers to a mean over all targets.

Each is the mean of what single targets or images give, so that no number depends, but by
rounding, on how they are put into batches.
Shapes: output (B, K) or (B, K, H, W), target (B,) or (B, H, W) in 0..K-1; where K is 1, in 0..1.
"""

from typing import Annotated, Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from exper.core import components
from exper.core.components import Positive, Share
from exper.core.errors import Refused

Weight = Annotated[float, "at least 0", 0, torch.inf]
Part = dict[str, Any]


class CrossEntropy(nn.Module):
    """The cross entropy of two or more logits.

    `class_weights`, one for each class, multiply the loss of its targets. The sum is divided by the number of targets
    and not, as torch does, by the sum of their weights.
    """

    class_weights: Tensor | None

    def __init__(self, class_weights: list[Weight] | None = None, label_smoothing: Share = 0.0) -> None:
        super().__init__()
        self.register_buffer("class_weights", None if class_weights is None else torch.tensor(class_weights).float())
        self.smoothing = label_smoothing

    def forward(self, output_BK: Tensor, target_B: Tensor) -> Tensor:
        # For images torch's own mean is not deterministic on GPUs; with weights it is another mean.
        reduction = "mean" if output_BK.ndim == 2 and self.class_weights is None else "none"
        loss = functional.cross_entropy(
            output_BK, target_B, self.class_weights, reduction=reduction, label_smoothing=self.smoothing
        )
        return loss if reduction == "mean" else loss.mean()


class NLL(nn.Module):
    """The negative log likelihood, for models that end in a log_softmax; `class_weights` as in CrossEntropy."""

    class_weights: Tensor | None

    def __init__(self, class_weights: list[Weight] | None = None) -> None:
        super().__init__()
        self.register_buffer("class_weights", None if class_weights is None else torch.tensor(class_weights).float())

    def forward(self, output_BK: Tensor, target_B: Tensor) -> Tensor:
        return functional.nll_loss(output_BK, target_B, self.class_weights, reduction="none").mean()


class BCE(nn.Module):
    """The binary cross entropy of one logit; `positive_weight` multiplies the loss of targets that are 1."""

    weight: Tensor

    def __init__(self, positive_weight: Positive = 1.0) -> None:
        super().__init__()
        self.register_buffer("weight", torch.tensor(positive_weight))

    def forward(self, output_BK: Tensor, target_B: Tensor) -> Tensor:
        output_B, true_B = output_BK[:, 0], target_B.to(output_BK.dtype)
        return functional.binary_cross_entropy_with_logits(output_B, true_B, pos_weight=self.weight)


class Dice(nn.Module):
    """1 - Dice coefficient of each image and class, with probabilities in place of decisions.

    (2 sum(p t) + s) / (sum(p) + sum(t) + s) over the pixels (Milletari et al., V-Net, 2016, equation 3, without its
    squares); `smooth`, s, is in pixels and makes an empty mask that is found empty count as found.
    """

    def __init__(self, smooth: Positive = 1.0) -> None:
        super().__init__()
        self.smooth = smooth

    def forward(self, output_BK: Tensor, target_B: Tensor) -> Tensor:
        share_BKP, true_BKP = _shares(output_BK, target_B)
        both_BK, sum_BK = (share_BKP * true_BKP).sum(2), share_BKP.sum(2) + true_BKP.sum(2)
        return 1 - ((2 * both_BK + self.smooth) / (sum_BK + self.smooth)).mean()


class BCEDice(nn.Module):
    """The sum of BCE and Dice."""

    def __init__(self, positive_weight: Positive = 1.0, smooth: Positive = 1.0) -> None:
        super().__init__()
        self.bce, self.dice = BCE(positive_weight), Dice(smooth)

    def forward(self, output_BK: Tensor, target_B: Tensor) -> Tensor:
        return self.bce(output_BK, target_B) + self.dice(output_BK, target_B)  # type: ignore[no-any-return]


class Focal(nn.Module):
    """Cross entropy times (1 - p)^gamma, p the probability of the target (Lin et al., Focal Loss, 2017, equation 4)."""

    def __init__(self, gamma: Weight = 2.0) -> None:
        super().__init__()
        self.gamma = gamma

    def forward(self, output_BK: Tensor, target_B: Tensor) -> Tensor:
        if output_BK.shape[1] == 1:
            output_BK = torch.cat([torch.zeros_like(output_BK), output_BK], dim=1)  # the same probabilities
        loss_B = functional.cross_entropy(output_BK, target_B, reduction="none")
        wrong_B = 1 - (-loss_B).exp()
        if self.gamma < 1:  # the slope of wrong_B ** gamma is infinite at 0, where a target is met with certainty
            wrong_B = wrong_B.clamp(min=torch.finfo(wrong_B.dtype).tiny)
        return (wrong_B**self.gamma * loss_B).mean()


def _shares(output_BK: Tensor, target_B: Tensor) -> tuple[Tensor, Tensor]:
    """Return the probability, and 0 or 1 for the truth, of each class at each of P pixels: twice (B, K, P)."""
    batch, classes = output_BK.shape[:2]
    logit_BKP, target_BP = output_BK.reshape(batch, classes, -1), target_B.reshape(batch, -1)
    if classes == 1:
        return logit_BKP.sigmoid(), target_BP[:, None].to(logit_BKP.dtype)
    class_K1 = torch.arange(classes, device=target_B.device)[:, None]
    return logit_BKP.softmax(1), (target_BP[:, None] == class_K1).to(logit_BKP.dtype)


LOSS = {
    "cross_entropy": CrossEntropy, "nll": NLL, "bce": BCE, "dice": Dice, "bce_dice": BCEDice, "focal": Focal,
}  # fmt: skip
_SEVERAL, _ONE = ("cross_entropy", "nll"), ("bce", "bce_dice")  # logits that they are for


class Loss(nn.Module):
    """What config.py's `loss` says: a part, or the sum of a list of parts, each times its "weight".

    Of a list of outputs (deep supervision) it is the mean of theirs.
    """

    def __init__(self, given: Part | list[Part]) -> None:
        super().__init__()
        self.listed = given if isinstance(given, list) else [given]
        if not self.listed:
            raise Refused('loss = []: write a part, such as {"name": "cross_entropy"}.')
        self.weights: list[float] = []
        self.parts = nn.ModuleList()
        for part in self.listed:
            own = {name: value for name, value in part.items() if name != "weight"}
            components.check("loss", own, LOSS, leading=0, also=["weight"])
            self.parts.append(components.build("loss", own, LOSS))
            self.weights.append(components.call("loss", {"weight": part.get("weight", 1.0)}, _weight))
            if any(one.requires_grad for one in self.parts[-1].parameters()):
                raise Refused(
                    f"loss.name = {part['name']!r}: it has weights, which no optimizer changes."
                    " Move them into the model, or freeze them by requires_grad_(False)."
                )

    def forward(self, output: Tensor | list[Tensor], target: Tensor) -> Tensor:
        if isinstance(output, list):
            return torch.stack([self(one, target) for one in output]).mean()
        if not isinstance(output, Tensor):
            raise TypeError(
                f"the model returned a {type(output).__name__}: it must be a tensor, or a list of tensors of which the"
                " last is the main one"
            )
        if output.dtype in (torch.bfloat16, torch.float16):
            output = output.float()  # of mixed precision: sums over many pixels need more digits
        losses = [part(output, target) for part in self.parts]
        if len(losses) == 1 and self.weights == [1]:
            return losses[0]  # type: ignore[no-any-return]
        return torch.stack([weight * loss for weight, loss in zip(self.weights, losses, strict=True)]).sum()

    @property
    def ignored(self) -> set[int]:
        """The class number whose targets are left out; -100, as torch has it, where a part says nothing."""
        return {getattr(part, "ignore_index", -100) for part in self.parts}

    def check(self, classes: int) -> None:
        """Refuse what is not for so many outputs of the model."""
        for part in self.listed:
            if classes == 1 and part["name"] in _SEVERAL:
                raise Refused(f"loss.name = {part['name']!r}: the data have one output. Write bce, bce_dice or focal.")
            if classes > 1 and part["name"] in _ONE:
                raise Refused(f"loss.name = {part['name']!r}: it is for one output, the data have {classes} classes.")
            weights = part.get("class_weights")
            if weights is not None and len(weights) != classes:
                raise Refused(f"loss.class_weights = {weights!r}: the data have {classes} classes.")


def _weight(weight: Positive) -> float:
    return weight
