import math
from typing import Any

import pytest
import torch
from sklearn.metrics import log_loss
from torch import Tensor, nn
from torch.nn import functional

from exper.core.errors import Refused
from loss import LOSS, Loss

RANDOM = torch.Generator().manual_seed(0)
LOGIT_BK = torch.randn(11, 4, generator=RANDOM)
CLASS_B = torch.randint(4, (11,), generator=RANDOM)
LOGIT_BKHW = torch.randn(5, 3, 6, 7, generator=RANDOM)
CLASS_BHW = torch.randint(3, (5, 6, 7), generator=RANDOM)
ONE_B1HW = torch.randn(5, 1, 6, 7, generator=RANDOM)
MASK_BHW = torch.randint(2, (5, 6, 7), generator=RANDOM)


def value(output: Tensor | list[Tensor], target: Tensor, name: str, **arguments: Any) -> float:
    return float(Loss({"name": name, **arguments})(output, target))


@pytest.mark.parametrize(("output", "target"), [(LOGIT_BK, CLASS_B), (LOGIT_BKHW, CLASS_BHW)])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_cross_entropy_is_that_of_torch(output: Tensor, target: Tensor, smoothing: float) -> None:
    wanted = nn.CrossEntropyLoss(label_smoothing=smoothing)(output, target)
    assert value(output, target, "cross_entropy", label_smoothing=smoothing) == pytest.approx(float(wanted), rel=1e-6)


def test_cross_entropy_is_that_of_scikit_learn() -> None:
    wanted = log_loss(CLASS_B, LOGIT_BK.double().softmax(1))
    assert value(LOGIT_BK, CLASS_B, "cross_entropy") == pytest.approx(wanted, rel=1e-6)


@pytest.mark.parametrize("name", ["cross_entropy", "nll"])
def test_class_weights_multiply_and_the_number_of_targets_divides(name: str) -> None:
    weights = [0.0, 1.0, 2.0, 0.5]
    output = LOGIT_BK.log_softmax(1) if name == "nll" else LOGIT_BK
    each = [weights[k] * -float(row.log_softmax(0)[k]) for row, k in zip(LOGIT_BK, CLASS_B.tolist(), strict=True)]
    assert value(output, CLASS_B, name, class_weights=weights) == pytest.approx(sum(each) / 11, rel=1e-5)


@pytest.mark.parametrize("name", ["cross_entropy", "nll"])
def test_class_weights_may_be_whole_numbers(name: str) -> None:
    whole = [0, 1, 2, 5]
    real = [0.0, 1.0, 2.0, 5.0]
    assert value(LOGIT_BK, CLASS_B, name, class_weights=whole) == value(LOGIT_BK, CLASS_B, name, class_weights=real)


def test_nll_of_log_probabilities_is_cross_entropy_of_logits() -> None:
    wanted = value(LOGIT_BKHW, CLASS_BHW, "cross_entropy")
    assert value(LOGIT_BKHW.log_softmax(1), CLASS_BHW, "nll") == pytest.approx(wanted, rel=1e-6)


def test_bce_by_hand() -> None:
    logit = torch.tensor([[0.0], [math.log(3.0)]])
    target = torch.tensor([1, 0])  # probabilities 1/2 and 3/4
    assert value(logit, target, "bce") == pytest.approx((math.log(2) + math.log(4)) / 2)
    assert value(logit, target, "bce", positive_weight=3.0) == pytest.approx((3 * math.log(2) + math.log(4)) / 2)


def test_dice_by_hand() -> None:
    logit = torch.tensor([[[[0.0, math.log(3.0)]]], [[[0.0, 0.0]]]])  # 1/2, 3/4; 1/2, 1/2
    target = torch.tensor([[[1, 1]], [[0, 0]]])
    first = 1 - (2 * 1.25 + 1) / (1.25 + 2 + 1)
    second = 1 - 1 / (1 + 1)
    assert value(logit, target, "dice") == pytest.approx((first + second) / 2)
    assert value(logit, target, "dice", smooth=2.0) == pytest.approx((1 - 4.5 / 5.25 + 1 - 2 / 3) / 2)


