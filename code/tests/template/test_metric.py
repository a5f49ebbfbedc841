import json
import math
from typing import Any

import numpy as np
import pytest
import torch
from sklearn import metrics as sklearn
from torch import Tensor

from exper.core.errors import Refused
from exper.training.records.totals import Totals
from metric import METRIC, build, predicted, title
from tests.support.drawn import Batches, batches, fed


def value(some: Batches, name: str, **arguments: Any) -> float:
    part = {"name": name, **arguments}
    return fed(Totals(build([part])), some).values("val")[f"val/{title(part)}"]


def whole(some: Batches) -> tuple[Tensor, Tensor]:
    """Return all decisions and all targets, flat."""
    output, label = (torch.cat(parts) for parts in zip(*some, strict=True))
    return predicted(output).flatten(), label.flatten()


def test_loss_and_accuracy_are_those_of_scikit_learn_over_the_whole_epoch() -> None:
    values = fed(Totals(build([{"name": "acc"}])), batches()).values("val")
    output, label = (torch.cat(parts) for parts in zip(*batches(), strict=True))
    assert values["val/acc"] == sklearn.accuracy_score(label, output.argmax(1))
    assert values["val/loss"] == pytest.approx(sklearn.log_loss(label, output.double().softmax(1)), rel=1e-6)


def test_a_mean_of_batch_means_would_differ() -> None:
    some = batches()
    for name in ("acc", "f1", "iou"):
        means = sum(value([one], name) for one in some) / len(some)
        assert abs(value(some, name) - means) > 1e-4


ALL: list[dict[str, Any]] = [
    {"name": name, **({"k": 3} if name == "top_k" else {})} for name in METRIC if name not in ("psnr", "ssim")
]


@pytest.mark.parametrize("some", [batches(), batches(3, (5, 4))], ids=["classes", "pixels"])
def test_how_samples_are_put_into_batches_does_not_matter(some: Batches) -> None:
    parts = [part | ({"k": 2} if "k" in part else {}) for part in ALL]
    output, label = (torch.cat(parts) for parts in zip(*some, strict=True))
    ones: Batches = list(zip(output.split(1), label.split(1), strict=True))
    together = fed(Totals(build(parts)), [(output, label)])
    apart = fed(Totals(build(parts)), ones)
    assert apart.values("val") == pytest.approx(together.values("val"), rel=1e-6)
    assert apart.tables("val") == together.tables("val")


RATIOS = {
    "precision": sklearn.precision_score,
    "recall": sklearn.recall_score,
    "f1": sklearn.f1_score,
    "iou": sklearn.jaccard_score,
}


@pytest.mark.filterwarnings("ignore:.*is ill-defined")  # a class that is never guessed
@pytest.mark.parametrize("average", ["macro", "micro"])
@pytest.mark.parametrize("name", RATIOS)
@pytest.mark.parametrize(
    "some", [batches(), batches(10, known=4), batches(3, (5, 4))], ids=["classes", "some classes", "pixels"]
)
def test_ratios_are_those_of_scikit_learn(some: Batches, name: str, average: str) -> None:
    guess, label = whole(some)
    assert value(some, name, average=average) == pytest.approx(RATIOS[name](label, guess, average=average), abs=1e-12)


@pytest.mark.parametrize("name", RATIOS)
@pytest.mark.parametrize("some", [batches(1), batches(1, (5, 4))], ids=["classes", "pixels"])
def test_of_one_output_ratios_are_those_of_class_1(some: Batches, name: str) -> None:
    guess, label = whole(some)
    assert value(some, name) == pytest.approx(RATIOS[name](label, guess), abs=1e-12)
    assert value(some, "acc") == sklearn.accuracy_score(label, guess)


@pytest.mark.filterwarnings("ignore:.*is ill-defined")
def test_a_class_that_is_never_guessed_or_never_there_counts_0() -> None:
    output = torch.eye(4)[torch.tensor([0, 0, 1, 3])]
    label = torch.tensor([0, 1, 1, 2])  # 2 not guessed, 3 not there
    for name, function in RATIOS.items():
        assert value([(output, label)], name) == pytest.approx(function(label, output.argmax(1), average="macro"))


