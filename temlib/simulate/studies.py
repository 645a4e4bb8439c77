"""Studies: sessions, micrographs and particles with known truth, drawn, yielded and written.

A study settles everything by its seed. Every micrograph is drawn from streams of its own, so that it can be made alone,
in any order and by any number of threads, with the same bytes; of what grows with the particles, memory holds the table.
"""

import math
from collections import deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field, fields, replace
from functools import cached_property, lru_cache, partial
from itertools import islice
from pathlib import Path

import numpy as np
import pandas as pd

from temlib.files import InputError, check_writable, replacing, write_csv, write_json
from temlib.simulate import annotators, micrograph, microscope

# Particles of a micrograph where nothing else is asked for.
PER_MICROGRAPH = 25
# The preset under which studies of so many laboratories, at most, are joined.
VARIED, WORLDS, WORLD_PX = "varied", 16, 1200


@dataclass(frozen=True, eq=False)
class Study:
    """A simulated study; made by `study`."""

    count: int
    seed: int
    settings: micrograph.Settings
    counts: tuple = field(repr=False)
    sessions: tuple = field(repr=False)
    threads: int

    @property
    def names(self):
        """The micrographs' names."""
        return [f"m{i + 1:04d}" for i in range(len(self.counts))]

    def scene(self, index):
        """Return what lies in micrograph `index` and how it is imaged: a `micrograph.Scene`."""
        return _scene(self, index)

    def _rng(self, *key):
        """Return a stream of its own for each thing that is drawn."""
        return np.random.default_rng(np.random.SeedSequence(self.seed, spawn_key=key))

    @cached_property
    def _shares(self):
        """Shares of multilamellar and of full in each micrograph."""  # (2, micrographs)
        asked = [self.settings.prevalence[name] for name in ("multilamellar", "full")]
        where = self.sessions, self.counts
        return np.array([micrograph.draw_shares(asked[i], *where, self._rng(7, i)) for i in range(2)])

    @cached_property
    def _habits(self):
        """The leanings of the panel in each task."""
        size = self.settings.annotators
        return [annotators.habits(size, task, self._rng(4, t)) for t, task in enumerate(annotators.TASKS)]

    def part(self, index):
        """Return the rows of micrograph `index` in `table`, and the panel's votes on each task."""
        rows, strengths = micrograph.truths(self.scene(index), self.settings)
        rng, first = self._rng(3, index), sum(self.counts[:index]) + 1
        rows.insert(0, "particle", [f"p{first + i:06d}" for i in range(len(rows))])
        rows.insert(1, "micrograph", self.names[index])
        rows.insert(2, "session", f"s{self.sessions[index] + 1}")
        seconds = [rows[f"truth_{task}"] == second for task, (_, second) in annotators.TASKS.items()]
        votes = [annotators.judge(*each, rng) for each in zip(seconds, strengths.T, self._habits)]
        for t, (task, names) in enumerate(annotators.TASKS.items()):
            words = np.array([*names, annotators.UNCERTAIN], dtype=object)
            rows.insert(7 + t, task, words[annotators.consensus(votes[t])])
        return rows, votes

    @cached_property
    def _tables(self):
        """The particles' table and the panel's labels."""
        return joined(self.part(i) for i in range(len(self.counts)))

    @property
    def table(self):
        """One row per particle: place, labels of the panel's majority, and truth."""
        return self._tables[0]

    @property
    def panel(self):
        """One row per particle: the label of each annotator, in columns `<task>@a1` and so on."""
        return self._tables[1]

    @property
    def boxes(self):
        """One row per particle, `box_px, pixel_size_nm`, drawn without the rest of `table`."""
        sides = np.concatenate([self.scene(i).boxes[:, 2] for i in range(len(self.counts))])
        return pd.DataFrame({"box_px": sides, "pixel_size_nm": self.settings.microscope.binned_nm})

    def micrograph(self, index):
        """Return the finished micrograph `index`."""  # (rows, columns) float32
        gains = _gains(self, self.sessions[index]) if self.settings.noise else None
        return micrograph.render(self.scene(index), self.settings, gains, self._rng(2, index))

    def micrographs(self) -> Iterator[tuple[str, np.ndarray]]:
        """Yield the name and the image of one micrograph after the other."""
        with ThreadPoolExecutor(self.threads) as pool:
            coming = (pool.submit(self.micrograph, i) for i in range(len(self.counts)))
            waiting = deque(islice(coming, self.threads + 1))
            for name in self.names:
                image = waiting.popleft().result()
                waiting.extend(islice(coming, 1))
                yield name, image

    def crops(self) -> Iterator[tuple[str, list[np.ndarray]]]:
        """Yield each micrograph's name and the list of its particles' crops, in the order of `table`."""
        places = self.table.groupby("micrograph", sort=False)[["row", "column", "box_px"]]
        for (name, image), (_, rows) in zip(self.micrographs(), places):
            yield name, [crop(image, *row) for row in rows.to_numpy()]


