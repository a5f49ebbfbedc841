"""What TensorBoard shows beside curves: histograms, ratios, activations, images, the graph. Each is off by default.

Everything here is a function of the step, the weights and the batch, draws nothing, and changes no bit of training.
Legend: B images, C channels, H height, W width.
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
from exper.training.records.recorder import Statistic

_BINS, _IMAGES = 64, 16


class See:
    """The arguments of config.py's `see`: every how many steps, and at the first, to look at what.

    What is not due at a step costs one comparison.
    """

    def __init__(
        self,
        statistic: Statistic,
        compiled: bool,
        histograms: Count | None = None,  # of every weight and its gradient
        ratios: Count | None = None,  # of a weight's change to the weight, as norms; about 0.001 is healthy
        activations: Count | None = None,  # mean, deviation and share of zeros of every layer's output
        images: Count | None = None,  # what goes into the model
        graph: bool = False,  # of the model, once
    ) -> None:
        if (graph or histograms or ratios or activations or images) and "tensorboard" not in statistic.logger:
            raise Refused('see: TensorBoard is not written. Add "tensorboard" to logger.')
        if compiled and activations is not None:
            raise Refused("see.activations: compiled layers can't be looked into. Set compiled = False.")
        self._every = {"histograms": histograms, "ratios": ratios, "activations": activations, "images": images}
        self._statistic, self._graph, self._step = statistic, graph, 0
        self._old: dict[str, Tensor] = {}  # weights before the step
        self._sums: dict[str, Tensor] = {}  # of a layer's output: count, sum, sum of squares, zeros
        self._handles: list[RemovableHandle] = []

    def _is_due(self, what: str) -> bool:
        every = self._every[what]
        return every is not None and (self._step == 1 or self._step % every == 0)

    def before_step(self, model: nn.Module, step: int, image_BCHW: Tensor) -> None:
        """Look at what goes into step number `step`, counted from 1, and get ready to look at what it does."""
        self._step = step
        if self._is_due("images"):
            self._show(picture("images", image_BCHW[:_IMAGES]))
        if self._graph and step == 1:
            traced = graph(model, image_BCHW[:1])
            if traced is not None:
                self._statistic.events.add(step=step, graph_def=traced)
        if self._is_due("ratios"):
            self._old = {name: weight.detach().clone() for name, weight in _weights(model)}
        if self._is_due("activations"):
            layers = [(name, layer) for name, layer in model.named_modules() if not list(layer.children())]
            self._handles = [layer.register_forward_hook(self._summing(name)) for name, layer in layers]

    def _summing(self, name: str) -> Callable[[nn.Module, Any, Any], None]:
        def add(layer: nn.Module, given: Any, output: Any) -> None:  # noqa: ARG001
            if isinstance(output, Tensor) and output.is_floating_point():
                x = output.detach().double()
                parts = torch.stack([x.new_tensor(x.numel()), x.sum(), x.square().sum(), (x == 0).sum().double()])
                self._sums[name] = self._sums.get(name, 0) + parts

        return add

    def after_step(self, model: nn.Module) -> None:
        """Look at what the step has done. Waits for the GPU if anything is due."""
        for handle in self._handles:
            handle.remove()
        points: dict[str, float] = {}
        for name, old in self._old.items():
            change = model.get_parameter(name).detach() - old
            points |= {f"ratio/{name}": float(change.norm() / old.norm())} if old.any() else {}
        for name, (count, total, squares, zeros) in self._sums.items():
            mean = total / count
            points[f"activation/{name}/mean"] = float(mean)
            points[f"activation/{name}/deviation"] = float((squares / count - mean**2).clamp(min=0).sqrt())
            points[f"activation/{name}/zeros"] = float(zeros / count)
        if points:
            self._statistic.events.write(self._step, points)
        if self._is_due("histograms"):
            for name, weight in _weights(model):
                self._show(histogram(f"weight/{name}", weight))
                if weight.grad is not None:
                    self._show(histogram(f"gradient/{name}", weight.grad))
        self._old, self._sums, self._handles = {}, {}, []

    def _show(self, summary: Any) -> None:
        if summary is not None:
            self._statistic.events.add(step=self._step, summary=summary)


def _weights(model: nn.Module) -> list[tuple[str, nn.Parameter]]:
    return [(name, weight) for name, weight in model.named_parameters() if weight.requires_grad]


def histogram(name: str, tensor: Tensor) -> Any:
    """Return the summary of a tensor's finite numbers; None: it has none."""
    from torch.utils.tensorboard import summary  # imported only where something is to be seen

    numbers = tensor.detach().cpu().double().numpy().ravel()
    numbers = numbers[np.isfinite(numbers)]
    if not len(numbers):
        return None
    counts, limits = np.histogram(numbers, _BINS)
    # summary.histogram computes a dot product in threads: on busy cores seven times as long as this.
    sums = float(numbers.sum()), float(np.square(numbers).sum())
    edges, each = limits.tolist(), [0, *counts.tolist()]  # a bucket is named by its right edge
    return summary.histogram_raw(name, edges[0], edges[-1], len(numbers), *sums, edges, each)


def picture(name: str, image_BCHW: Tensor) -> Any:
    """Return the summary of images side by side, stretched together to black and white; of odd channels, the first."""
    from torch.utils.tensorboard import summary

    image_BCHW = image_BCHW.detach().float().cpu()
    if image_BCHW.shape[1] != 3:
        image_BCHW = image_BCHW[:, :1]
    low, high = image_BCHW.min(), image_BCHW.max()
    return summary.image(name, (image_BCHW - low) / (high - low).clamp(min=1e-12), dataformats="NCHW")


def graph(model: nn.Module, image_1CHW: Tensor) -> bytes | None:
    """Return the model's graph as TensorBoard reads it; None, and a line that says why: it can't be traced."""
    from torch.utils.tensorboard._pytorch_graph import graph as traced

    with warnings.catch_warnings(), torch.random.fork_rng(devices=[]), torch.no_grad():
        warnings.simplefilter("ignore")  # a trace is of one batch, and here that will do
        try:
            return traced(copy.deepcopy(model), image_1CHW)[0].SerializeToString()  # type: ignore[no-any-return]
        except Exception as error:
            print(f"see.graph: this model can't be traced: {str(error).strip().splitlines()[-1]}")
            return None
