"""Augmentation side by side with what people would use instead: speed, agreement, detail, noise.

    python -m benchmarks.augment [--quick] [--crops FOLDER]

Prints markdown tables. Each way takes turns with temlib on the same images in one process; a ratio is the
median of the rounds. `benchmarks.cures` trains networks under each cure of the noise.
"""

import argparse
import os
import statistics
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")

import numpy as np
from scipy import ndimage

from temlib.augment import (
    CURES,
    Augmentation,
    affine_matrices,
    detail_curves,
    lowpass,
    on_device,
    power_curve,
    treated,
)

SLIDES = Augmentation()
SCIPY, CHAIN = (
    "scipy.ndimage affine_transform, order 3, prefilter kept",
    "Keras layers, chain of five, bilinear",
)
ALBUMENTATIONS = "albumentations Affine, cubic (no spline), and flips"
# How many times faster temlib shall be.
ASKED = {SCIPY: 8, ALBUMENTATIONS: 3, CHAIN: 4}


def table(columns, rows):
    print("\n| " + " | ".join(columns) + " |\n|" + "---|" * len(columns))
    for row in rows:
        print("| " + " | ".join(str(cell) for cell in row) + " |")


def scipy_way(images, transforms, *, threads=1):
    coefficients = [ndimage.spline_filter(image, 3, np.float32, mode="mirror") for image in images]
    matrices = affine_matrices(transforms, images.shape[1:])

    def one(item):
        coefficient, m = item
        return ndimage.affine_transform(
            coefficient, m[:, :2], m[:, 2], order=3, mode="mirror", prefilter=False
        )

    def run():
        with ThreadPoolExecutor(threads) as pool:
            return np.stack(list(pool.map(one, zip(coefficients, matrices))))

    return run


def albumentations_way(images):
    import albumentations
    import cv2

    degrees = tuple(np.rad2deg(SLIDES.shear))
    pipeline = albumentations.Compose(
        [
            albumentations.HorizontalFlip(p=0.5),
            albumentations.VerticalFlip(p=0.5),
            albumentations.Affine(
                scale=SLIDES.zoom,
                translate_percent={"x": SLIDES.shift_columns, "y": SLIDES.shift_rows},
                rotate=SLIDES.rotation,
                shear={"x": degrees, "y": (0, 0)},
                interpolation=cv2.INTER_CUBIC,
                border_mode=cv2.BORDER_REFLECT_101,
                p=1,
            ),
        ],
        seed=1,
    )
    return lambda: np.stack([pipeline(image=image)["image"] for image in images])


def keras_way(images):
    import tensorflow as tf
    from keras import layers

    common = {"fill_mode": "reflect", "interpolation": "bilinear"}
    chain = [
        layers.RandomFlip("horizontal_and_vertical"),
        layers.RandomZoom((0.0, 0.25), **common),  # Keras zooms out by 1 + factor
        layers.RandomShear(x_factor=(0.0, 0.2), **common),
        layers.RandomRotation(0.5, **common),
        layers.RandomTranslation(0.1, 0.1, **common),
    ]

    @tf.function(jit_compile=False)
    def augment(batch):
        for layer in chain:
            batch = layer(batch, training=True)
        return batch

    batches = [tf.constant(images[k : k + 100, :, :, None]) for k in range(0, len(images), 100)]
    return lambda: np.concatenate([augment(batch).numpy() for batch in batches])


def device_way(images, transforms):
    import tensorflow as tf

    samples = SLIDES.prepare(images).samples
    matrices = affine_matrices(transforms, images.shape[1:]).astype("float32")
    compiled = tf.function(lambda s, m: on_device.resample(s, m, images.shape[1:]), jit_compile=True)
    batches = [
        (tf.constant(samples[k : k + 100]), tf.constant(matrices[k : k + 100]))
        for k in range(0, len(images), 100)
    ]
    return lambda: np.concatenate([compiled(*batch).numpy() for batch in batches])


def seconds(run):
    time.sleep(0.05)  # the thread pools of some ways go on spinning for a while
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def compared(ours, other, rounds):
    """Return the median seconds of both, and the median of other / ours; the rounds alternate."""
    ours(), other()  # compile, allocate
    taken = [(seconds(ours), seconds(other)) for _ in range(rounds)]
    return *map(statistics.median, zip(*taken)), statistics.median(b / a for a, b in taken)