def joined(parts):
    """Return the table and the panel of what `Study.part` returned of each micrograph."""
    tables, votes = zip(*parts)
    table = pd.concat(tables, ignore_index=True)
    people = {"particle": table["particle"]}
    for t, (task, names) in enumerate(annotators.TASKS.items()):
        words = np.array([*names, annotators.UNCERTAIN], dtype=object)
        given = words[np.concatenate([each[t] for each in votes])]  # (n, annotators)
        people |= {f"{task}@a{a + 1}": column for a, column in enumerate(given.T)}
    return table, pd.DataFrame(people)


@lru_cache(maxsize=64)
def _scene(study, index):
    """Draw a scene, which takes a tenth of its picture's time; the picture asks for it after the table did."""
    settings, rng = study.settings, study._rng(0, study.sessions[index])
    session = micrograph.draw_session(settings.microscope, rng, *study._shares[:, index])
    return micrograph.draw_scene(settings, session, study.counts[index], study._rng(1, index))


@lru_cache(maxsize=4)
def _gains(study, session):
    """Draw the gain errors of a session's camera."""
    return microscope.gain_map(study.settings.microscope, study._rng(5, session))


def crop(image, row, column, box):
    """Return a copy of a particle's window, (box, box), from its micrograph.

    Parameters
    ----------
    image : (rows, columns) ndarray
    row, column, box : int
        The window's pixel (`box // 2`, `box // 2`) is the micrograph's (`row`, `column`), and it lies inside.
    """
    top, left = row - box // 2, column - box // 2
    return image[top : top + box, left : left + box].copy()


