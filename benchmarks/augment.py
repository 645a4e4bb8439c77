"""Augmentation side by side with what people would use instead: speed, agreement, detail, noise.

    python -m benchmarks.augment [--quick] [--network CROPS]

Prints markdown tables. Each way takes turns with temlib on the same images in one process; a ratio is the
median of the rounds. --network names a folder with particle/, background/ (PNG crops) and manifest.csv, on
which a small network is trained on augmented crops and tested on plain ones, once per cure of the noise.
"""

import argparse
import os
import statistics
import time
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")

import numpy as np
from scipy import ndimage

from temlib.affine import affine_matrices
from temlib import device
from temlib.augment import Augmentation, condition
from temlib.spectra import CURES, detail_curves, power_curve, treated

SLIDES = Augmentation()


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
    compiled = tf.function(lambda s, m: device.resample(s, m, images.shape[1:]), jit_compile=True)
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
        "temlib, followed by `condition`": lambda: condition(ours()),
        "temlib: prefilter (once per image)": lambda: SLIDES.prepare(images),
        "temlib: keras.ops under XLA, CPU": device_way(images, transforms),
        "scipy.ndimage affine_transform, order 3, prefilter kept": scipy_way(images, transforms),
        "the same in two threads": scipy_way(images, transforms, threads=2),
        "albumentations Affine, cubic (no spline), and flips": albumentations_way(images),
        "Keras layers, chain of five, bilinear": keras_way(images),
    }
    rows = []
    for name, other in ways.items():
        mine, theirs, ratio = compared(ours, other, rounds)
        rows.append((name, f"{count / theirs:,.0f}", f"{count / mine:,.0f}", f"{ratio:.1f}"))
    error = np.abs(SLIDES.apply_prepared(prepared, transforms) - scipy_way(images, transforms)()).max()
    print(f"\n{count} images of 96×96 float32, {rounds} rounds; temlib draws and applies, prefilter kept.")
    table(["way", "images/s", "temlib beside it", "ratio"], rows)
    print(f"\nLargest difference from scipy, every pixel: {error / np.ptp(images):.1e} of the range.")


def detail(count):
    curves = detail_curves(count=count).pivot(index="frequency", columns="method", values="power_ratio")
    at = (0.1, 0.2, 0.25, 0.3, 0.4)
    print("\nPart of a wave's power that outlives the augmentation of the slides; half Nyquist is .25.")
    table(
        ["method", *(f"{f} cycles/px" for f in at)],
        [(name, *(f"{np.interp(f, curves.index, curves[name]):.3f}" for f in at)) for name in curves],
    )


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
    varied = SLIDES.apply(images, transforms)
    for blur in (0.4, 0.8, 1.0, 1.5):
        pairs[f"conditioned, blur {blur} px"] = condition(images, blur=blur), condition(varied, blur=blur)
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
    import pandas as pd
    from PIL import Image

    manifest = pd.read_csv(folder / "manifest.csv")
    images = np.stack([np.asarray(Image.open(folder / name), "float32") for name in manifest["image"]])
    return condition(images, blur=0), (manifest["content"] == "particle").to_numpy(), manifest["micrograph"]


def small_network(size):
    import keras
    from keras import layers

    stack = [keras.Input((size, size, 1))]
    for width in (16, 32, 64):
        stack += [layers.Conv2D(width, 3, use_bias=False)]
        stack += [layers.BatchNormalization(momentum=0.9), layers.ReLU(), layers.MaxPooling2D()]
    network = keras.Sequential([*stack, layers.GlobalAveragePooling2D(), layers.Dense(1, "sigmoid")])
    network.compile("adam", "binary_crossentropy")
    return network


def network_scores(images, truth, group, cure, *, epochs, seed):
    """Return balanced accuracy on plain and on resampled crops of micrographs that were not trained on."""
    import keras
    from sklearn.metrics import balanced_accuracy_score

    keras.utils.set_random_seed(seed)
    random = np.random.default_rng(seed)
    micrographs = random.permutation(group.unique())
    held = group.isin(micrographs[: len(micrographs) // 3]).to_numpy()
    network = small_network(images.shape[1])
    for _ in range(epochs):
        varied = treated(images[~held], SLIDES.draw((~held).sum(), random), SLIDES, cure)[1]
        network.fit(varied[..., None], truth[~held].astype("float32"), batch_size=32, verbose=0)
    tests = treated(images[held], SLIDES.draw(held.sum(), random), SLIDES, cure)
    return [
        balanced_accuracy_score(truth[held], network.predict(x[..., None], verbose=0)[:, 0] > 0.5)
        for x in tests
    ]


def networks(folder, epochs, seeds):
    images, truth, group = read_crops(folder)
    rows = []
    for cure in CURES:
        scores = np.array(
            [network_scores(images, truth, group, cure, epochs=epochs, seed=seed) for seed in range(seeds)]
        )
        cells = (f"{np.median(s):.2f} ({s.min():.2f}–{s.max():.2f})" for s in scores.T)
        rows.append((cure, *cells))
    print(
        f"\nBalanced accuracy of a small network trained on augmented crops ({folder.name}, {len(images)} "
        f"crops, a third of {group.nunique()} micrographs held out), median and range of {seeds} seeds, "
        f"{epochs} epochs."
    )
    table(["cure", "tested on plain crops", "tested on augmented crops"], rows)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="fewer images and rounds")
    parser.add_argument("--network", type=Path, metavar="CROPS", help="also train a network per cure")
    options = parser.parse_args()
    names = ("numpy", "scipy", "numba", "albumentations", "opencv-python-headless", "keras", "tensorflow")
    print(f"{os.cpu_count()} cores; " + ", ".join(f"{name} {version(name)}" for name in names))
    speed(*((200, 3) if options.quick else (1000, 9)))
    detail(16 if options.quick else 64)
    count = 200 if options.quick else 700
    noise("white noise, 64×64", np.random.default_rng(0).normal(size=(count, 64, 64)).astype("float32"))
    if options.network:
        images, truth, _ = read_crops(options.network)
        noise(f"{options.network.name} background", images[~truth][:count])
        networks(options.network, *((1, 1) if options.quick else (10, 3)))


if __name__ == "__main__":
    main()