def test_dice_of_several_classes_is_the_mean_over_classes_and_images() -> None:
    share = LOGIT_BKHW.softmax(1)
    each = []
    for image in range(5):
        for k in range(3):
            p = share[image, k]
            t = (CLASS_BHW[image] == k).float()
            each.append(1 - (2 * (p * t).sum() + 1) / (p.sum() + t.sum() + 1))
    assert value(LOGIT_BKHW, CLASS_BHW, "dice") == pytest.approx(float(torch.stack(each).mean()), rel=1e-5)


def test_dice_of_a_mask_that_is_met_is_nothing() -> None:
    assert value(torch.where(MASK_BHW > 0, 50.0, -50.0)[:, None], MASK_BHW, "dice") == pytest.approx(0, abs=1e-6)


def test_bce_dice_is_their_sum() -> None:
    sum_of_both = value(ONE_B1HW, MASK_BHW, "bce") + value(ONE_B1HW, MASK_BHW, "dice")
    assert value(ONE_B1HW, MASK_BHW, "bce_dice") == pytest.approx(sum_of_both, rel=1e-6)


def test_focal_by_the_paper() -> None:
    logit = torch.tensor([[math.log(9.0)]])  # p = 0.9: "with gamma = 2 ... 100 times lower loss" than cross entropy's
    for target, p in ((1, 0.9), (0, 0.1)):
        wanted = -((1 - p) ** 2) * math.log(p)
        assert value(logit, torch.tensor([target]), "focal") == pytest.approx(wanted, rel=1e-4)
        two = torch.cat([torch.zeros(1, 1), logit], dim=1)
        assert value(two, torch.tensor([target]), "focal") == pytest.approx(wanted, rel=1e-4)


def test_focal_without_gamma_is_cross_entropy() -> None:
    wanted = value(LOGIT_BKHW, CLASS_BHW, "cross_entropy")
    assert value(LOGIT_BKHW, CLASS_BHW, "focal", gamma=0.0) == pytest.approx(wanted, rel=1e-6)
    assert value(ONE_B1HW, MASK_BHW, "focal", gamma=0.0) == pytest.approx(value(ONE_B1HW, MASK_BHW, "bce"), rel=1e-5)


@pytest.mark.parametrize("gamma", [0.0, 0.5, 1.0, 2.0])
def test_focal_has_a_gradient_where_a_target_is_met_with_certainty(gamma: float) -> None:
    certain = torch.tensor([200.0, 0.0])
    doubtful = torch.tensor([1.0, 0.0])
    logit_BK = torch.stack([certain, doubtful]).requires_grad_()
    Loss({"name": "focal", "gamma": gamma})(logit_BK, torch.tensor([0, 0])).backward()
    assert logit_BK.grad is not None
    assert logit_BK.grad[0].tolist() == [0, 0]
    assert logit_BK.grad[1, 0] < 0 < logit_BK.grad[1, 1]


@pytest.mark.parametrize("name", LOSS)
def test_a_loss_is_the_mean_of_what_parts_of_a_batch_give(name: str) -> None:
    arguments: dict[str, Any] = {"class_weights": [0.1, 1.0, 3.0]} if name in ("cross_entropy", "nll") else {}
    output, target = (LOGIT_BKHW, CLASS_BHW) if arguments or name in ("dice", "focal") else (ONE_B1HW, MASK_BHW)
    whole = value(output, target, name, **arguments)
    shares = [size / 5 * value(o, t, name, **arguments)
              for size, o, t in zip((2, 3), output.split([2, 3]), target.split([2, 3]), strict=True)]  # fmt: skip
    assert sum(shares) == pytest.approx(whole, rel=1e-5)


