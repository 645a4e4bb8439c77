"""How many windows without a vesicle are refused, how many particles of each class with them, and how long an assay takes.

    python -m benchmarks.refusal [--seeds 3] [--real FOLDER] [--speed] [--models svm_texture dihedral] [--epochs N]

Simulated: a study of 1,000 particles in 6 sessions is learnt; of another, in 4 other sessions, 400 particles and windows that
touch no vesicle are called: background, ice crystals and carbon. Real (FOLDER is liposomes_cryoem): two micrographs are learnt, each held
out in turn, and the third is called, vesicles and windows that touch no vesicle of the manifest; vesicles that its edge cuts are not in the
manifest, so windows hold arcs of them. What is refused depends on the particles, their labels and folds, not on the model. --speed
times 10,000 crops, a micrograph of 4096 x 4096 pixels with 300 positions, and the memory of 200 and of 400 micrographs.
"""

import argparse
import multiprocessing
import resource
import tempfile
import time
from pathlib import Path

import mrcfile
import numpy as np
import pandas as pd

from benchmarks.assay import FOLDS, LEARNT, SAMPLE, TASK, UNSURE, made
from temlib import assay, data, simulate, train

SHARE, SESSIONS, EACH = 0.35, 4, {"crystal": 4, "carbon": 8, "background": 10}
TRIES = 400  # places that are tried for the windows of a kind in a micrograph


def learnt(folder, path, models, epochs=0, **options):
    """Train models on particles, and return their bundles by name."""
    particles = data.open(path, task=TASK, **options)
    folds = particles.table["fold"].nunique() if "fold" in particles.table else FOLDS
    particles = particles.labelled(TASK, folds=folds, unsure=UNSURE)
    settings, _ = train.schedule(train.Settings(folds=folds, epochs=epochs), particles, TASK)
    begun = time.perf_counter()
    train.cross_validate(particles, TASK, models, settings, keep=folder)
    print(f"  {', '.join(models)}: trained and kept in {time.perf_counter() - begun:.0f} s", flush=True)
    return {name: train.load(folder / name) for name in models}


def free(place, half, shape, centres, reaches):
    """Return whether a window lies inside a micrograph and touches no vesicle; all in pixels."""
    away = np.hypot(*np.maximum(np.abs(centres - place) - half, 0).T)
    return (place > half).all() and (place < shape - half - 1).all() and (away > reaches).all()


def simulated_windows(study, table, rng):
    """Return windows of all kinds in the micrographs of a study, with the boxes of its particles."""
    scope, rows = study.settings.microscope, []
    pixel_nm, shape = scope.binned_nm, np.array(scope.shape) * scope.pixel_nm / scope.binned_nm
    for index, name in enumerate(study.names):
        scene = study.scene(index)
        kinds = {
            kind: [o for o in scene.others if type(o).__name__ == kind] for kind in ("Vesicle", "Debris")
        }
        vesicles = [*scene.vesicles, *kinds["Vesicle"]]
        centres = np.array([each.place for each in vesicles]) / pixel_nm
        reaches = np.array([each.extent.max() for each in vesicles]) / pixel_nm + 3
        crystals = [each.place / pixel_nm for each in kinds["Debris"] if each.payload.rods]
        films = [each for each in scene.others if type(each).__name__ == "Carbon"]
        sides = table["box_px"][table["micrograph"] == name].to_numpy()
        for kind, count in EACH.items():
            if (kind == "crystal" and not crystals) or (kind == "carbon" and not films):
                continue
            for _ in range(TRIES):
                side = int(rng.choice(sides))
                place = rng.uniform(side / 2 + 2, shape - side / 2 - 2)
                if kind == "crystal":
                    place = crystals[rng.integers(len(crystals))] + rng.normal(0, 4, 2)
                on = kind != "carbon" or np.hypot(*(place * pixel_nm - films[0].center)) > films[0].radius_nm
                if count and on and free(place, side / 2 + 1, shape, centres, reaches):
                    rows.append((f"micrographs/{name}.mrc", name, *place.round().astype(int), side, kind))
                    count -= 1
    return _windows(rows)


