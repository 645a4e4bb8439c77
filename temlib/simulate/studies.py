"""Cryo-TEM liposomes with known truth: a study of sessions, micrographs and particles.

A study settles everything by its seed. Scenes (what lies where, and how it is imaged) are drawn micrograph by
micrograph from streams of their own, so that any micrograph can be made alone, in any order and by any number
of threads, with the same bytes; memory does not grow with the number of particles except for their table.
"""

import math
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property, lru_cache
from itertools import islice
from pathlib import Path

import numpy as np
import pandas as pd

from temlib.files import InputError, replacing, write_csv, write_json
from temlib.simulate import annotators, micrograph
from temlib.simulate.microscope import gain_map
from temlib.simulate.microscope import preset as microscope_preset

# Particles of a micrograph where nothing else is asked for.
PER_MICROGRAPH = 25
# Scenes that a study keeps in memory.
KEPT_SCENES = 64


@dataclass(frozen=True)
class Study:
    """A simulated study; made by `study`."""

    count: int
    seed: int
    settings: micrograph.Settings
    counts: tuple = field(repr=False)
    sessions: tuple = field(repr=False)
    annotators: int = 3
    threads: int = 2
    _scenes: dict = field(default_factory=dict, repr=False, compare=False)

    @property
    def names(self):
        """The micrographs' names."""
        return [f"m{i + 1:04d}" for i in range(len(self.counts))]

    @property
    def pixel_size_nm(self):
        """Pixel size of the finished micrographs and crops."""
        return self.settings.microscope.pixel_nm * self.settings.microscope.binning

    def scene(self, index):
        """Return what lies in micrograph `index` and how it is imaged: a `scene.Scene`."""
        # The table and the picture of a micrograph ask for its scene, one after the other; a few wait in between.
        drawn = self._scenes.pop(index, None)
        if drawn is None:
            rng, shares = self._rng(0, self.sessions[index]), self._shares[:, index]
            session = micrograph.draw_session(self.settings, rng, *shares)
            drawn = micrograph.draw(self.settings, session, self.counts[index], self._rng(1, index))
            if len(self._scenes) < KEPT_SCENES:
                self._scenes[index] = drawn
        return drawn

    def _rng(self, *key):
        return np.random.default_rng(np.random.SeedSequence(self.seed, spawn_key=key))

    @cached_property
    def _shares(self):
        """Shares of multilamellar and of full in each micrograph: (2, micrographs) ndarray."""
        asked = [self.settings.prevalence[name] for name in ("multilamellar", "full")]
        return np.array(
            [
                micrograph.draw_shares(share, self.sessions, self.counts, self._rng(7, i))
                for i, share in enumerate(asked)
            ]
        )

    @cached_property
    def _tables(self):
        habit = [
            annotators.habits(self.annotators, task, self._rng(4, t))
            for t, task in enumerate(annotators.TASKS)
        ]
        tables, labels = [], []
        for i, name in enumerate(self.names):
            rows, strengths = micrograph.truths(self.scene(i), self.settings)
            rng = self._rng(3, i)
            rows.insert(0, "micrograph", name)
            rows.insert(1, "session", f"s{self.sessions[i] + 1}")
            given = {}
            for t, (task, names) in enumerate(annotators.TASKS.items()):
                second = (rows[f"truth_{task}"] == names[1]).to_numpy()
                given[task] = annotators.judge(second, strengths[:, t], habit[t], rng)
            tables.append(rows)
            labels.append(given)
        table = pd.concat(tables, ignore_index=True)
        table.insert(0, "particle", [f"p{i + 1:06d}" for i in range(len(table))])
        people = {"particle": table["particle"]}
        for at, (task, names) in enumerate(annotators.TASKS.items()):
            votes = np.concatenate([given[task] for given in labels])
            words = np.array([*names, annotators.UNCERTAIN], dtype=object)
            table.insert(7 + at, task, words[annotators.consensus(votes)])
            people |= {f"{task}@a{a + 1}": words[votes[:, a]] for a in range(self.annotators)}
        return table, pd.DataFrame(people)

    @property
    def table(self):
        """One row a particle: place, labels of the panel's majority, and truth."""
        return self._tables[0]

    @property
    def panel(self):
        """One row a particle: the label of each annotator, in columns `<task>@a1` and so on."""
        return self._tables[1]

    def micrograph(self, index):
        """Return the finished micrograph `index`: (rows, columns) ndarray of float32."""
        gains = _gains(self, self.sessions[index])
        return micrograph.render(self.scene(index), self.settings, gains, self._rng(2, index))

    def micrographs(self) -> Iterator[tuple[str, np.ndarray]]:
        """Yield the name and the image of one micrograph after the other."""
        with ThreadPoolExecutor(self.threads) as pool:
            waiting, indices = [], iter(range(len(self.counts)))
            for i in islice(indices, self.threads + 1):
                waiting.append(pool.submit(self.micrograph, i))
            for name in self.names:
                image = waiting.pop(0).result()
                for i in islice(indices, 1):
                    waiting.append(pool.submit(self.micrograph, i))
                yield name, image

    def crops(self) -> Iterator[tuple[str, list[np.ndarray]]]:
        """Yield each micrograph's name and the list of its particles' crops, in the order of `table`."""
        places = self.table.groupby("micrograph", sort=False)[["row", "column", "box_px"]]
        for (name, image), (_, rows) in zip(self.micrographs(), places):
            yield name, [crop(image, *row) for row in rows.to_numpy()]

    def regions(self) -> Iterator[tuple[str, list[tuple[np.ndarray, np.ndarray]]]]:
        """Yield each micrograph's name and, for each particle, masks of membrane and payload in its crop."""
        for i, name in enumerate(self.names):
            yield name, micrograph.regions(self.scene(i), self.settings)


