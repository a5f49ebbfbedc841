"""Models by name: each is built with the shape of an image, the number of classes, and config.py's arguments."""

from model.lenet import LeNet
from model.mlp import MLP

MODEL = {"lenet": LeNet, "mlp": MLP}