def _windows(rows):
    names = ["image", "micrograph", "row", "column", "box_px", "kind"]
    return pd.DataFrame(rows, columns=names).drop_duplicates(["image", "row", "column"])


def refused(bundle, particles, by):
    """Return the share refused, and of how many, of each kind of particles; `by` (n,) tells it."""
    found = bundle.predict(particles).query("fold == 0")["refused"].to_numpy()
    return pd.DataFrame({"kind": by, "refused": found}).groupby("kind")["refused"].agg(["mean", "size"])


def simulated(folder, seed, models, epochs):
    """Return the shares refused of one pair of simulated studies, a row for each model and kind."""
    bundles = learnt(
        folder / "models", made(folder / "a", LEARNT, 100 + seed, SHARE, sessions=6), models, epochs
    )
    path = made(folder / "b", SAMPLE, 1100 + seed, SHARE, sessions=SESSIONS, micrographs=True)
    shares = {"unilamellar": 1 - SHARE, "multilamellar": SHARE}
    study = simulate.study(SAMPLE, seed=1100 + seed, sessions=SESSIONS, prevalence=shares)
    windows = simulated_windows(study, pd.read_csv(path), np.random.default_rng(seed))
    windows.to_csv(path.with_name("windows.csv"), index=False)
    return _rows(bundles, path, path.with_name("windows.csv"), windows["kind"])


def _rows(bundles, path, windows_path, kinds, **options):
    tables = []
    for name, bundle in bundles.items():
        labels, own = pd.read_csv(path)[TASK], bundle.confusion.drop(columns=["fold", "micrograph"])
        counts = own.groupby("truth").sum()
        held = pd.DataFrame({"mean": counts["refused"] / counts.sum(axis=1), "size": counts.sum(axis=1)})
        held.index = "held out: " + held.index
        parts = [held, refused(bundle, bundle.open(path, **options), labels.to_numpy())]
        windows = bundle.open(windows_path, **options)
        parts += [refused(bundle, windows, by) for by in (np.array(kinds), ["all windows"] * len(windows))]
        tables.append(pd.concat(parts).assign(model=name))
    return pd.concat(tables).reset_index(names="kind")


def real(folder, source, models, epochs):
    """Return the shares refused in each micrograph of liposomes_cryoem by what was learnt of the two others."""
    table, tables = pd.read_csv(source / "manifest.csv"), []
    options = {"data_folder": source}
    for name, own in table.groupby("micrograph"):
        rng, shape, rows = (
            np.random.default_rng(len(tables)),
            np.array([1008, 1024]),
            [],
        )  # the rest is tapered
        while len(rows) < 250:
            side, place = int(rng.choice(own["box_px"])), rng.uniform(0, shape)
            centres, reaches = own[["row", "column"]].to_numpy(), 1.1 * own["radius_px"].to_numpy() + 2
            if free(place, side / 2 + 1, shape, centres, reaches):
                rows.append((own["image"].iloc[0], name, *place.round().astype(int), side, "window"))
        windows, rest = _windows(rows), table[table["micrograph"] != name]
        # Each micrograph is a fold; its halves are told apart, since others are needed for validation.
        rest = rest.assign(fold=pd.factorize(rest["micrograph"])[0] + 1)
        rest["micrograph"] += np.where(rest["column"] < 512, " left", " right")
        paths = [folder / f"{name}_{part}.csv" for part in ("rest", "own", "windows")]
        for part, path in zip((rest, own, windows), paths):
            part.to_csv(path, index=False)
        bundles = learnt(folder / name, paths[0], models, epochs, **options)
        tables.append(_rows(bundles, *paths[1:], windows["kind"], **options).assign(micrograph=name))
    return pd.concat(tables, ignore_index=True)


