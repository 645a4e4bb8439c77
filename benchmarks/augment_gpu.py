"""Augmentation on an accelerator: images per second inside the compiled step, and what it adds to training.

    KERAS_BACKEND=jax python -m benchmarks.augment_gpu [--size 64] [--batch 4096] [--particles 65536]

Runs on any backend of Keras; without an accelerator it says so and ends, unless --cpu asks for a trial. The particles' spline
coefficients lie in the device's memory. Draws and maps are made on the host, ahead of the device, in the
measured time. A mean per image is all that comes back.
"""

import argparse
import os
import statistics
import time
from importlib.metadata import version

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np

from temlib.augment import Augmentation, OnDevice
from temlib.train import networks

SLIDES = Augmentation()


def rate(step, batch, rounds):
    """Return images per second: the median over rounds of ten steps each, after one that compiles."""
    step()
    found = []
    for _ in range(rounds):
        start = time.perf_counter()
        for _ in range(10):
            step()
        found.append(10 * batch / (time.perf_counter() - start))
    return statistics.median(found)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--batch", type=int, default=4096)
    parser.add_argument("--particles", type=int, default=65536)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--cpu", action="store_true", help="run on a CPU too, to see that it runs")
    options = parser.parse_args()
    keras = networks.backend()
    if not (OnDevice.available() or options.cpu):
        print("No accelerator here: nothing was measured.")
        return
    shape, random = (options.size, options.size), np.random.default_rng(0)
    images = random.normal(size=(options.particles, *shape)).astype("float32")
    labels = np.eye(3, dtype=np.float32)[random.integers(0, 3, options.batch)]

    def drawn(device):
        index = random.integers(0, options.particles, options.batch)
        return device.batch(SLIDES.draw(options.batch, random), index)

    mean = keras.Sequential([keras.Input((*shape, 1)), keras.layers.GlobalAveragePooling2D()])
    alone = OnDevice(mean, SLIDES, options.particles, shape)
    network = networks.build("lipnet4", input_size=options.size, classes=3, seed=0)
    joined = OnDevice(network, SLIDES, options.particles, shape)
    for device in (alone, joined):
        device.prepare(images)
    loss = keras.losses.CategoricalCrossentropy(from_logits=True)
    for model in (network, joined.model):
        model.compile(keras.optimizers.AdamW(1e-3), loss, jit_compile=OnDevice.available())
    fixed = images[: options.batch, ..., None]
    ways = {
        "draw and spline": lambda: alone.model.predict_on_batch(drawn(alone)),
        "lipnet4 trained on one batch again and again": lambda: network.train_on_batch(fixed, labels),
        "lipnet4 trained, augmented in its step": lambda: joined.model.train_on_batch(drawn(joined), labels),
    }
    name = keras.backend.backend()
    package = {"torch": "torch", "jax": "jax", "tensorflow": "tensorflow"}[name]
    where = "accelerator" if OnDevice.available() else "CPU only: says nothing about a GPU"
    print(
        f"keras {version('keras')} on {name} {version(package)}, {where}; {options.size}×{options.size}, "
        f"batches of {options.batch}, {options.particles:,} particles"
    )
    print("\n| what | images/s |\n|---|---|")
    for what, step in ways.items():
        print(f"| {what} | {rate(step, options.batch, options.rounds):,.0f} |", flush=True)


if __name__ == "__main__":
    main()
