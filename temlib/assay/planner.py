"""How many micrographs, with how many particles each, a share of a wanted half width takes; where counting more is useless."""

import numpy as np
import pandas as pd
from scipy import special

from temlib.assay.inversion import TAIL, Measured, Solved
from temlib.files import InputError

# More micrographs of one sample than anybody records.
MOST_MICROGRAPHS = 10_000


def intraclass_correlation(correction, calls):
    """Return how alike the calls within a micrograph are, in [0, 1] for each class: what a pilot sample tells a planner.

    The variance by micrograph of the calls is that of independent particles times 1 + (m - 1) ICC, with m the size of the
    micrograph of a mean particle.

    Parameters
    ----------
    correction : Correction
    calls : DataFrame
        Calls, see `temlib.assay.prevalence`.

    Returns
    -------
    Series
        By class; NaN where no micrograph has two particles.
    """
    counts = correction.counts(calls)
    sample = Measured(counts[None, :, None, :])
    contrast = Solved(correction.errors, sample).contrast
    particles, each = counts.sum(), np.sum(counts.sum(axis=1) ** 2) / counts.sum()
    seen = sample.covariance(contrast)[:, 0, 0] * particles / _per_particle(contrast, sample.shares[0])
    icc = (seen - 1) / (each - 1) if each > 1 and sample.units[0] > 1 else np.full(len(seen), np.nan)
    return pd.Series(np.clip(icc, 0, 1), index=correction.truths)


def _per_particle(contrast, called):
    """Return the variance (J,) of contrasts (J, called) of a single particle's call, of shares (called,)."""
    return np.maximum(contrast**2 @ called - (contrast @ called) ** 2, 1e-12)


def plan(
    correction,
    shares,
    name,
    *,
    icc,
    half_widths=(0.05,),
    particles=(5, 10, 20, 50, 100, 200),
    cost_micrograph=1.0,
    cost_particle=0.0,
):
    """Return how many micrographs a share of a wanted half width takes, by the particles called in each.

    Parameters
    ----------
    correction : Correction
        The classifier's error rates. What they leave unsure stays, however large the sample.
    shares : mapping of str to float
        The expected share of each class, of sum 1.
    name : str
        The class whose share is wanted.
    icc : float
        How alike calls within a micrograph are, in [0, 1]: `intraclass_correlation` of a pilot sample.
    half_widths : sequence of float
        Wanted half widths of 95 % intervals, in (0, 1): a curve each.
    particles : sequence of int
        Numbers of particles a micrograph.
    cost_micrograph, cost_particle : float
        In any one unit, as minutes.

    Returns
    -------
    DataFrame
        `half_width, particles` (a micrograph; inf ends each curve: what more counting could save at most), `micrographs` (NaN where
        none suffice), `total` (particles), `cost, cheapest` (of its half width), `floor` (the half width that the error rates
        leave of endless many micrographs), `reason` (why there is no number).

    Raises
    ------
    InputError
        An unknown class, shares that do not sum to 1, an ICC or half width out of range.
    """
    at = _checked(correction, shares, name, icc, half_widths)
    each, rates, df = _parts(correction, at, correction.truths.index(name))
    micrographs, rows = np.arange(2, MOST_MICROGRAPHS + 1), []
    for wanted in sorted(half_widths):
        for number in (*sorted(particles), np.inf):
            alike = icc + (1 - icc) / number
            enough = _half_width(each * alike / micrographs, micrographs - 1, rates, df) <= wanted
            rows.append((wanted, number, micrographs[enough][0] if enough.any() else np.nan))
    table = pd.DataFrame(rows, columns=["half_width", "particles", "micrographs"])
    total = table["particles"] * table["micrographs"]
    cost = table["micrographs"] * cost_micrograph + total.where(np.isfinite(total)) * cost_particle
    table = table.assign(total=total, cost=cost, floor=_half_width(0.0, np.inf, rates, df))
    table["cheapest"] = cost == cost.groupby(table["half_width"]).transform("min")
    below = f"the held-out particles alone leave ±{table['floor'].iloc[0]:.3f}: label more of them"
    why = np.where(table["half_width"] <= table["floor"], below, f"more than {MOST_MICROGRAPHS} micrographs")
    return table.assign(reason=np.where(table["micrographs"].isna(), why, ""))


def _checked(correction, shares, name, icc, half_widths):
    """Return the expected shares (truths,); refuse a plan without sense."""
    at = np.array([shares.get(truth, np.nan) for truth in correction.truths], float)
    if name not in correction.truths or {*shares} != {*correction.truths} or not np.isclose(at.sum(), 1):
        given = ", ".join(f"{key}: {value}" for key, value in shares.items())
        needed = ", ".join(correction.truths)
        raise InputError(
            f"A plan for {name!r} needs a share of each of {needed}, of sum 1; received {given}."
        )
    if not 0 <= icc <= 1 or not all(0 < width < 1 for width in half_widths):
        widths = ", ".join(map(str, half_widths))
        raise InputError(
            f"ICC and half widths are between 0 and 1; received ICC {icc}, half widths {widths}."
        )
    return at


def _parts(correction, shares, place):
    """Return the variance of a particle's call, and of the error rates with its degrees of freedom, for shares (truths,)."""
    errors = correction.errors
    called = shares @ errors.shares
    # A sample of exactly these calls, so large that it adds nothing.
    endless = Measured(np.tile(called * 1e12, (2, 1))[None, :, None, :])
    solved = Solved(errors, endless)
    variance, df = solved.errors_at(shares[:, None])
    return _per_particle(solved.contrast, called)[place], variance[place, 0], df[place, 0]


def _half_width(calls, df_calls, rates, df_rates):
    """Return the half widths that variances of calls and error rates give, with t and Satterthwaite's degrees of freedom."""
    total = calls + rates
    return -special.stdtrit(total**2 / (calls**2 / df_calls + rates**2 / df_rates), TAIL) * np.sqrt(total)