def speed(folder, bundle):
    """Print how long a bundle takes for crops and for a large micrograph, and how much memory many micrographs need."""
    side, rng = bundle.card["input_size"], np.random.default_rng(0)
    crops = np.clip(rng.normal(size=(10_000, side, side)), -8, 8).astype(np.float32)
    particles = bundle._of_images(crops)
    times = [time.perf_counter()]
    bundle._found(particles)
    times.append(time.perf_counter())
    bundle.predict(particles)
    times.append(time.perf_counter())
    called, whole = np.diff(times)
    print(f"{len(crops):,} crops of {side} x {side}: {whole:.1f} s, of which the fold models {called:.1f} s")
    study = made(folder / "study", 25, 7, SHARE, micrographs=True)
    for name in ("first", "again"):
        path = large(folder / name, study)
        times, used = [time.perf_counter()], time.process_time()
        particles = bundle.open(path)
        times.append(time.perf_counter())
        assay.measure(bundle, particles)
        used = time.process_time() - used
        opened, measured = np.diff([*times, time.perf_counter()])
        print(
            f"4096 x 4096, 300 positions, {name}: opened in {opened:.2f} s, measured in {measured:.2f} s; "
            f"{used:.2f} s of a core",
            flush=True,
        )
    for count in (200, 400):
        path = many(folder / str(count), study, count)
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            peak = pool.apply(memory, (bundle.folder, path))
        print(f"{count} micrographs of 1024 x 1024, 10 positions each: peak {peak:.2f} GB", flush=True)


def large(folder, study):
    """Write a micrograph of 4 x 4 times a study's with 300 positions, and return the path of their table."""
    folder.mkdir()
    table, rows = pd.read_csv(study), []
    image = mrcfile.read(next((study.parent / "micrographs").iterdir()))
    with mrcfile.new(folder / "m.mrc") as file:
        file.set_data(np.tile(image, (4, 4)))
        file.voxel_size = 10 * float(table["pixel_size_nm"].iloc[0])
    for tile in range(16):
        moved = table.assign(row=table["row"] + tile // 4 * 1024, column=table["column"] + tile % 4 * 1024)
        rows.append(moved.assign(image="m.mrc", micrograph="m"))
    return _positions(folder, pd.concat(rows).iloc[:300])


def many(folder, study, count):
    """Write copies of a study's micrograph with 10 positions each, and return the path of their table."""
    folder.mkdir()
    table, rows = pd.read_csv(study).iloc[:10], []
    for index in range(count):
        (folder / f"m{index}.mrc").hardlink_to(next((study.parent / "micrographs").iterdir()))
        rows.append(table.assign(image=f"m{index}.mrc", micrograph=f"m{index}"))
    return _positions(folder, pd.concat(rows))


def _positions(folder, table):
    names = ["image", "micrograph", "row", "column", "box_px"]
    table[names].to_csv(folder / "positions.csv", index=False)
    return folder / "positions.csv"


def memory(folder, path):
    """Return the peak memory of an assay in a process of its own, in GB."""
    bundle = train.load(folder)
    particles = bundle.open(path)
    bundle.predict(particles)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def main():
    """Print a row per model, study and kind of window or particle."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", nargs="+", default=["svm_texture"])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=0)
    parser.add_argument("--real", type=Path, help="the folder liposomes_cryoem")
    parser.add_argument("--speed", action="store_true")
    options = parser.parse_args()
    about = options.models, options.epochs
    with tempfile.TemporaryDirectory() as scratch:
        folder, tables = Path(scratch), []
        if options.speed:
            study = made(folder / "small", 200, 5, SHARE)
            for name, bundle in learnt(folder / "models", study, *about).items():
                (folder / f"speed {name}").mkdir()
                speed(folder / f"speed {name}", bundle)
        for seed in range(options.seeds):
            tables.append(simulated(folder / str(seed), seed, *about).assign(micrograph=f"seed {seed}"))
        if options.real:
            tables.append(real(folder, options.real.resolve(), *about))
        if tables:
            table = pd.concat(tables, ignore_index=True)
            print(table.round(3).to_string())
            weighted = table.assign(refused=table["mean"] * table["size"])
            groups = weighted.assign(of=weighted["micrograph"].str[:2]).groupby(["of", "model", "kind"])
            sums = groups[["refused", "size"]].sum()
            print(sums.assign(share=sums["refused"] / sums["size"]).round(3).to_string())


if __name__ == "__main__":
    main()
