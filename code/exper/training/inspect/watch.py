"""TensorBoard's histograms, ratios, activations, images and graph of a model. Each is off by default.

Everything here is a function of the step, the weights and the batch, draws no random number, and changes no bit of
training. Legend: B images, C channels, H height, W width.
"""

import copy
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from exper.core.components import Count
from exper.core.errors import Refused
from exper.training.records.recorder import Recorder

_BINS = 64
_MAX_IMAGES = 16


class Watch:
    """Write to TensorBoard at the first step and then every few steps, by the arguments of config.py's `see`.

    A step at which nothing is due costs one comparison for each argument.
    """

    def __init__(
        self,
        recorder: Recorder,
        compiled: bool,
        *,
        histograms: Count | None = None,  # of every weight and its gradient
        ratios: Count | None = None,  # of a weight's change to the weight, as norms; about 0.001 is healthy
        activations: Count | None = None,  # mean, deviation and share of zeros of every layer's output
        images: Count | None = None,  # the model's input
        graph: bool = False,  # of the model, once
    ) -> None:
        if (graph or histograms or ratios or activations or images) and "tensorboard" not in recorder.logger:
            raise Refused('see: TensorBoard is not written. Add "tensorboard" to logger.')
        if compiled and activations is not None:
            raise Refused("see.activations: compiled layers can't be looked into. Set compiled = False.")
        self._every = {"histograms": histograms, "ratios": ratios, "activations": activations, "images": images}
        self._recorder = recorder
        self._graph = graph
        self._step = 0
        self._old: dict[str, Tensor] = {}  # weights before the step
        self._sums: dict[str, Tensor] = {}  # over a layer's output: count, sum, sum of squares, zeros
        self._handles: list[RemovableHandle] = []

    def _is_due(self, kind: str) -> bool:
        every = self._every[kind]
        return every is not None and (self._step == 1 or self._step % every == 0)

    def before_step(self, model: nn.Module, step: int, image_BCHW: Tensor) -> None:
        """Write the input of step number `step`, counted from 1, and prepare for `after_step`."""
        self._step = step
        if self._is_due("images"):
            self._show(picture("images", image_BCHW[:_MAX_IMAGES]))
        if self._graph and step == 1:
            traced = graph(model, image_BCHW[:1])
            if traced is not None:
                self._recorder.events.add(step=step, graph_def=traced)
        if self._is_due("ratios"):
            self._old = {name: weight.detach().clone() for name, weight in _weights(model)}
        if self._is_due("activations"):
            layers = [(name, layer) for name, layer in model.named_modules() if not list(layer.children())]
            self._handles = [layer.register_forward_hook(self._summing(name)) for name, layer in layers]

    def _summing(self, name: str) -> Callable[[nn.Module, Any, Any], None]:
        def add(_layer: nn.Module, _inputs: Any, output: Any) -> None:
            if isinstance(output, Tensor) and output.is_floating_point():
                x = output.detach().double()
                sums = torch.stack([x.new_tensor(x.numel()), x.sum(), x.square().sum(), (x == 0).sum().double()])
                self._sums[name] = self._sums.get(name, 0) + sums

        return add

    def after_step(self, model: nn.Module) -> None:
        """Write the effects of the step. Waits for the GPU if anything is due."""
        for handle in self._handles:
            handle.remove()
        points = self._ratios(model) | self._activations()
        if points:
            self._recorder.events.write(self._step, points)
        if self._is_due("histograms"):
            for name, weight in _weights(model):
                self._show(histogram(f"weight/{name}", weight))
                if weight.grad is not None:
                    self._show(histogram(f"gradient/{name}", weight.grad))
        self._old = {}
        self._sums = {}
        self._handles = []

    def _ratios(self, model: nn.Module) -> dict[str, float]:
        points: dict[str, float] = {}
        for name, old in self._old.items():
            change = model.get_parameter(name).detach() - old
            points |= {f"ratio/{name}": float(change.norm() / old.norm())} if old.any() else {}
        return points

    def _activations(self) -> dict[str, float]:
        points: dict[str, float] = {}
        for name, (count, total, squares, zeros) in self._sums.items():
            mean = total / count
            points[f"activation/{name}/mean"] = float(mean)
            points[f"activation/{name}/deviation"] = float((squares / count - mean**2).clamp(min=0).sqrt())
            points[f"activation/{name}/zeros"] = float(zeros / count)
        return points

    def _show(self, summary: Any) -> None:
        if summary is not None:
            self._recorder.events.add(step=self._step, summary=summary)


def _weights(model: nn.Module) -> list[tuple[str, nn.Parameter]]:
    return [(name, weight) for name, weight in model.named_parameters() if weight.requires_grad]


def histogram(name: str, tensor: Tensor) -> Any:
    """Return the summary of a tensor's finite numbers, or None if it has none."""
    from torch.utils.tensorboard import summary  # imported only when something is written

    numbers = tensor.detach().cpu().double().numpy().ravel()
    numbers = numbers[np.isfinite(numbers)]
    if not len(numbers):
        return None
    counts, limits = np.histogram(numbers, _BINS)
    # summary.histogram computes a dot product in threads, which on busy cores takes seven times as long as this.
    sums = float(numbers.sum()), float(np.square(numbers).sum())
    edges = limits.tolist()
    buckets = [0, *counts.tolist()]  # a bucket is named by its right edge
    return summary.histogram_raw(name, edges[0], edges[-1], len(numbers), *sums, edges, buckets)


def picture(name: str, image_BCHW: Tensor) -> Any:
    """Return the summary of images side by side, stretched together to 0..1; without RGB, of their first channel."""
    from torch.utils.tensorboard import summary

    image_BCHW = image_BCHW.detach().float().cpu()
    if image_BCHW.shape[1] != 3:
        image_BCHW = image_BCHW[:, :1]
    low = image_BCHW.min()
    high = image_BCHW.max()
    return summary.image(name, (image_BCHW - low) / (high - low).clamp(min=1e-12), dataformats="NCHW")


def graph(model: nn.Module, image_1CHW: Tensor) -> bytes | None:
    """Return the model's graph as TensorBoard reads it; if it can't be traced, print the reason and return None."""
    from torch.utils.tensorboard._pytorch_graph import graph as trace

    with warnings.catch_warnings(), torch.random.fork_rng(devices=[]), torch.no_grad():
        warnings.simplefilter("ignore")  # that a trace holds for this batch only, which is enough here
        try:
            return trace(copy.deepcopy(model), image_1CHW)[0].SerializeToString()  # type: ignore[no-any-return]
        except Exception as error:
            print(f"see.graph: this model can't be traced: {str(error).strip().splitlines()[-1]}")
            return None