def speed(count, rounds):
    images = np.random.default_rng(0).normal(size=(count, 96, 96)).astype("float32")
    transforms = SLIDES.draw(count, 1)
    prepared, random = SLIDES.prepare(images), np.random.default_rng(2)

    def ours():
        return SLIDES.apply_prepared(prepared, SLIDES.draw(count, random))

    ways = {
        "temlib, `lowpass` before it": lambda: (lowpass(images), ours()),
        "temlib: prefilter (once per image)": lambda: SLIDES.prepare(images),
        "temlib: keras.ops under XLA, CPU": device_way(images, transforms),
        SCIPY: scipy_way(images, transforms),
        "the same in two threads": scipy_way(images, transforms, threads=2),
        ALBUMENTATIONS: albumentations_way(images),
        CHAIN: keras_way(images),
    }
    rows, missed = [], []
    for name, other in ways.items():
        mine, theirs, ratio = compared(ours, other, rounds)
        asked = ASKED.get(name, "")
        rows.append((name, f"{count / theirs:,.0f}", f"{count / mine:,.0f}", f"{ratio:.1f}", asked))
        if asked and ratio < asked:
            missed.append(f"{ratio:.1f} × {name} < {asked}")
    error = worst_error()
    missed += [f"difference from scipy {error:.1e} > 1e-4"] if error > 1e-4 else []
    print(f"\n{count} images of 96×96 float32, {rounds} rounds; temlib draws and applies, prefilter kept.")
    table(["way", "images/s", "temlib beside it", "ratio", "asked"], rows)
    print(
        f"\nLargest difference from scipy, every pixel, eight sizes from 2×3 to 300×201: {error:.1e} of the range."
    )
    return missed


def worst_error():
    """Return the largest difference from scipy in parts of the image's range, draws wider than the slides'."""
    wide, worst = Augmentation(shear=(-0.5, 0.5), zoom=(0.4, 2), separate_zoom=True), 0.0
    for shape in ((2, 3), (5, 8), (31, 31), (64, 64), (64, 97), (96, 96), (97, 97), (300, 201)):
        images = np.random.default_rng(1).normal(size=(20, *shape)).astype("float32")
        transforms = wide.draw(20, 2)
        coefficients = [ndimage.spline_filter(image, 3, np.float64, mode="mirror") for image in images]
        for image, c, m, result in zip(
            images, coefficients, affine_matrices(transforms, shape), wide.apply(images, transforms)
        ):
            oracle = ndimage.affine_transform(c, m[:, :2], m[:, 2], order=3, mode="mirror", prefilter=False)
            worst = max(worst, np.abs(result - oracle).max() / np.ptp(image))
    return worst


def detail(count):
    rotation = replace(Augmentation.preset("none"), rotation=(-180, 180))
    turned = detail_curves(rotation, count=count).pivot(
        index="frequency", columns="method", values="power_ratio"
    )
    at_half = {name: np.interp(0.25, turned.index, turned[name]) for name in turned}
    curves = detail_curves(count=count).pivot(index="frequency", columns="method", values="power_ratio")
    at = (0.1, 0.2, 0.25, 0.3, 0.4)
    print("\nPart of a wave's power that outlives the augmentation of the slides; half Nyquist is 0.25.")
    table(
        ["method", *(f"{f} cycles/px" for f in at)],
        [(name, *(f"{np.interp(f, curves.index, curves[name]):.3f}" for f in at)) for name in curves],
    )
    print(
        f"\nAfter one cubic pass of rotation alone {at_half['cubic']:.3f} at half Nyquist, linear {at_half['linear']:.3f}."
    )
    return at_half["cubic"]


def separability(plain, varied):
    """Return the AUC of a linear classifier that tells the two apart by each image's power spectrum."""
    from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
    from sklearn.metrics import roc_auc_score

    spectra = [np.array([np.log(power_curve(image[None])["power"]) for image in x]) for x in (plain, varied)]
    half = len(plain) // 2  # other images are tested than were learnt, in either class
    truth = np.repeat([0, 1], [half, len(plain) - half])
    learnt, asked = (
        np.concatenate([spectra[0][:half], spectra[1][half:]]),
        np.concatenate([spectra[0][half:], spectra[1][:half]]),
    )
    model = LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto").fit(learnt, truth)
    return roc_auc_score(np.repeat([0, 1], [len(plain) - half, half]), model.decision_function(asked))


