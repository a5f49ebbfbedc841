"""Models by name: built from the shape of an image, the number of classes, and config.py's arguments."""

from model.lenet import LeNet

MODEL = {"lenet": LeNet}
