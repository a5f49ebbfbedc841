"""The classifiers of torchvision by name; they are listed under docs.pytorch.org/vision/stable/models.html."""

import re
from pathlib import Path
from typing import Any
from urllib.error import URLError

import torch
from torch import Tensor, nn

from exper.core.components import Share
from exper.core.errors import Refused, unknown_name


class Torchvision(nn.Module):
    """Map images (B, C, H, W), of 3 channels or 1, to logits (B, K): the body of `net`, and a head of our own.

    With `freeze` the body stays as it is: its weights, the statistics of its batch normalization, and without dropout.
    Each net needs a least size of images, often 32 pixels. `pretrained = "torchvision"` in config.py, beside `model`,
    starts from the weights that torchvision offers for the body.
    """

    def __init__(
        self, shape: tuple[int, int, int], classes: int, net: str, freeze: bool = False, dropout: Share = 0.0
    ) -> None:
        super().__init__()
        if shape[0] not in (1, 3):
            raise ValueError(f"images have {shape[0]} channels; torchvision's nets take 3, or 1 for all three")
        self.net, self.shape, self.freeze = net, shape, freeze
        self.body = _net(net, shape)
        self.head = nn.Sequential(nn.Dropout(dropout), nn.Linear(_cut_head(self.body), classes))
        self.body.requires_grad_(not freeze)
        self.train()

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.body(x.expand(-1, 3, -1, -1)))  # type: ignore[no-any-return]

    def train(self, mode: bool = True) -> "Torchvision":
        """Set training mode, of what is not frozen: else running means would drift away from the frozen weights."""
        super().train(mode)
        self.body.train(mode and not self.freeze)
        return self

    @staticmethod
    def check(net: str, **_: Any) -> None:
        """Refuse what is no classifier of torchvision."""
        from torchvision import models  # a second of importing, for those who use it

        known = models.list_models(module=models)
        if net not in known:
            raise unknown_name("model.net", net, known)

    def start_weights(self) -> tuple[dict[str, Tensor], Path]:
        """Return torchvision's weights of the body under our names, and their file; download it on first use.

        Raises:
            Refused: there is none, and it can't be downloaded.
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
        # DenseNet's files are older than its names.
        saved = {re.sub(r"(denselayer\d+\.(?:norm|conv))\.([12]\.)", r"\1\2", name): one for name, one in saved.items()}
        return {f"body.{name}": saved[name] for name in self.body.state_dict() if name in saved}, path


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
    """Take the last layer out of a net; return how many features it got."""
    names = [name for name, module in net.named_modules() if isinstance(module, nn.Linear)] or [
        name
        for name, module in net.named_modules()
        if isinstance(module, nn.Conv2d)  # SqueezeNet has no other
    ]
    parent, _, name = names[-1].rpartition(".")
    last = getattr(net.get_submodule(parent), name)
    setattr(net.get_submodule(parent), name, nn.Identity())
    return last.in_features if isinstance(last, nn.Linear) else last.in_channels
