"""The moving average of a model's weights."""

import torch
from torch import Tensor, nn

from exper.training.average import Average


def test_the_average_is_exponential_and_copies_buffers() -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
    average = Average(model, 0.9)
    wanted = model.get_parameter("0.weight").detach().clone()
    for step in range(5):
        with torch.no_grad():
            model.get_parameter("0.weight").fill_(step)
            model.get_buffer("1.running_mean").fill_(step)
        average.update()
        wanted = 0.9 * wanted + 0.1 * step
    torch.testing.assert_close(average.model.get_parameter("0.weight"), wanted, check_stride=False)
    assert torch.equal(average.model.get_buffer("1.running_mean"), model.get_buffer("1.running_mean"))
    assert not any(weight.requires_grad for weight in average.model.parameters())


class Replaced(nn.Linear):
    """A layer that puts another tensor into its buffer."""

    mean: Tensor

    def __init__(self) -> None:
        super().__init__(2, 2)
        self.register_buffer("mean", torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        self.mean = 0.9 * self.mean + 0.1 * x.mean()
        return super().forward(x)


def test_the_average_copies_buffers_that_are_replaced() -> None:
    model = nn.Sequential(Replaced(), Replaced())
    average = Average(model, 0.9)
    for _ in range(3):
        model(torch.ones(1, 2))
        average.update()
    for name, buffer in model.named_buffers():
        assert buffer != 0
        assert average.model.get_buffer(name) == buffer
        assert average.model.get_buffer(name) is not buffer