def test_nothing_to_find_and_nothing_found_is_perfect() -> None:
    empty: Batches = [(torch.full((2, 1, 3, 3), -1.0), torch.zeros(2, 3, 3, dtype=torch.long))]
    assert [value(empty, name) for name in ("dice", "iou", "precision")] == [1.0, 1.0, 1.0]


def test_top_k_is_that_of_scikit_learn() -> None:
    output, label = (torch.cat(parts) for parts in zip(*batches(), strict=True))
    for k in (1, 2, 5):
        assert value(batches(), "top_k", k=k) == sklearn.top_k_accuracy_score(label, output, k=k)
    assert value(batches(4, (5, 4)), "top_k", k=1) == value(batches(4, (5, 4)), "acc")


@pytest.mark.parametrize("some", [batches(), batches(1), batches(3, (5, 4))], ids=["classes", "one", "pixels"])
def test_the_confusion_matrix_is_that_of_scikit_learn_and_no_number_of_history(some: Batches) -> None:
    guess, label = whole(some)
    totals = fed(Totals(build([{"name": "acc"}, {"name": "confusion"}])), some)
    assert totals.tables("test") == {"test/confusion": sklearn.confusion_matrix(label, guess).tolist()}
    assert list(totals.values("test")) == ["test/loss", "test/acc"]
    assert totals.names == ["loss", "acc"]


@pytest.mark.parametrize("some", [batches(1, (5, 4)), batches(3, (2, 2))], ids=["mask", "classes"])
def test_dice_is_the_mean_over_images_of_scikit_learns_f1(some: Batches) -> None:
    output, label = (torch.cat(parts) for parts in zip(*some, strict=True))
    average = "binary" if output.shape[1] == 1 else "macro"
    each = [sklearn.f1_score(one.flatten(), guess.flatten(), average=average, zero_division=1.0)
            for one, guess in zip(label, predicted(output), strict=True)]  # fmt: skip
    assert value(some, "dice") == pytest.approx(sum(each) / len(each), abs=1e-12)


def images(size: int = 16, channels: int = 1) -> Batches:
    generator = torch.Generator().manual_seed(0)
    drawn = [torch.rand(batch, channels, size, size, generator=generator) for batch in (4, 3)]
    return [(one, (one + 0.1 * torch.randn(one.shape, generator=generator)).clamp(0, 1)) for one in drawn]


def compared(some: Batches, name: str, **arguments: Any) -> float:
    metric = METRIC[name](**arguments)
    for output, target in some:
        metric.add(output, target)
    return metric.value()  # type: ignore[no-any-return]


def test_psnr_by_hand() -> None:
    zeros = torch.zeros(1, 1, 4, 4)
    tenths = torch.full((1, 4, 4), 0.1)  # 20 dB; a mask may lack the channel
    assert compared([(zeros, tenths)], "psnr") == pytest.approx(20, abs=1e-5)
    assert compared([(zeros, tenths), (zeros, tenths / 10)], "psnr") == pytest.approx((20 + 40) / 2, abs=1e-5)
    assert compared([(zeros, 25.5 * torch.ones(1, 4, 4))], "psnr", range=255.0) == pytest.approx(20, abs=1e-5)


def ssim_by_loops(x: Tensor, y: Tensor, range_: float) -> float:
    """Follow the paper, equations 13 to 17, window by window."""
    weight = [[math.exp(-(i * i + j * j) / (2 * 1.5**2)) for j in range(-5, 6)] for i in range(-5, 6)]
    w = torch.tensor(weight, dtype=torch.float64)
    w /= w.sum()
    c1 = (0.01 * range_) ** 2
    c2 = (0.03 * range_) ** 2
    found = []
    for channel in range(len(x)):
        for row in range(x.shape[1] - 10):
            for column in range(x.shape[2] - 10):
                a, b = (one[channel, row : row + 11, column : column + 11].double() for one in (x, y))
                ma = (w * a).sum()
                mb = (w * b).sum()
                va = (w * (a - ma) ** 2).sum()
                vb = (w * (b - mb) ** 2).sum()
                cov = (w * (a - ma) * (b - mb)).sum()
                found.append((2 * ma * mb + c1) * (2 * cov + c2) / ((ma**2 + mb**2 + c1) * (va + vb + c2)))
    return float(torch.stack(found).mean())


