"""Losses by name: modules that map logits and targets to a scalar, the mean over all targets or images.

A mean over targets or images does not depend on how they are grouped into batches, except for rounding. Logits of mixed
precision are cast to float32 before.

Legend: B images, K classes, H height, W width, P pixels. Shapes below are of images, output (B, K) and target (B,); of
masks they are (B, K, H, W) and (B, H, W). Targets are class numbers in 0..K-1; where K is 1, they are in 0..1.
"""

from typing import Annotated

import torch
from torch import Tensor, nn
from torch.nn import functional

from exper.core import components
from exper.core.components import Component, Positive, Share
from exper.core.errors import Refused

Weight = Annotated[float, "at least 0", 0, torch.inf]


class CrossEntropy(nn.Module):
    """Cross entropy of two or more logits, -log softmax(output)[target], in nats.

    `class_weights`, one for each class, multiply the loss of its targets. Unlike torch's CrossEntropyLoss this divides
    by the number of targets and not by the sum of their weights. `label_smoothing` e moves the share e of a target's
    probability evenly to all classes (Szegedy et al., Rethinking the Inception Architecture, 2015, section 7).
    """

    class_weights: Tensor | None

    def __init__(self, class_weights: list[Weight] | None = None, label_smoothing: Share = 0.0) -> None:
        super().__init__()
        self.register_buffer("class_weights", None if class_weights is None else torch.tensor(class_weights).float())
        self.smoothing = label_smoothing

    def forward(self, output_BK: Tensor, target_B: Tensor) -> Tensor:
        # torch's own mean is not deterministic for masks on GPUs, and with weights it is another mean.
        reduction = "mean" if output_BK.ndim == 2 and self.class_weights is None else "none"
        loss = functional.cross_entropy(
            output_BK, target_B, self.class_weights, reduction=reduction, label_smoothing=self.smoothing
        )
        return loss if reduction == "mean" else loss.mean()


class NLL(nn.Module):
    """Negative log likelihood, for models that end in log_softmax; `class_weights` as in CrossEntropy."""

    class_weights: Tensor | None

    def __init__(self, class_weights: list[Weight] | None = None) -> None:
        super().__init__()
        self.register_buffer("class_weights", None if class_weights is None else torch.tensor(class_weights).float())

    def forward(self, output_BK: Tensor, target_B: Tensor) -> Tensor:
        return functional.nll_loss(output_BK, target_B, self.class_weights, reduction="none").mean()


class BCE(nn.Module):
    """Binary cross entropy of one logit (K = 1); `positive_weight` multiplies the loss of targets that are 1.

    torch's BCEWithLogitsLoss with pos_weight.
    """

    weight: Tensor

    def __init__(self, positive_weight: Positive = 1.0) -> None:
        super().__init__()
        self.register_buffer("weight", torch.tensor(positive_weight))

    def forward(self, output_BK: Tensor, target_B: Tensor) -> Tensor:
        output_B = output_BK[:, 0]
        true_B = target_B.to(output_BK.dtype)
        return functional.binary_cross_entropy_with_logits(output_B, true_B, pos_weight=self.weight)


class SoftDice(nn.Module):
    """1 - the soft Dice coefficient, which has probabilities p where the metric has decisions; mean over B and K.

    (2 sum(p t) + s) / (sum(p) + sum(t) + s), sums over the pixels of an image and class, t the truth (Milletari et al.,
    V-Net, 2016, equation 3, without its squares). `smooth`, s, is in pixels: with it, the coefficient of an empty mask
    that is predicted empty is 1.
    """

    def __init__(self, smooth: Positive = 1.0) -> None:
        super().__init__()
        self.smooth = smooth

    def forward(self, output_BK: Tensor, target_B: Tensor) -> Tensor:
        probability_BKP, true_BKP = _probability_and_truth(output_BK, target_B)
        both_BK = (probability_BKP * true_BKP).sum(2)
        sum_BK = probability_BKP.sum(2) + true_BKP.sum(2)
        return 1 - ((2 * both_BK + self.smooth) / (sum_BK + self.smooth)).mean()


class BCEDice(nn.Module):
    """BCE + SoftDice, for masks of one class (K = 1)."""

    def __init__(self, positive_weight: Positive = 1.0, smooth: Positive = 1.0) -> None:
        super().__init__()
        self.bce = BCE(positive_weight)
        self.dice = SoftDice(smooth)

    def forward(self, output_BK: Tensor, target_B: Tensor) -> Tensor:
        return self.bce(output_BK, target_B) + self.dice(output_BK, target_B)  # type: ignore[no-any-return]


