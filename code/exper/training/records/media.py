"""Texts, images and figures that a run shows, in a file each: `shown/<step>_<name>.txt` or `.png`."""

import re
from pathlib import Path
from typing import Any

from exper.core import files

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_IMAGE = "state.show takes a text, an image of 1 or 3 channels (C, H, W), or a figure of matplotlib"


def write(folder: Path, step: int, name: str, value: Any) -> Path:
    """Write a value to its file, and return the file."""
    if not _NAME.fullmatch(name):
        raise ValueError(f"state.show: {name!r} is no name of a file: letters, digits, dots, lines")
    folder.mkdir(exist_ok=True)
    ending = "txt" if isinstance(value, str) else "png"
    path = folder / f"{step}_{name}.{ending}"
    if isinstance(value, str):
        files.replace(path, value.encode(errors="replace"))
        return path
    with files.replacing(path) as file:
        if hasattr(value, "savefig"):
            value.savefig(file, format="png")
        else:
            _to_pillow(value).save(file, format="png")
    return path


def _to_pillow(image_CHW: Any) -> Any:
    """Return an image of integers from 0 to 255, or floats from 0 to 1, as Pillow's."""
    import torch
    from PIL import Image

    try:
        pixels_CHW = torch.as_tensor(image_CHW).detach().cpu()
    except (TypeError, ValueError, RuntimeError) as error:
        raise ValueError(f"{_IMAGE}: {error}") from error
    if pixels_CHW.ndim != 3 or len(pixels_CHW) not in (1, 3):
        raise ValueError(f"{_IMAGE}, not a shape of {tuple(pixels_CHW.shape)}")
    if pixels_CHW.is_floating_point():
        pixels_CHW = (pixels_CHW.float().clamp(0, 1) * 255).round()
    pixels_HWC = pixels_CHW.to(torch.uint8).movedim(0, -1).numpy()
    return Image.fromarray(pixels_HWC if len(pixels_CHW) == 3 else pixels_HWC[:, :, 0])


def summary(name: str, path: Path) -> Any:
    """Return the TensorBoard summary of a file of `write`."""
    from tensorboard.compat.proto.summary_pb2 import Summary

    if path.suffix == ".txt":
        from torch.utils.tensorboard import summary

        return summary.text(name, path.read_text())
    from PIL import Image

    with Image.open(path) as image:
        width, height = image.size
        channels = len(image.getbands())
    picture = Summary.Image(height=height, width=width, colorspace=channels, encoded_image_string=path.read_bytes())
    return Summary(value=[Summary.Value(tag=name, image=picture)])
