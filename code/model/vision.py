"""torchvision's classifiers by name; docs.pytorch.org/vision/stable/models.html lists them with their papers."""

import re
from pathlib import Path
from typing import Any, NamedTuple
from urllib.error import URLError

import torch
from torch import Tensor, nn

from exper.core.components import Share
from exper.core.errors import Refused, unknown_name


class StartWeights(NamedTuple):
    """Weights to start from, under the model's own names, and the file that they come from."""

    weights: dict[str, Tensor]
    path: Path


class Torchvision(nn.Module):
    """Map images (B, C, H, W), with C 3 or 1, to logits (B, K): `net` with a new last layer, the head.

    With `freeze` the body, which is all the rest, keeps its weights and the statistics of its batch normalization, and
    has no dropout. Each net has a minimum image size, often 32 pixels. `pretrained = "torchvision"` in config.py starts
    from torchvision's weights of the body.

    Raises:
        ValueError: the images have another number of channels.
    """

    def __init__(
        self, shape: tuple[int, int, int], classes: int, net: str, freeze: bool = False, dropout: Share = 0.0
    ) -> None:
        super().__init__()
        if shape[0] not in (1, 3):
            raise ValueError(f"images have {shape[0]} channels; torchvision's nets take 3, or 1 for all three")
        self.net = net
        self.shape = shape
        self.freeze = freeze
        self.body = _net(net, shape)
        self.head = nn.Sequential(nn.Dropout(dropout), nn.Linear(_cut_head(self.body), classes))
        self.body.requires_grad_(not freeze)
        self.train()

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.body(x.expand(-1, 3, -1, -1)))  # type: ignore[no-any-return]

    def train(self, mode: bool = True) -> "Torchvision":
        """Set training mode, except of a frozen body: its running means would drift away from its weights."""
        super().train(mode)
        self.body.train(mode and not self.freeze)
        return self

    @staticmethod
    def check(net: str, **_: Any) -> None:
        """Refuse a `net` that is no classifier of torchvision."""
        from torchvision import models  # takes a second, which other models don't wait for

        names = models.list_models(module=models)
        if net not in names:
            raise unknown_name("model.net", net, names)

    def start_weights(self) -> StartWeights:
        """Return torchvision's weights of the body, under the names of this model, and their file.

        They are downloaded on first use.

        Raises:
            Refused: the file can't be downloaded.
        """
        from torchvision import models

        weights: Any = models.get_model_weights(self.net)["DEFAULT"]
        path = Path(torch.hub.get_dir()) / "checkpoints" / weights.url.rpartition("/")[2]
        try:
            saved = weights.get_state_dict(progress=False, check_hash=True, weights_only=True)
        except (URLError, TimeoutError, ConnectionError) as error:
            raise Refused(
                f"pretrained = 'torchvision': {getattr(error, 'reason', error)}. Put {weights.url} at {path} by hand."
            ) from None
        # DenseNet's files have names from before its modules were renamed.
        old_name = re.compile(r"(denselayer\d+\.(?:norm|conv))\.([12]\.)")
        saved = {old_name.sub(r"\1\2", name): weight for name, weight in saved.items()}
        of_body = {f"body.{name}": saved[name] for name in self.body.state_dict() if name in saved}
        return StartWeights(of_body, path)


def _net(name: str, shape: tuple[int, int, int]) -> nn.Module:
    from torchvision import models

    arguments: dict[str, Any] = {}
    if name in ("inception_v3", "googlenet"):
        arguments = {"aux_logits": False, "init_weights": True}
    elif name.startswith("vit_"):
        arguments = {"image_size": shape[1]}
    elif name.startswith("maxvit"):
        arguments = {"input_size": shape[1:]}
    return models.get_model(name, weights=None, **arguments)  # type: ignore[no-any-return]


def _cut_head(net: nn.Module) -> int:
    """Replace the last layer of a net by the identity; return its number of input features."""
    layers = dict(net.named_modules())
    linear = [name for name, module in layers.items() if isinstance(module, nn.Linear)]
    convolutions = [name for name, module in layers.items() if isinstance(module, nn.Conv2d)]
    *_, whole_name = linear or convolutions  # SqueezeNet ends in a convolution
    last = layers[whole_name]
    parent, _, name = whole_name.rpartition(".")
    setattr(net.get_submodule(parent), name, nn.Identity())
    assert isinstance(last, nn.Linear | nn.Conv2d)
    return last.in_features if isinstance(last, nn.Linear) else last.in_channels