def noise(name, images):
    transforms = SLIDES.draw(len(images), 1)
    at = (0.1, 0.2, 0.3, 0.4, 0.5)
    pairs = {cure: treated(images, transforms, SLIDES, cure) for cure in CURES}
    for blur in (0.4, 0.8, 1.0):
        before = ndimage.gaussian_filter(images, (0, blur, blur), mode="mirror")
        pairs[f"conditioned, blur {blur} px"] = before, SLIDES.apply(before, transforms)
    rows = []
    for cure, (plain, varied) in pairs.items():
        curves = power_curve(plain), power_curve(varied)
        ratio = (curves[1]["power"] / curves[0]["power"]).to_numpy()
        rows.append(
            (
                cure,
                f"{varied.std(axis=(1, 2)).mean() / plain.std(axis=(1, 2)).mean():.2f}",
                *(f"{np.interp(f, curves[0]['frequency'], ratio):.2f}" for f in at),
                f"{separability(plain, varied):.2f}",
            )
        )
    print(f"\nNoise of augmented to that of plain images: {len(images)} of {name}.")
    table(["cure", "std", *(f"power at {f}" for f in at), "AUC by spectrum"], rows)


def read_crops(folder):
    from PIL import Image

    return np.stack([np.asarray(Image.open(name), "float32") for name in sorted(folder.glob("*.png"))])


def training(batches):
    """Return the share of lipnet4's training time that augmentation takes, batch by batch, at 64×64."""
    from temlib.train import networks

    keras = networks.backend()
    count, batch, random = 640, 32, np.random.default_rng(0)
    images = random.normal(size=(count, 64, 64)).astype("float32")
    labels = np.eye(3, dtype=np.float32)[random.integers(0, 3, count)]
    network = networks.build("lipnet4", input_size=64, classes=3, seed=0)
    network.compile(keras.optimizers.AdamW(1e-3), keras.losses.CategoricalCrossentropy(from_logits=True))
    prepared, taken = SLIDES.prepare(lowpass(images)), []
    for _ in range(batches + 3):
        index = random.integers(0, count, batch)
        start = time.perf_counter()
        seen = SLIDES.apply_prepared(prepared, SLIDES.draw(batch, random), index)[..., None]
        between = time.perf_counter()
        network.train_on_batch(seen, labels[index])
        taken.append((between - start, time.perf_counter() - between))
    augmenting, stepping = map(statistics.median, zip(*taken[3:]))  # the first three compile
    share = augmenting / (augmenting + stepping)
    print(f"\nTraining lipnet4 at 64×64 in batches of {batch}, median of {batches} batches.")
    rows = [
        ("draw and spline (`lowpass` once, before)", f"{1e3 * augmenting:.2f}"),
        ("step of lipnet4", f"{1e3 * stepping:.1f}"),
    ]
    table(["part", "ms a batch"], rows)
    print(f"\nAugmentation takes {share:.1%} of an epoch; asked: at most 15 %.")
    return share


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--quick", action="store_true", help="fewer images and rounds; status 1 if a number is missed"
    )
    parser.add_argument("--crops", type=Path, help="a folder of PNG crops whose noise is looked at too")
    options = parser.parse_args()
    names = ("numpy", "scipy", "numba", "albumentations", "opencv-python-headless", "keras", "tensorflow")
    print(f"{os.cpu_count()} cores; " + ", ".join(f"{name} {version(name)}" for name in names))
    missed = speed(*((300, 5) if options.quick else (1000, 9)))
    kept = detail(16 if options.quick else 64)
    share = training(20 if options.quick else 100)
    missed += [f"detail kept at half Nyquist {kept:.3f} < 0.9"] if kept < 0.9 else []
    missed += [f"augmentation takes {share:.1%} of an epoch > 15 %"] if share > 0.15 else []
    if not options.quick:
        noise("white noise, 64×64", np.random.default_rng(0).normal(size=(700, 64, 64)).astype("float32"))
    if options.crops:
        noise(f"the crops of {options.crops.name}", read_crops(options.crops)[:700])
    print("\nMissed: " + "; ".join(missed) if missed else "\nEvery number is met.")
    return 1 if options.quick and missed else 0


if __name__ == "__main__":
    sys.exit(main())
