"""Equinox and optax, the step jitted, pictures in memory, by Equinox's page on MNIST."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import task


class LeNet5(eqx.Module):
    layers: list

    def __init__(self, key: jax.Array) -> None:
        keys = jax.random.split(key, 5)
        self.layers = [
            eqx.nn.Conv2d(1, 6, 5, key=keys[0]),
            jnp.tanh,
            eqx.nn.AvgPool2d(2, 2),
            eqx.nn.Conv2d(6, 16, 5, key=keys[1]),
            jnp.tanh,
            eqx.nn.AvgPool2d(2, 2),
            jnp.ravel,
            eqx.nn.Linear(400, 120, key=keys[2]),
            jnp.tanh,
            eqx.nn.Linear(120, 84, key=keys[3]),
            jnp.tanh,
            eqx.nn.Linear(84, 10, key=keys[4]),
        ]

    def __call__(self, x: jax.Array) -> jax.Array:
        for layer in self.layers:
            x = layer(x)
        return x


@eqx.filter_jit
def loss(model: LeNet5, x: jax.Array, y: jax.Array) -> jax.Array:
    outputs = jax.vmap(model)(x)
    return optax.softmax_cross_entropy_with_integer_labels(outputs, y).mean()


optim = optax.sgd(task.LEARNING_RATE, momentum=task.MOMENTUM)


@eqx.filter_jit
def make_step(model: LeNet5, state: Any, x: jax.Array, y: jax.Array) -> tuple[LeNet5, Any, Any]:
    value, grads = eqx.filter_value_and_grad(loss)(model, x, y)
    updates, state = optim.update(grads, state, eqx.filter(model, eqx.is_array))
    return eqx.apply_updates(model, updates), state, value


def main() -> None:
    given = task.arguments()
    images, labels = task.pictures(given.root)
    model = LeNet5(jax.random.key(0))
    state = optim.init(eqx.filter(model, eqx.is_array))
    rng = np.random.default_rng(0)

    def train(count: int) -> None:
        nonlocal model, state
        order = rng.permutation(count)
        for first in range(0, count, task.BATCH):
            rows = order[first : first + task.BATCH]
            model, state, value = make_step(model, state, images[rows], labels[rows])
        jax.block_until_ready(value)

    def tell() -> dict[str, Any]:
        arrays = jax.tree.leaves(eqx.filter(model, eqx.is_array))
        found = loss(model, images[: task.JUDGED], labels[: task.JUDGED])
        return {"loss": float(found), "parameters": sum(array.size for array in arrays)}

    task.measure(given, lambda count: lambda: train(count), tell)


if __name__ == "__main__":
    main()