class Focal(nn.Module):
    """Focal loss, (1 - p)^gamma times the cross entropy, p the probability of the target; for rare classes.

    Lin et al., Focal Loss for Dense Object Detection, 2017, equation 4.
    """

    def __init__(self, gamma: Weight = 2.0) -> None:
        super().__init__()
        self.gamma = gamma

    def forward(self, output_BK: Tensor, target_B: Tensor) -> Tensor:
        if output_BK.shape[1] == 1:
            output_BK = torch.cat([torch.zeros_like(output_BK), output_BK], dim=1)  # the same probabilities
        loss_B = functional.cross_entropy(output_BK, target_B, reduction="none")
        wrong_B = 1 - (-loss_B).exp()
        if self.gamma < 1:  # the gradient of wrong_B ** gamma is infinite at 0, where the target has probability 1
            wrong_B = wrong_B.clamp(min=torch.finfo(wrong_B.dtype).tiny)
        return (wrong_B**self.gamma * loss_B).mean()


def _probability_and_truth(output_BK: Tensor, target_B: Tensor) -> tuple[Tensor, Tensor]:
    """Return for each class at each pixel the probability, and 1 where it is the target's, else 0: (B, K, P) each."""
    batch, classes = output_BK.shape[:2]
    logit_BKP = output_BK.reshape(batch, classes, -1)
    target_BP = target_B.reshape(batch, -1)
    if classes == 1:
        return logit_BKP.sigmoid(), target_BP[:, None].to(logit_BKP.dtype)
    class_K1 = torch.arange(classes, device=target_B.device)[:, None]
    return logit_BKP.softmax(1), (target_BP[:, None] == class_K1).to(logit_BKP.dtype)


LOSS = {
    "cross_entropy": CrossEntropy,
    "nll": NLL,
    "bce": BCE,
    "dice": SoftDice,
    "bce_dice": BCEDice,
    "focal": Focal,
}
_FOR_SEVERAL_LOGITS = ("cross_entropy", "nll")
_FOR_ONE_LOGIT = ("bce", "bce_dice")


class Loss(nn.Module):
    """The `loss` of config.py: a component, or the sum of a list of them, each times its "weight".

    Of a list of outputs (deep supervision) it is the mean of their losses.

    Raises:
        Refused: an unknown name, a wrong argument, or a loss that has parameters to train.
    """

    def __init__(self, setting: Component | list[Component]) -> None:
        super().__init__()
        self.listed = setting if isinstance(setting, list) else [setting]
        if not self.listed:
            raise Refused('loss = []: write a component, such as {"name": "cross_entropy"}.')
        self.weights: list[float] = []
        self.parts = nn.ModuleList()  # the name is in checkpoints, before the names of a loss's buffers
        for component in self.listed:
            own = {name: value for name, value in component.items() if name != "weight"}
            components.check("loss", own, LOSS, leading=0, also=["weight"])
            self.parts.append(components.build("loss", own, LOSS))
            self.weights.append(components.call("loss", {"weight": component.get("weight", 1.0)}, _weight))
            if any(parameter.requires_grad for parameter in self.parts[-1].parameters()):
                raise Refused(
                    f"loss.name = {component['name']!r}: it has weights, which no optimizer changes."
                    " Move them into the model, or freeze them by requires_grad_(False)."
                )

    def forward(self, output: Tensor | list[Tensor], target: Tensor) -> Tensor:
        """Return the loss, float32 ().

        Raises:
            TypeError: the model returned neither a tensor nor a list of tensors.
        """
        if isinstance(output, list):
            return torch.stack([self(output_of_depth, target) for output_of_depth in output]).mean()
        if not isinstance(output, Tensor):
            raise TypeError(
                f"the model returned a {type(output).__name__}: it must be a tensor, or a list of tensors of which the"
                " last is the main one"
            )
        if output.dtype in (torch.bfloat16, torch.float16):
            output = output.float()  # sums over many pixels need more digits
        losses = [loss_of(output, target) for loss_of in self.parts]
        if len(losses) == 1 and self.weights == [1]:
            return losses[0]  # type: ignore[no-any-return]
        return torch.stack([weight * loss for weight, loss in zip(self.weights, losses, strict=True)]).sum()

    @property
    def ignored(self) -> set[int]:
        """The class numbers whose targets are left out: `ignore_index` of each loss, else torch's default, -100."""
        return {getattr(loss_of, "ignore_index", -100) for loss_of in self.parts}

    def check(self, classes: int) -> None:
        """Refuse losses that don't fit the number of the model's outputs, K."""
        for component in self.listed:
            name = component["name"]
            if classes == 1 and name in _FOR_SEVERAL_LOGITS:
                raise Refused(f"loss.name = {name!r}: the data have one output. Write bce, bce_dice or focal.")
            if classes > 1 and name in _FOR_ONE_LOGIT:
                raise Refused(f"loss.name = {name!r}: it is for one output, the data have {classes} classes.")
            weights = component.get("class_weights")
            if weights is not None and len(weights) != classes:
                raise Refused(f"loss.class_weights = {weights!r}: the data have {classes} classes.")


def _weight(weight: Positive) -> float:
    return weight
