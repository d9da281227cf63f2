"""Two processes train one LeNet-5: the same call of `fit`, and the same weights as one process.

python examples/two_processes.py       ends in the largest difference of any weight, about 1e-7

On a cluster torchrun starts the processes: `torchrun --nproc-per-node 2 train.py`, where train.py
calls `fit` as always. Here they are started by hand, to be compared with one process.
"""

import os
import socket
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
import torch.multiprocessing as mp

import classicnets


def train(epochs: int) -> torch.nn.Module:
    torch.set_num_threads(1)
    torch.manual_seed(0)  # the first weights
    model = classicnets.LeNet5()
    data = classicnets.data.digits(image_size=32, batch_size=64)
    classicnets.fit(
        model, data.train, epochs=epochs, optimizer="sgd", lr=0.05, device="cpu", progress=False
    )
    return model


def one_of_two(rank: int, port: int, epochs: int, path: Path) -> None:
    # what torchrun tells each process that it starts
    os.environ.update(
        RANK=str(rank), WORLD_SIZE="2", MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port)
    )
    model = train(epochs)  # each works on its half of every batch
    if rank == 0:
        torch.save(model.state_dict(), path)
    os._exit(0)  # torch 2.15 may abort a process of gloo while Python ends, its work done


def main(epochs: int = 3) -> float:
    with socket.socket() as free, TemporaryDirectory() as folder:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
        free.close()
        path = Path(folder) / "weights.pt"
        mp.spawn(one_of_two, (port, epochs, path), nprocs=2)
        of_two = torch.load(path)
    of_one = train(epochs).state_dict()
    return max(float((of_two[name] - of_one[name]).abs().max()) for name in of_one)


if __name__ == "__main__":
    print(main())
