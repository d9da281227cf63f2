"""PyTorch tuned by hand, with the same net and the same optimizer.

The pictures are one tensor, an epoch is one permutation and a gather per batch; nothing is read
back while it trains. glibc is told to keep freed memory, so that the activations of each step do
not have to be asked from the system, and cleared by it, again.
"""

import ctypes
import sys

import task
import torch
import torch_task
from torch import nn

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # malloc.h
MOST = 32 * 2**20  # the largest that glibc takes for M_MMAP_THRESHOLD


def keep_freed_memory() -> bool:
    if not sys.platform.startswith("linux"):
        return False
    libc = ctypes.CDLL(None)
    return bool(libc.mallopt(M_MMAP_THRESHOLD, MOST) and libc.mallopt(M_TRIM_THRESHOLD, 2**30))


def main() -> None:
    given = task.arguments()
    keep_freed_memory()
    net = torch_task.lenet5()
    optimizer = torch_task.sgd(net)
    images, labels = torch_task.tensors(given)

    def train(count: int) -> None:
        for rows in torch.randperm(count).split(task.BATCH):
            outputs = net(images.index_select(0, rows))
            loss = nn.functional.cross_entropy(outputs, labels.index_select(0, rows))
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()

    task.measure(
        given,
        lambda count: lambda: train(count),
        lambda: torch_task.tell(net, images, labels),
    )


if __name__ == "__main__":
    main()