def study(count, *, seed=1, preset="talos200", micrographs=None, sessions=None, threads=2, **options):
    """Plan a `Study` of simulated liposomes, or raise InputError where it cannot exist or be simulated.

    Parameters
    ----------
    count, threads : int
        Particles, ≥ 1, and threads that make micrographs.
    seed : int or numpy.random.Generator
        Settles everything; the same seed gives the same bytes, whatever `threads` is.
    preset : str
        Microscope, camera and habits: one of `PRESETS`.
    micrographs, sessions : int, optional
        How many; by default one micrograph per 25 particles, and one session per four micrographs, at most 6.
    **options
        Fields of `micrograph.Settings`, or of the preset (`microscope.Preset`), to be changed, such as
        `artefacts=0.0` or `dose=(4.0, 4.0)`. `prevalence` holds the shares of `unilamellar` and `multilamellar`, or of
        `empty` and `full`, or of all four; each pair sums to 1.
    """
    own = {each.name: options.pop(each.name) for each in fields(micrograph.Settings) if each.name in options}
    own["prevalence"] = micrograph.PREVALENCE | own.get("prevalence", {})
    settings = micrograph.Settings(replace(microscope.preset(preset), **options), **own)
    micrograph.check_limits(count=count, threads=threads)
    micrographs = math.ceil(count / PER_MICROGRAPH) if micrographs is None else micrographs
    sessions = max(1, min(6, micrographs // 4)) if sessions is None else sessions
    micrograph.check_limits(micrographs=micrographs, sessions=sessions)
    if not sessions <= micrographs <= count:
        raise InputError(
            f"simulate: {count} particles, {micrographs} micrographs and {sessions} sessions do not nest; "
            "every session needs a micrograph and every micrograph a particle."
        )
    micrograph.check(settings, count / micrographs)
    if isinstance(seed, np.random.Generator):
        seed = int(seed.integers(2**63))
    return Study(count, seed, settings, *_plan(count, micrographs, sessions, seed), threads)


def _plan(count, micrographs, sessions, seed):
    """Return the number of particles of each micrograph, at least one, and its session."""
    rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(6,)))
    weights = rng.uniform(0.7, 1.3, micrographs)
    ends = np.round(np.cumsum(weights) / weights.sum() * (count - micrographs)).astype(int)
    counts = tuple(int(n) + 1 for n in np.diff(ends, prepend=0))
    return counts, tuple(i * sessions // micrographs for i in range(micrographs))


def worlds(count, *, seed=1, **options):
    """Return studies of `count` particles in all that differ in what laboratories differ in, under the preset "varied".

    Microscope, camera, pixel, ranges of focus and dose, amplitude contrast, sizes of the vesicles and how crowded they are are drawn
    for each, wider than one laboratory has them (assumed), and boxes fit loosely or tightly: what is learnt from all of them should hold
    for another. `options` are as in `study`, and take the place of what is drawn.
    """
    rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(8,)))
    names, found = list(microscope.PRESETS), []
    number = max(1, min(WORLDS, count // PER_MICROGRAPH))
    for i, size in enumerate(np.diff(np.linspace(0, count, number + 1).astype(int))):
        name, focus, pixel, median = names[i % len(names)], *rng.uniform((1, 0.6, 40), (4, 1, 90))
        # As crowded as three in ten parts of the ice, at most.
        most = 0.3 * (WORLD_PX * pixel) ** 2 / (math.pi / 4 * median**2)
        drawn = {
            "preset": name,
            "pixel_nm": pixel,
            "shape": (WORLD_PX, WORLD_PX),
            "micrographs": math.ceil(size / min(most, rng.uniform(15, 60))),
            "artefacts": rng.uniform(0.5, 2.0),
            "defocus_um": (focus, focus + 2),
            "dose": (10.0, 40.0),
            "amplitude_contrast": rng.uniform(0.03, 0.12),
            "diameter_nm": (24.0, median, 250.0),
            "diameter_spread": rng.uniform(0.3, 0.6),
            "box": (1.1, 1.8),
        }
        found.append(study(int(size), seed=int(rng.integers(2**31)), **drawn | options))
    return found


def write(folder, count, *, seed=1, preset="talos200", micrographs=False, **options):
    """Write a study as a folder that `particles:` opens.

    Parameters
    ----------
    folder : str or Path
        New or empty, else InputError.
    count, seed, preset, **options
        As in `study`, or the preset "varied", which joins the studies of `worlds`; the number of micrographs follows from
        `count`.
    micrographs : bool
        Also write whole micrographs (MRC with the voxel size in Å) and `particles.star`, their places for RELION.

    Returns
    -------
    Path
        The folder, with `crops/<micrograph>/<particle>.png` (grey levels of the camera, 8 or 16 bit), `manifest.csv` (a
        column `image`, then the study's table), `panel.csv`, and `simulation.json`. The manifest is written last, so
        that an interrupted folder is not taken to be complete.
    """
    folder = Path(folder)
    check_writable(folder / "manifest.csv")
    varied = preset == VARIED
    if varied:
        micrograph.check_limits(count=count)
        studies = worlds(count, seed=seed, **options)
    else:
        studies = [study(count, seed=seed, preset=preset, **options)]
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InputError(f"{folder}: the folder is not empty; name a new one.")
    tables, panels = [], []
    for i, made in enumerate(studies):
        with ThreadPoolExecutor(made.threads) as pool:
            work = partial(_write_part, folder, made, f"w{i + 1:02d}" if varied else "", micrographs)
            table, panel = joined(pool.map(work, range(len(made.counts))))
        tables.append(table)
        panels.append(panel)
    if micrographs:
        scopes = [made.settings.microscope for made in studies]
        _write_star(folder / "particles.star", [*zip(tables, scopes)])
    write_csv(folder / "panel.csv", pd.concat(panels, ignore_index=True))
    facts = {"simulated": True, "count": count, "seed": seed if varied else studies[0].seed, "preset": preset}
    own = {"worlds": [asdict(made.settings) for made in studies]} if varied else asdict(studies[0].settings)
    write_json(folder / "simulation.json", facts | own)
    write_csv(folder / "manifest.csv", pd.concat(tables, ignore_index=True))
    return folder


def _write_part(folder, made, world, micrographs, index):
    """Write a micrograph's crops, and itself if asked; return its part of the study, with the images' names, of this world."""
    rows, votes = made.part(index)
    scope, image = made.settings.microscope, made.micrograph(index)
    for column in ("particle", "micrograph", "session"):
        rows[column] = world + rows[column]
    rows.insert(0, "image", "crops/" + rows["micrograph"] + "/" + rows["particle"] + ".png")
    for row in rows.itertuples():
        _write_png(folder / row.image, crop(image, row.row, row.column, row.box_px), scope.bits)
    if micrographs:
        _write_mrc(folder / "micrographs" / f"{world}{made.names[index]}.mrc", image, scope.binned_nm)
    return rows, votes


def _write_png(path, image, bits):
    """Write grey levels as they are, 8 or 16 bit; rounding is far below the shot noise, which hardly lets itself be compressed."""
    from PIL import Image

    kind, most = (np.uint8, 255) if bits == 8 else (np.uint16, 65535)
    with replacing(path) as temporary:
        Image.fromarray(np.clip(np.rint(image), 0, most).astype(kind)).save(temporary, compress_level=0)


def _write_mrc(path, image, pixel_nm):
    """Write a micrograph as MRC (mode 2) with its voxel size."""
    import mrcfile

    with replacing(path) as temporary, mrcfile.new(temporary, overwrite=True) as file:
        file.set_data(image)
        file.voxel_size = 10 * pixel_nm


def _write_star(path, studies):
    """Write the places of studies, (table, microscope), as RELION 3.1 reads them: 0-based pixels, defocus in Å, an optics group a session."""
    import starfile

    groups, places = [], []
    for table, scope in studies:
        group, sessions = table["session"].factorize()
        begin = sum(map(len, groups)) + 1
        scopes = pd.DataFrame(
            {"rlnOpticsGroupName": sessions, "rlnOpticsGroup": np.arange(len(sessions)) + begin}
        )
        scopes["rlnVoltage"], scopes["rlnSphericalAberration"] = scope.kv, scope.cs_mm
        scopes["rlnAmplitudeContrast"] = scope.amplitude_contrast
        scopes["rlnMicrographPixelSize"] = 10 * scope.binned_nm
        groups.append(scopes)
        defocus, astigmatism = 1e4 * table["truth_defocus_um"], 10 * table["truth_astigmatism_nm"]
        columns = {
            "rlnMicrographName": "micrographs/" + table["micrograph"] + ".mrc",
            "rlnCoordinateX": table["column"],
            "rlnCoordinateY": table["row"],
            "rlnDefocusU": defocus + astigmatism,
            "rlnDefocusV": defocus - astigmatism,
            "rlnDefocusAngle": table["truth_astigmatism_deg"],
            "rlnOpticsGroup": group + begin,
        }
        places.append(pd.DataFrame(columns))
    blocks = {
        "optics": pd.concat(groups, ignore_index=True),
        "particles": pd.concat(places, ignore_index=True),
    }
    with replacing(path) as temporary:
        starfile.write(blocks, temporary, overwrite=True)
