"""torchvision's own code runs here; only where it looks, and what it expects to find there, is set for the test."""

import functools
import gzip
import hashlib
import http.server
import multiprocessing
import os
import pickle
import tarfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torchvision import datasets

from data import DATA
from data.cifar10 import cifar10
from data.mnist import fashion_mnist, mnist
from exper.core.errors import Refused
from exper.training.data.batches import Tensors
from exper.training.data.split import Split
from tests.support import play

SIZES = {"train": 60, "t10k": 20}


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    """Serve the folder `server`; return its address."""
    handler = functools.partial(Quiet, directory=str(tmp_path / "server"))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as serving:
        thread = threading.Thread(target=serving.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{serving.server_address[1]}/"
        serving.shutdown()
        thread.join()


def idx(array: "np.ndarray[Any, Any]") -> bytes:
    """Return bytes in the format of MNIST's files: big-endian type, dimensions, values."""
    return (
        b"\0\0\x08" + bytes([array.ndim]) + b"".join(side.to_bytes(4, "big") for side in array.shape) + array.tobytes()
    )


def samples(part: str) -> "tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]":
    random = np.random.default_rng(len(part))
    size = SIZES[part]
    return random.integers(0, 256, (size, 28, 28), np.uint8), (np.arange(size) % 10).astype(np.uint8)


def write_mnist(folder: Path) -> dict[str, str]:
    """Write the four compressed files; return the md5 of each."""
    folder.mkdir(parents=True)
    for part in SIZES:
        for name, values in zip(("images-idx3", "labels-idx1"), samples(part), strict=True):
            (folder / f"{part}-{name}-ubyte.gz").write_bytes(gzip.compress(idx(values)))
    return {path.name: hashlib.md5(path.read_bytes()).hexdigest() for path in folder.iterdir()}


def publish(kind: Any, url: str, md5: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kind, "mirrors", [url])
    monkeypatch.setattr(kind, "resources", list(md5.items()))


def check_mnist(found: Tensors) -> None:
    images, labels = zip(*(samples(part) for part in SIZES), strict=True)
    assert np.array_equal(found.images[:, 0].numpy(), np.concatenate(images))
    assert np.array_equal(found.targets.numpy(), np.concatenate(labels))
    assert (found.shape, found.classes, found.images.dtype) == ((1, 28, 28), 10, torch.uint8)
    index = Split(val=0.1).of(found)
    assert index["test"].tolist() == list(range(60, 80))
    assert found.targets[index["val"]].bincount(minlength=10).max() == 1


@pytest.mark.parametrize(("read", "kind"), [(mnist, datasets.MNIST), (fashion_mnist, datasets.FashionMNIST)])
def test_mnist_is_downloaded_once(
    read: Any, kind: Any, server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    md5 = write_mnist(tmp_path / "server")
    publish(kind, server, md5, monkeypatch)
    check_mnist(read(tmp_path / "data"))
    assert {path.name for path in (tmp_path / "data").iterdir()} == {kind.__name__, f".{kind.__name__}.lock"}
    publish(kind, "http://127.0.0.1:9/", md5, monkeypatch)
    check_mnist(read(tmp_path / "data"))


def test_archives_put_there_by_hand_are_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    publish(datasets.MNIST, "http://127.0.0.1:9/", write_mnist(tmp_path / "MNIST" / "raw"), monkeypatch)
    check_mnist(mnist(tmp_path))


def test_without_network_the_error_says_what_to_put_where(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    publish(datasets.MNIST, "http://127.0.0.1:9/", {"train-images-idx3-ubyte.gz": "0"}, monkeypatch)
    run = play.born(tmp_path / "0")
    settings = {"name": "mnist", "batch_size": 4, "eval_batch_size": 4, "split": {"val": 0.1}}
    with pytest.raises(SystemExit) as error:
        play.train(run, play.config(data=settings))
    assert error.value.code == 2
    (line,) = run.refused.read_text().splitlines()
    assert line == (
        "data: MNIST can't be downloaded or read (<urlopen error [Errno 111] Connection refused>). Put "
        "train-images-idx3-ubyte.gz, train-labels-idx1-ubyte.gz, t10k-images-idx3-ubyte.gz, t10k-labels-idx1-ubyte.gz "
        f"into {run.folder / 'data' / 'MNIST' / 'raw'}, in place of broken files, by hand."
    )


def test_a_broken_download_is_refused_and_the_next_one_mends_it(
    server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(datasets.MNIST, server, write_mnist(tmp_path / "server"), monkeypatch)
    images = tmp_path / "server" / "train-images-idx3-ubyte.gz"
    whole = images.read_bytes()
    images.write_bytes(whole[:-9])
    with pytest.raises(Refused, match="File not found or corrupted"):
        mnist(tmp_path / "data")
    images.write_bytes(whole)
    check_mnist(mnist(tmp_path / "data"))


def test_a_file_cut_off_while_unpacking_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    publish(datasets.MNIST, "http://127.0.0.1:9/", write_mnist(tmp_path / "MNIST" / "raw"), monkeypatch)
    mnist(tmp_path)
    os.truncate(tmp_path / "MNIST" / "raw" / "train-images-idx3-ubyte", 5000)
    with pytest.raises(Refused, match=r"into .*raw, in place of broken files"):
        mnist(tmp_path)


def test_a_read_only_folder_that_has_all_is_enough(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    publish(datasets.MNIST, "http://127.0.0.1:9/", write_mnist(tmp_path / "MNIST" / "raw"), monkeypatch)
    mnist(tmp_path)
    (tmp_path / ".MNIST.lock").unlink()
    mnist(tmp_path)
    assert not (tmp_path / ".MNIST.lock").exists()


def _download(folder: str, server: str, md5: dict[str, str], queue: Any) -> None:
    with pytest.MonkeyPatch.context() as monkeypatch:
        publish(datasets.MNIST, server, md5, monkeypatch)
        queue.put(mnist(Path(folder)).fingerprint())


def test_two_runs_at_once_download_without_collision(server: str, tmp_path: Path) -> None:
    md5 = write_mnist(tmp_path / "server")
    context = multiprocessing.get_context("fork")
    queue: Any = context.Queue()
    arguments = (str(tmp_path / "data"), server, md5, queue)
    downloads = [context.Process(target=_download, args=arguments) for _ in range(6)]
    for one in downloads:
        one.start()
    assert len({queue.get(timeout=60) for _ in downloads}) == 1
    for one in downloads:
        one.join(timeout=60)
        assert one.exitcode == 0


def write_cifar(folder: Path, server: str, monkeypatch: pytest.MonkeyPatch) -> "np.ndarray[Any, Any]":
    """Write the archive as its authors made it, 10 images a batch; return all images."""
    random = np.random.default_rng(1)
    kind = datasets.CIFAR10
    inside = folder / "cifar-10-batches-py"
    inside.mkdir(parents=True)
    images: list[Any] = []
    for name in (*(f"data_batch_{number}" for number in range(1, 6)), "test_batch"):
        pixels = random.integers(0, 256, (10, 3072), np.uint8)
        labels = [(number + len(images)) % 10 for number in range(10)]
        (inside / name).write_bytes(pickle.dumps({"data": pixels, "labels": labels}))
        images.append(pixels)
    (inside / "batches.meta").write_bytes(pickle.dumps({"label_names": list("abcdefghij")}))
    with tarfile.open(folder / kind.filename, "w:gz") as archive:
        archive.add(inside, inside.name)
    md5 = {
        path.name: hashlib.md5(path.read_bytes()).hexdigest() for path in (*inside.iterdir(), folder / kind.filename)
    }
    monkeypatch.setattr(kind, "url", server + kind.filename)
    monkeypatch.setattr(kind, "tgz_md5", md5[kind.filename])
    monkeypatch.setattr(kind, "train_list", [[f"data_batch_{n}", md5[f"data_batch_{n}"]] for n in range(1, 6)])
    monkeypatch.setattr(kind, "test_list", [["test_batch", md5["test_batch"]]])
    monkeypatch.setattr(kind, "meta", {**kind.meta, "md5": md5["batches.meta"]})
    return np.concatenate(images).reshape(-1, 3, 32, 32)


def test_cifar10_is_downloaded_once(server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images = write_cifar(tmp_path / "server", server, monkeypatch)
    found = cifar10(tmp_path)
    assert np.array_equal(found.images.numpy(), images)
    assert found.images.is_contiguous()
    assert found.targets.tolist() == [(number + part) % 10 for part in range(6) for number in range(10)]
    assert found.own["test"].tolist() == list(range(50, 60))
    monkeypatch.setattr(datasets.CIFAR10, "url", "http://127.0.0.1:9/")
    assert cifar10(tmp_path).fingerprint() == found.fingerprint()


def test_a_broken_cifar10_is_refused(server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_cifar(tmp_path / "server", server, monkeypatch)
    os.truncate(tmp_path / "server" / "cifar-10-python.tar.gz", 500)
    with pytest.raises(Refused, match=r"Put cifar-10-python.tar.gz into .*CIFAR10 by hand"):
        cifar10(tmp_path)


def test_all_data_sets_are_known() -> None:
    assert {*DATA} == {"digits", "mnist", "fashion_mnist", "cifar10", "image_folder", "carvana"}
