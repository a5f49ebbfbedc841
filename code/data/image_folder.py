"""Images in a folder for each class, of any format and size, as torchvision's ImageFolder expects them."""

from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from exper.core.errors import Refused
from exper.training.data.files import Files, Size
from exper.training.data.types import Samples

SPLITS = {"train": "train", "valid": "val", "val": "val", "test": "test"}  # names of folders, and of splits


class ImageFolder(Files):
    """`<path>/<class>/….jpg`, or `<path>/train/<class>/….jpg` with the same in `valid` (or `val`) and `test`.

    If there is no folder valid or test, these samples are split from train. Classes are numbered in alphabetical order.

    Raises:
        Refused: there are fewer than two classes, a class without images, or an image outside the folders of classes.
    """

    labels: Tensor

    def __init__(self, folder: Path, path: str, size: Size, channels: Literal[1, 3] = 3) -> None:
        super().__init__(folder, path, size, channels)
        self.files = list(self.bytes)
        has_splits = (self.root / "train").is_dir()
        places = [self._place(name, has_splits) for name in self.files]
        self.names = self._classes(self.root / "train" if has_splits else self.root, set(places))
        number = {name: number for number, name in enumerate(self.names)}
        self.labels = torch.tensor([number[label] for _, label in places])
        self.classes = len(number)
        self.own = {
            name: torch.tensor([split == name for split, _ in places]).nonzero().flatten()
            for name in {split for split, _ in places} - {"train"}
        }

    def _place(self, name: str, has_splits: bool) -> tuple[str, str]:
        """Return the split and the class of a file."""
        folders = name.split("/")[:-1] if has_splits else ["train", *name.split("/")[:-1]]
        split, label = [*folders, "", ""][:2]
        if split not in SPLITS or not label:
            where = "train, valid or test" if split not in SPLITS else "the folder of a class"
            raise Refused(f"data: {self.root / name} is not in {where}. Move it.")
        return SPLITS[split], label

    def _classes(self, root: Path, places: set[tuple[str, str]]) -> list[str]:
        names = sorted(path.name for path in root.iterdir() if path.is_dir() and not path.name.startswith("."))
        if len(names) < 2 or not {*SPLITS}.isdisjoint(names):
            raise Refused(
                f"data: {root} needs a folder for each of two classes or more, or train with them in it. Make them."
            )
        trained = {label for split, label in places if split == "train"}
        odd = sorted({*names} ^ trained | {label for _, label in places} - trained)
        if odd:
            raise Refused(f"data: the class {odd[0]!r} has no images in {root}. Put some there, or remove it.")
        return names

    def __getitems__(self, index_B: Tensor) -> Samples:
        return self.read_images([self.files[index] for index in index_B.tolist()]), self.labels[index_B]

    def __len__(self) -> int:
        return len(self.files)
