"""The first layer with an output that is not finite. It is searched for afterwards, so that training pays nothing."""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn


class NotFinite(FloatingPointError):
    """A loss is NaN or infinite after `steps` steps."""

    def __init__(self, text: str, steps: int) -> None:
        super().__init__(text)
        self.steps = steps


class OriginFound(Exception):
    """The origin of the values that are not finite, in words; it ends the search."""


@contextlib.contextmanager
def checking_model(model: nn.Module, is_due: Callable[[], bool]) -> Iterator[None]:
    """Within the block, raise OriginFound when a forward pass of `model` leaves finite numbers while `is_due()`.

    Weights, buffers and inputs are checked first, then each layer's output in the order of computation. A deep copy of
    `model` made within the block is checked as well.
    """
    handles = [model.register_forward_pre_hook(lambda root, inputs: _check_inputs(root, inputs) if is_due() else None)]
    for name, layer in model.named_modules():
        handles.append(layer.register_forward_hook(_output_check(name or "the model itself", is_due)))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


@contextlib.contextmanager
def checking_targets(loss_of: nn.Module, is_due: Callable[[], bool]) -> Iterator[None]:
    """Within the block, raise OriginFound when `loss_of` gets targets that are not finite while `is_due()`."""

    def check(_: nn.Module, inputs: Any) -> None:
        if is_due() and not _is_finite(inputs[1]):
            raise OriginFound("the output of every layer is finite, but the targets are not")

    handle = loss_of.register_forward_pre_hook(check)
    try:
        yield
    finally:
        handle.remove()


def _check_inputs(model: nn.Module, inputs: Any) -> None:
    for kind, tensors in {"weight": model.named_parameters(), "buffer": model.named_buffers()}.items():
        for name, tensor in tensors:
            if not _is_finite(tensor):
                raise OriginFound(f"before that step the {kind} {name!r} is not finite")
    if not _is_finite(inputs):
        raise OriginFound("the images that go in are not finite")


def _output_check(name: str, is_due: Callable[[], bool]) -> Callable[[nn.Module, Any, Any], None]:
    def check(layer: nn.Module, _: Any, output: Any) -> None:
        if is_due() and not _is_finite(output):
            raise OriginFound(f"the first output that is not finite is that of {name!r} ({type(layer).__name__})")

    return check


def _is_finite(value: Any) -> bool:
    if isinstance(value, Tensor):
        return bool(torch.isfinite(value).all())
    if isinstance(value, dict):
        value = list(value.values())
    return all(map(_is_finite, value)) if isinstance(value, list | tuple) else True
