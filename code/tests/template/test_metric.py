import pytest
import torch
from sklearn.metrics import accuracy_score, log_loss
from torch.nn.functional import cross_entropy

from metric import Totals


def batches() -> list[tuple[torch.Tensor, torch.Tensor]]:
    generator = torch.Generator().manual_seed(0)
    draw = [(torch.randn(size, 10, generator=generator), size) for size in (64, 64, 64, 7)]
    return [(output, torch.randint(10, (size,), generator=generator)) for output, size in draw]


def fed(totals: Totals, some: list[tuple[torch.Tensor, torch.Tensor]]) -> Totals:
    for output, label in some:
        totals.add(cross_entropy(output, label), output, label)
    return totals


def test_loss_and_accuracy_are_those_of_scikit_learn_over_the_whole_epoch() -> None:
    values = fed(Totals([{"name": "acc"}]), batches()).values("val")
    output, label = (torch.cat(parts) for parts in zip(*batches(), strict=True))
    assert values["val/acc"] == accuracy_score(label, output.argmax(1))
    assert values["val/loss"] == pytest.approx(log_loss(label, output.double().softmax(1)), rel=1e-6)


def test_a_mean_of_batch_means_would_differ() -> None:
    some = batches()
    means = sum(float((output.argmax(1) == label).double().mean()) for output, label in some) / len(some)
    assert fed(Totals([{"name": "acc"}]), some).values("val")["val/acc"] != means


def test_sums_go_on_from_a_saved_state() -> None:
    whole = fed(Totals([{"name": "acc"}]), batches()).values("val")
    again = Totals([{"name": "acc"}])
    again.load_state_dict(fed(Totals([{"name": "acc"}]), batches()[:2]).state_dict())
    assert fed(again, batches()[2:]).values("val") == whole


def test_the_first_batch_that_is_not_finite_is_known() -> None:
    totals = Totals([])
    for loss in (1.0, 2.0, float("inf"), 1.0, float("nan"), 1.0):
        totals.add(torch.tensor(loss), torch.zeros(1, 2), torch.zeros(1))
        totals.end_batch()
    assert int(totals.finite) == 2