def test_a_list_is_a_weighted_sum() -> None:
    loss_of = Loss([{"name": "bce", "weight": 0.5}, {"name": "dice"}, {"name": "focal", "gamma": 1.0, "weight": 2}])
    wanted = 0.5 * value(ONE_B1HW, MASK_BHW, "bce") + value(ONE_B1HW, MASK_BHW, "dice")
    wanted += 2 * value(ONE_B1HW, MASK_BHW, "focal", gamma=1.0)
    assert float(loss_of(ONE_B1HW, MASK_BHW)) == pytest.approx(wanted, rel=1e-6)
    assert value(ONE_B1HW, MASK_BHW, "bce", weight=3) == pytest.approx(3 * value(ONE_B1HW, MASK_BHW, "bce"), rel=1e-6)


def test_of_several_outputs_it_is_the_mean() -> None:
    outputs = [ONE_B1HW, ONE_B1HW + 1, ONE_B1HW * 2]
    wanted = sum(value(one, MASK_BHW, "dice") for one in outputs) / 3
    assert value(outputs, MASK_BHW, "dice") == pytest.approx(wanted, rel=1e-6)


@pytest.mark.parametrize("name", LOSS)
def test_half_precision_is_summed_in_whole(name: str) -> None:
    output, target = (LOGIT_BK, CLASS_B) if name in ("cross_entropy", "nll") else (ONE_B1HW, MASK_BHW)
    half = output.bfloat16()
    assert value(half, target, name) == value(half.float(), target, name)


@pytest.mark.parametrize("name", LOSS)
def test_the_gradient_is_that_of_differences(name: str) -> None:
    output, target = (LOGIT_BK, CLASS_B) if name in ("cross_entropy", "nll") else (ONE_B1HW[:2], MASK_BHW[:2])
    x = output.double().requires_grad_()
    loss_of = Loss({"name": name}).double()
    assert torch.autograd.gradcheck(lambda one: loss_of(one, target), [x])


@pytest.mark.parametrize(
    ("given", "classes", "says"),
    [
        ({"name": "cross_entropy"}, 1, "the data have one output. Write bce, bce_dice or focal."),
        ([{"name": "dice"}, {"name": "bce"}], 10, "loss.name = 'bce': it is for one output, the data have 10 classes."),
        ({"name": "nll", "class_weights": [1.0]}, 3, "loss.class_weights = [1.0]: the data have 3 classes."),
    ],
)
def test_a_loss_for_other_data_is_refused(given: Any, classes: int, says: str) -> None:
    with pytest.raises(Refused) as error:
        Loss(given).check(classes)
    assert says in str(error.value)


@pytest.mark.parametrize("output", [(LOGIT_BK, LOGIT_BK), {"out": LOGIT_BK}, None])
def test_what_is_no_output_of_a_model_is_named(output: Any) -> None:
    with pytest.raises(
        TypeError, match=rf"^the model returned a {type(output).__name__}: it must be a tensor, or a list"
    ):
        Loss({"name": "cross_entropy"})(output, CLASS_B)


class Weighing(nn.Module):
    """A loss that would learn how much it counts."""

    def __init__(self, *, frozen: bool = False) -> None:
        super().__init__()
        self.factor = nn.Parameter(torch.ones(()), requires_grad=not frozen)

    def forward(self, output: Tensor, target: Tensor) -> Tensor:
        return self.factor * functional.cross_entropy(output, target)


def test_a_loss_with_weights_to_train_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(LOSS, "weighing", Weighing)
    with pytest.raises(Refused, match="'weighing': it has weights, which no optimizer changes"):
        Loss([{"name": "dice"}, {"name": "weighing"}])
    assert value(LOGIT_BK, CLASS_B, "weighing", frozen=True) == value(LOGIT_BK, CLASS_B, "cross_entropy")


def test_a_loss_for_these_data_is_not() -> None:
    Loss([{"name": "cross_entropy", "class_weights": [1.0, 2.0, 3.0]}, {"name": "dice"}]).check(3)
    Loss([{"name": "bce"}, {"name": "dice"}, {"name": "focal"}]).check(1)


def test_the_target_of_bce_is_any_number_type() -> None:
    assert functional.binary_cross_entropy_with_logits(ONE_B1HW[:, 0], MASK_BHW.float()) == pytest.approx(
        value(ONE_B1HW, MASK_BHW.to(torch.uint8), "bce")
    )
