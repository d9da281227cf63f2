import gc

import torch

from classicnets.data import image_folder
from classicnets.data.batch_memory import BatchMemory


def address(array):
    return array.__array_interface__["data"][0]


def test_memory_is_used_again_once_its_batch_is_gone():
    memory = BatchMemory((4, 3, 2, 2))
    first = address(batch := memory.take(4))
    del batch
    assert address(memory.take(3)) == first


def test_memory_of_a_batch_that_a_view_a_graph_or_an_array_holds_is_left_alone():
    memory = BatchMemory((4, 3, 2, 2))

    def view():
        return torch.from_numpy(memory.take(4))[1:, :, 0]

    def graph():
        weight = torch.ones(2, requires_grad=True)
        return (torch.from_numpy(memory.take(4)).zero_() * weight).sum()

    def array():
        return torch.from_numpy(memory.take(4)).numpy()[2]

    held = [view(), graph(), array()]
    gc.collect()
    for number in range(3):
        memory.take(4)[:] = number
    batches = [memory.take(4) for _ in range(3)]
    for number, batch in enumerate(batches):
        batch[:] = number + 7
    held[1].backward()
    for number, batch in enumerate(batches):
        assert (batch == number + 7).all()
    addresses = {address(batch) for batch in batches}
    assert held[0].untyped_storage().data_ptr() not in addresses
    assert address(held[2]) - 2 * held[2].nbytes not in addresses


def test_batches_that_are_kept_stay_what_they_were(folder):
    def loader():
        return image_folder(folder, image_size=28, batch_size=3, seed=5).train

    kept = list(loader()) + list(loader())
    copies = [images.clone() for images, _ in loader()]
    for (images, _), copy in zip(kept, 2 * copies, strict=True):
        assert torch.equal(images, copy)
    batches = iter(loader())
    images, _ = next(batches)
    view = images[:, 1]
    before = view.clone()
    del images
    for images, _ in batches:
        images.fill_(7)
    assert torch.equal(view, before)