@lru_cache(maxsize=4)
def _gains(study, session):
    """Return the gain errors of a session's camera."""
    microscope = study.settings.microscope
    if not study.settings.noise:
        return None
    return gain_map(microscope.shape, microscope, study._rng(5, session))


def crop(image, row, column, box):
    """Return the square window of `box` pixels whose pixel `box // 2` is (`row`, `column`)."""
    top, left = row - box // 2, column - box // 2
    return image[top : top + box, left : left + box].copy()


def study(
    count,
    *,
    seed=1,
    preset="talos200",
    pixel_nm=None,
    micrographs=None,
    sessions=None,
    prevalence=None,
    fill_threshold=0.2,
    diameter_nm=(40.0, 80.0, 250.0),
    ice_nm=None,
    defocus_um=None,
    dose=None,
    shape=None,
    binning=None,
    annotators=3,
    confusers=1.0,
    noise=True,
    threads=2,
):
    """Plan a study of simulated liposomes.

    Parameters
    ----------
    count : int
        Particles, ≥ 1.
    seed : int or numpy.random.Generator
        Settles everything; the same seed gives the same bytes, whatever `threads` is.
    preset : str
        Microscope, camera and habits: one of `optics.PRESETS`.
    pixel_nm : float, optional
        Pixel of the simulation and camera in nm, in (0, 1]; the preset's when left out.
    micrographs : int, optional
        How many; one for 25 particles when left out.
    sessions : int, optional
        How many; one for four micrographs, at most 6, when left out.
    prevalence : dict, optional
        Shares of `unilamellar` and `multilamellar`, and of `empty` and `full`; each pair sums to 1. Sessions
        and micrographs scatter around.
    fill_threshold : float
        Fill fraction above which a particle is full, in (0, 1).
    diameter_nm : (float, float, float)
        Smallest, median and largest diameter; lognormal between.
    ice_nm, defocus_um, dose : (float, float) or float, optional
        Range or value of ice thickness in nm, defocus in µm (under focus positive) and dose in e/Å², instead
        of the preset's.
    shape : (int, int), optional
        Rows and columns of a micrograph before binning.
    binning : int, optional
        Camera pixels a side that are averaged into one pixel of the finished micrograph.
    annotators : int
        Size of the panel, ≥ 1.
    confusers : float
        How much else is in the field: 0 nothing, 1 as usual.
    noise : bool
        False leaves out ice, shot noise and gain errors.
    threads : int
        Threads that make micrographs.

    Returns
    -------
    Study

    Raises
    ------
    InputError
        If the numbers describe what cannot exist, or what the simulation cannot hold.
    """
    given = {"pixel_nm": pixel_nm, "ice_nm": ice_nm, "defocus_um": defocus_um, "dose": dose, "shape": shape}
    given = {key: value for key, value in {**given, "binning": binning}.items() if value is not None}
    given |= {key: _pair(given[key]) for key in ("ice_nm", "defocus_um", "dose", "shape") if key in given}
    microscope = replace(microscope_preset(preset), **given)
    shares = micrograph.PREVALENCE | (prevalence or {})
    settings = micrograph.Settings(
        microscope, shares, fill_threshold, tuple(diameter_nm), confusers=confusers, noise=noise
    )
    micrograph.check(settings)
    _check_counts(count=count, annotators=annotators, threads=threads)
    micrographs = math.ceil(count / PER_MICROGRAPH) if micrographs is None else micrographs
    sessions = max(1, min(6, micrographs // 4)) if sessions is None else sessions
    _check_counts(micrographs=micrographs, sessions=sessions)
    if not sessions <= micrographs <= count:
        raise InputError(
            f"simulate: {count} particles, {micrographs} micrographs and {sessions} sessions do not nest; "
            "every session needs a micrograph and every micrograph a particle."
        )
    micrograph.check_room(count / micrographs, settings)
    if isinstance(seed, np.random.Generator):
        seed = int(seed.integers(2**63))
    return Study(count, seed, settings, *_plan(count, micrographs, sessions, seed), annotators, threads)


def _pair(value):
    """Return a range as a tuple; one number is a range without width."""
    return tuple(value) if isinstance(value, (tuple, list, np.ndarray)) else (value, value)


def _plan(count, micrographs, sessions, seed):
    """Return the number of particles of each micrograph, at least one, and its session."""
    rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(6,)))
    weights = rng.uniform(0.7, 1.3, micrographs)
    ends = np.round(np.cumsum(weights) / weights.sum() * (count - micrographs)).astype(int)
    counts = tuple(int(n) + 1 for n in np.diff(ends, prepend=0))
    return counts, tuple(i * sessions // micrographs for i in range(micrographs))


def _check_counts(**counts):
    for name, number in counts.items():
        if not isinstance(number, (int, np.integer)) or number < 1:
            raise InputError(f"{name}: a whole number from 1 on is needed. Received: {number!r}.")


def crops(count, *, seed=1, **options):
    """Return a study's table and all its crops in memory; options as in `study`.

    Returns
    -------
    table : pandas.DataFrame
        `Study.table`.
    images : list of 2-D float32 ndarray
        Row i of the table belongs to image i.
    """
    made = study(count, seed=seed, **options)
    return made.table, [image for _, images in made.crops() for image in images]


def write(folder, count, *, seed=1, preset="talos200", micrographs=False, **options):
    """Write a study as a folder that `particles` opens.

    Parameters
    ----------
    folder : str or Path
        New or empty folder.
    count, seed, preset
        As in `study`.
    micrographs : bool
        Also write whole micrographs (MRC with the voxel size in Å) and `particles.star`, the particles'
        places for RELION. Their number follows from `count`.
    **options
        The other options of `study`.

    Returns
    -------
    Path
        The folder, with `crops/<micrograph>/<particle>.png` (grey levels of the camera, 8 or 16 bit),
        `manifest.csv` (a column `image`, then `Study.table`), `panel.csv`, and `simulation.json`. The
        manifest is written last, so that a folder that was interrupted is not taken for whole.

    Raises
    ------
    InputError
        If the folder holds something, or as in `study`.
    """
    folder, made = Path(folder), study(count, seed=seed, preset=preset, **options)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InputError(f"{folder}: the folder is not empty; name a new one.")
    table = made.table
    places = table.groupby("micrograph", sort=False)
    images = []
    for (name, image), (_, rows) in zip(made.micrographs(), places):
        for particle, row, column, box in rows[["particle", "row", "column", "box_px"]].itertuples(
            index=False
        ):
            images.append(f"crops/{name}/{particle}.png")
            _write_png(folder / images[-1], crop(image, row, column, box), made.settings.microscope.bits)
        if micrographs:
            _write_mrc(folder / "micrographs" / f"{name}.mrc", image, made.pixel_size_nm)
    if micrographs:
        _write_star(folder / "particles.star", table, made.settings.microscope)
    write_csv(folder / "panel.csv", made.panel)
    settings = asdict(made.settings)
    write_json(
        folder / "simulation.json",
        {"simulated": True, "count": count, "seed": made.seed, "preset": preset, **settings},
    )
    write_csv(folder / "manifest.csv", table.assign(image=images)[["image", *table.columns]])
    return folder


def _write_png(path, image, bits):
    """Write grey levels as they are, 8 or 16 bit; rounding to whole electrons is far below the shot noise."""
    from PIL import Image

    kind, most = (np.uint8, 255) if bits == 8 else (np.uint16, 65535)
    with replacing(path) as temporary:
        Image.fromarray(np.clip(np.rint(image), 0, most).astype(kind)).save(temporary, compress_level=1)


def _write_mrc(path, image, pixel_size_nm):
    """Write a micrograph as MRC (mode 2) with its voxel size."""
    import mrcfile

    with replacing(path) as temporary, mrcfile.new(temporary, overwrite=True) as file:
        file.set_data(image)
        file.voxel_size = 10 * pixel_size_nm


def _write_star(path, table, microscope):
    """Write the places as RELION 3.1 reads them: 0-based pixels, defocus in Å, an optics group a session."""
    import starfile

    groups = {session: i + 1 for i, session in enumerate(table["session"].unique())}
    angstrom = 10 * table["pixel_size_nm"].iloc[0]
    scopes = pd.DataFrame(
        {
            "rlnOpticsGroupName": list(groups),
            "rlnOpticsGroup": list(groups.values()),
            "rlnVoltage": microscope.kv,
            "rlnSphericalAberration": microscope.cs_mm,
            "rlnAmplitudeContrast": microscope.amplitude_contrast,
            "rlnMicrographPixelSize": angstrom,
        }
    )
    defocus, astigmatism = 1e4 * table["truth_defocus_um"], 10 * table["truth_astigmatism_nm"]
    places = pd.DataFrame(
        {
            "rlnMicrographName": "micrographs/" + table["micrograph"] + ".mrc",
            "rlnCoordinateX": table["column"],
            "rlnCoordinateY": table["row"],
            "rlnDefocusU": defocus + astigmatism,
            "rlnDefocusV": defocus - astigmatism,
            "rlnDefocusAngle": table["truth_astigmatism_deg"],
            "rlnOpticsGroup": table["session"].map(groups),
        }
    )
    with replacing(path) as temporary:
        starfile.write({"optics": scopes, "particles": places}, temporary, overwrite=True)