@pytest.mark.parametrize("channels", [1, 3])
def test_ssim_is_that_of_the_paper(channels: int) -> None:
    some = images(14, channels)
    each = [ssim_by_loops(x, y, 1.0) for output, target in some for x, y in zip(output, target, strict=True)]
    assert compared(some, "ssim") == pytest.approx(sum(each) / len(each), abs=1e-9)
    larger = [(output * 255, target * 255) for output, target in some]
    assert compared(larger, "ssim", range=255.0) == pytest.approx(compared(some, "ssim"), abs=1e-6)


def test_ssim_of_plain_images_is_that_of_their_light() -> None:
    a = 0.5
    b = 0.25
    c1 = 0.01**2
    some: Batches = [(torch.full((1, 1, 12, 12), a), torch.full((1, 12, 12), b))]
    assert compared(some, "ssim") == pytest.approx((2 * a * b + c1) / (a * a + b * b + c1), abs=1e-9)
    assert compared([(some[0][0], some[0][0])], "ssim") == pytest.approx(1.0)


@pytest.mark.parametrize("name", ["psnr", "ssim"])
def test_mixed_precision_does_not_round_the_target(name: str) -> None:
    some = images(14, 1)
    rounded = [(output.bfloat16(), target) for output, target in some]
    assert compared(rounded, name) == compared([(output.double(), target) for output, target in rounded], name)


def test_images_of_other_shapes_are_an_error() -> None:
    with pytest.raises(ValueError, match="psnr and ssim compare images"):
        compared([(torch.zeros(2, 3, 12, 12), torch.zeros(2, 12, 12))], "psnr")


class Given:
    """A metric whose value is of some kind."""

    def __init__(self, kind: str) -> None:
        self._kind = kind

    def add(self, output_BK: Tensor, target_B: Tensor) -> None:
        pass

    def value(self) -> Any:
        return {"int": 2, "numpy": np.float64(2), "tensor": torch.tensor(2.0)}[self._kind]


@pytest.mark.parametrize("kind", ["int", "numpy", "tensor"])
def test_a_value_of_any_kind_is_a_number_for_history(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(METRIC, "given", Given)
    values = fed(Totals(build([{"name": "given", "kind": kind}])), batches()).values("val")
    assert json.loads(json.dumps(values))[f"val/given_{kind}"] == 2
    assert {type(one) for one in values.values()} == {float}


@pytest.mark.parametrize(
    ("part", "name"),
    [
        ({"name": "acc"}, "acc"),
        ({"name": "top_k", "k": 5}, "top_5"),
        ({"name": "f1", "average": "micro"}, "f1_micro"),
        ({"name": "psnr", "range": 2.0}, "psnr_2.0"),
        ({"name": "own", "at": [1, 2], "x": "a/b"}, "own_-1-2-_a-b"),
    ],
)
def test_the_name_in_history_has_the_arguments(part: dict[str, Any], name: str) -> None:
    assert title(part) == name


def test_a_metric_may_be_listed_twice_with_other_arguments() -> None:
    totals = fed(Totals(build([{"name": "top_k", "k": 2}, {"name": "top_k", "k": 5}])), batches())
    assert list(totals.values("val")) == ["val/loss", "val/top_2", "val/top_5"]
    with pytest.raises(Refused, match="metric: 'top_5' is listed twice"):
        Totals(build([{"name": "top_k", "k": 5}, {"name": "top_k", "k": 5}]))


def test_a_top_k_of_all_classes_is_refused() -> None:
    Totals(build([{"name": "top_k", "k": 5}])).check(classes=6)
    with pytest.raises(Refused, match=r"metric\.k = 5: of 5 classes it has to leave some out"):
        Totals(build([{"name": "top_k", "k": 5}])).check(classes=5)
