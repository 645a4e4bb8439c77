"""How far simulated micrographs are from real ones of liposomes, in numbers; no pixel of a real one is kept.

    python -m benchmarks.gap FOLDER [--figure docs/simulator-real.png]

FOLDER holds the manifest and micrographs of liposomes_cryoem. Their pixel is taken for 1.16 nm, which fits the distance of the
leaflets and is not confirmed. Levels are in standard deviations of a pixel's noise, which is measured from neighbouring pixels.
"""

import argparse
from pathlib import Path

import numpy as np
import pandas as pd

from temlib import simulate

PIXEL_NM = 1.16
DIAMETER_NM = (44.0, 56.0)  # of the vesicles whose profiles are averaged
REACH_NM, STEP_NM = 50.0, 1.0
PRESETS = {"talos200": {}, "ccd120": {}, "krios300": {}}


def real(folder):
    """Yield the image, the vesicles in nm (row, column, radius, whether unilamellar) and the pixel of real micrographs."""
    from PIL import Image

    table = pd.read_csv(folder / "manifest.csv")
    for name, rows in table.groupby("image"):
        image = np.asarray(Image.open(folder / name), np.float32)[20:-20]
        places = (rows[["row", "column", "radius_px"]].to_numpy() - [20, 0, 0]) * PIXEL_NM
        yield image, places, (rows["lamellarity"] == "unilamellar").to_numpy(), PIXEL_NM


def simulated(preset, options, count=200):
    """Yield likewise of a study whose vesicles are as large as the real ones and mostly empty."""
    shares = {"unilamellar": 0.95, "multilamellar": 0.05, "empty": 0.95, "full": 0.05}
    sizes = {"diameter_nm": (24.0, 50.0, 200.0), "diameter_spread": 0.3}
    made = simulate.study(count, seed=1, preset=preset, micrographs=8, prevalence=shares, **sizes, **options)
    pixel = made.settings.microscope.binned_nm
    for (_, image), (_, rows) in zip(made.micrographs(), made.table.groupby("micrograph", sort=False)):
        places = rows[["row", "column"]].to_numpy() * pixel
        places = np.column_stack([places, rows["truth_diameter_nm"] / 2])
        yield image, places, (rows["truth_lamellarity"] == "unilamellar").to_numpy(), pixel


def profile(image, row, column, pixel):
    """Return the mean over circles, (REACH_NM / STEP_NM,), None where they leave the micrograph."""
    reach, (i, j) = int(REACH_NM / pixel) + 1, (round(row / pixel), round(column / pixel))
    part = image[max(0, i - reach) : i + reach + 1, max(0, j - reach) : j + reach + 1]
    if part.shape != (2 * reach + 1,) * 2:
        return None
    away = np.hypot(*(np.mgrid[-reach : reach + 1, -reach : reach + 1] * pixel)) / STEP_NM
    ring, count = away.astype(int).ravel(), int(REACH_NM / STEP_NM)
    return (np.bincount(ring, part.ravel()) / np.bincount(ring))[:count]


def spectrum(image, pixel):
    """Return frequencies (1/nm) and the radial power, 1 where there is noise alone."""
    side = min(image.shape)
    part = image[:side, :side]
    window = np.hanning(side)[:, None] * np.hanning(side)
    power = np.abs(np.fft.fft2((part - part.mean()) * window)) ** 2
    at = np.hypot(np.fft.fftfreq(side)[:, None], np.fft.fftfreq(side))
    ring = (at * 100).astype(int).ravel()
    radial = (np.bincount(ring, power.ravel()) / np.bincount(ring))[:50]
    return (np.arange(50) + 0.5) / 100 / pixel, radial / radial[45:].mean()


def measured(micrographs):
    """Return the numbers of some micrographs, their mean profile and their mean spectrum."""
    rows, profiles, spectra = [], [], []
    for image, places, plain, pixel in micrographs:
        noise = float(np.diff(image, axis=1).std() / np.sqrt(2))
        level = (image - np.median(image)) / noise
        away = np.hypot(*(places[:, None, :2] - places[:, :2]).transpose(2, 0, 1))
        np.fill_diagonal(away, np.inf)
        nearest, radius = away.min(axis=1), places[:, 2]
        blocks = level[: level.shape[0] // 128 * 128, : level.shape[1] // 128 * 128].reshape(
            level.shape[0] // 128, 128, -1, 128
        )
        row = {
            "vesicles in 1 µm²": len(places) / (image.size * pixel**2 / 1e6),
            "distance of the nearest, in diameters": np.median(nearest / (2 * radius)),
            "overlap, % of vesicles": 100 * np.mean((away < radius[:, None] + radius).any(axis=1)),
            "unevenness of the background": np.median(blocks, axis=(1, 3)).std(),
        }
        for each, name in zip(np.quantile(2 * radius, (0.05, 0.5, 0.95)), ("5 %", "median", "95 %")):
            row[f"diameter, nm, {name}"] = each
        rows.append(row)
        of_size = plain & (2 * radius > DIAMETER_NM[0]) & (2 * radius < DIAMETER_NM[1])
        found = [profile(level, *place[:2], pixel) for place in places[of_size]]
        profiles += [each for each in found if each is not None]
        spectra.append(np.interp(np.linspace(0.01, 0.42, 42), *spectrum(level, pixel)))
    mean = np.mean(profiles, axis=0)
    rim, radius = int(mean.argmin()), np.arange(len(mean)) * STEP_NM
    outside = (radius > rim) & (radius < rim + 12)
    table = pd.DataFrame(rows).mean()
    table["rim, below the background"] = -mean[rim]
    table["bright fringe outside"] = mean[outside].max()
    table["middle of the vesicle"] = mean[radius < 10].mean()
    table["width of the rim at half depth, nm"] = STEP_NM * np.count_nonzero(mean < mean[rim] / 2)
    spectra = np.mean(spectra, axis=0)
    table["power at 0.05 1/nm, over noise"] = spectra[4]
    return table, mean, spectra


def drawn(found, path):
    """Write the picture of profiles and spectra."""
    from matplotlib.figure import Figure

    figure = Figure((9, 3.6), layout="constrained")
    left, right = figure.subplots(1, 2)
    for name, (_, mean, power) in found.items():
        style = {"color": "black", "linewidth": 2} if name == "real" else {"linewidth": 1}
        left.plot(np.arange(len(mean)) * STEP_NM, mean, label=name, **style)
        right.semilogy(np.linspace(0.01, 0.42, 42), power, label=name, **style)
    left.set(xlabel="distance from the centre (nm)", ylabel="mean level (standard deviations of noise)")
    left.set_title(f"unilamellar vesicles of {DIAMETER_NM[0]:g} to {DIAMETER_NM[1]:g} nm")
    right.set(xlabel="spatial frequency (1/nm)", ylabel="power, over that of noise")
    left.legend(frameon=False)
    for axes in (left, right):
        axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=110)


def main():
    """Print the table, and draw the picture if asked."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--figure", type=Path)
    options = parser.parse_args()
    found = {"real": measured(real(options.folder))}
    found |= {name: measured(simulated(name, own)) for name, own in PRESETS.items()}
    print(pd.DataFrame({name: table for name, (table, *_) in found.items()}).round(2).to_string())
    if options.figure:
        drawn(found, options.figure)


if __name__ == "__main__":
    main()
