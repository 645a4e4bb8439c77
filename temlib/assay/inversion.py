"""Shares solved from calls and a confusion matrix, and intervals by inverting tests whose units are micrographs, and sessions.

Calls q and a confusion matrix M (truths, called) measured elsewhere give shares p = A q, with A the inverse of M transposed.
At the true shares A (q - p M) is the error of p, linear in the errors of q and of M: its variance is a sum over micrographs of
either side, and depends on p. A value of a share is inside the interval where that error is smaller than t times its standard
error *at this value*. For two classes this is Fieller's interval (E. C. Fieller, J. R. Stat. Soc. B 16 (1954) 175-185,
doi:10.1111/j.2517-6161.1954.tb00159.x) of the estimate of W. J. Rogan and B. Gladen (Am. J. Epidemiol. 107 (1978) 71-76,
doi:10.1093/oxfordjournals.aje.a112510). Arrays may have more axes in front, over which all is repeated.

How a class is called differs between sessions of a microscope, and a new sample is of a session that nothing was learnt from. With
known sessions the rates of each are a draw around their mean; the new session's are one more draw. So at the true shares p the
error of A q has three parts: of the sample's calls, by micrograph; of the mean rates, by session (its variance p' C p is a sum
over sessions); and of the new session, p' B p, with B the covariance of rates between sessions. B is C less what micrographs
within sessions explain, over the sum of the sessions' squared weights (analysis of variance by moments), and no less than 0. A
sample of several sessions averages as many draws. The t quantile has the sessions - 1 degrees of freedom, together with the
sample's. How shares differ between sessions is no part of it: they are the shares of the sessions at hand.
"""

import numpy as np
from scipy import special

# All intervals are 95 % intervals; what lies beyond each end.
TAIL = 0.025
# Jeffreys' pseudo-count: no error among a few held-out particles is not proof that there are none.
PSEUDO_COUNT = 0.5
# Two sessions differ by one degree of freedom, whose interval is a dozen standard errors wide.
FEWEST_SESSIONS = 3
# Hypotheses that are tried, between which the ends are interpolated.
HYPOTHESES = 401


class Measured:
    """Shares of the called classes of each truth, and what each micrograph adds to their error.

    Made from counts (..., folds, micrographs, truths, called). The shares of each fold are averaged: a fold is weighted
    by 1 / (folds x its particles of the truth), so that each model is met by its own rates. With `sessions`, a number from 0
    for each micrograph, sessions are the units.
    """

    def __init__(self, counts, sessions=None):
        particles = counts.sum(axis=(-3, -1))  # (..., folds, truths)
        folds = counts.shape[-4]
        weighted = np.einsum("...kgtc,...kt->...gtc", counts, 1 / (folds * particles))
        self.sizes = weighted.sum(axis=-1)  # (..., micrographs, truths), each truth's sum is 1
        self.shares = weighted.sum(axis=-3)  # (..., truths, called)
        self.units = np.sum(self.sizes > 0, axis=-2)  # (..., truths)
        # The residuals from the mean of all folds hold the differences between the models too.
        residuals = weighted - self.sizes[..., None] * self.shares[..., None, :, :]
        self.influence = _unbiased(residuals, self.units)  # (..., micrographs, truths, called)
        # Particles (..., truths) of which a plain share would be as sure.
        self.number = folds**2 / np.sum(1 / particles, axis=-2)
        self.by_session = sessions is not None
        if self.by_session:
            self._join(residuals, np.eye(np.max(sessions) + 1)[sessions])

    def _join(self, residuals, member):
        """Make sessions the units, of residuals (..., micrographs, truths, called); member (micrographs, sessions) is 0 or 1."""
        sizes = member.T @ self.sizes  # (..., sessions, truths)
        summed = np.einsum("...gtc,gs->...stc", residuals, member)
        means = summed / np.maximum(sizes, 1e-300)[..., None]
        within = residuals - self.sizes[..., None] * np.einsum("...stc,gs->...gtc", means, member)
        micrographs = member @ (
            member.T @ (self.sizes > 0)
        )  # of the same session, (..., micrographs, truths)
        unbiased = np.sqrt(micrographs / np.maximum(micrographs - 1, 1))
        self.within, self.of_micrographs = within * unbiased[..., None], self.influence
        self.sizes, self.units = sizes, np.sum(sizes > 0, axis=-2)
        self.influence = _unbiased(summed, self.units)

    def covariance(self, contrast):
        """Return the covariances (..., J, truths, truths) of contrasts (..., J, called) of the shares, by micrograph."""
        return _products(self.influence, contrast)

    def covariances(self, contrast):
        """Return all that are known of the variance of the mean, in a list: by session, which seldom is the smaller, too."""
        known = [self.influence, self.of_micrographs] if self.by_session else [self.influence]
        return [_products(influence, contrast) for influence in known]

    def between(self, contrast):
        """Return the covariances (..., J, truths, truths) of contrasts between sessions, 0 where none are known."""
        if not self.by_session:
            return np.zeros(1)[:, None, None]
        weights = np.swapaxes(self.sizes, -1, -2) @ self.sizes
        excess = self.covariance(contrast) - _products(self.within, contrast)
        return excess / np.maximum(weights, 1e-300)[..., None, :, :] * (weights > 0)[..., None, :, :]

    def floor(self, contrast):
        """Return the variances (..., J, truths) if particles were independent: micrographs seldom make them smaller."""
        number, called = self.number[..., None], self.shares.shape[-1]
        shares = (self.shares * number + PSEUDO_COUNT) / (number + called * PSEUDO_COUNT)
        mean, square = (np.einsum("...tc,...jc->...jt", shares, contrast**k) for k in (1, 2))
        return (square - mean**2) / self.number[..., None, :]

    def variance(self, contrast, new=0.0):
        """Return the variances (..., J, truths) of contrasts (..., J, called) of the shares of each truth.

        `new` is the sum of the squared weights of the sessions that are to be foretold from these, 1 for a single one.
        """
        *known, between = (
            np.einsum("...jtt->...jt", c) for c in (*self.covariances(contrast), self.between(contrast))
        )
        return np.maximum.reduce([*known, self.floor(contrast)]) + new * np.maximum(between, 0)

    def df(self, weights):
        """Return the degrees of freedom where truths have `weights` (..., J, H, truths): Kish's units - 1."""
        sizes = np.swapaxes(self.sizes, -1, -2) @ self.sizes
        shared = np.einsum("...jht,...tu,...jhu->...jh", weights, sizes, weights)
        return np.maximum(1 / np.maximum(shared, 1e-300) - 1, 1)


def _unbiased(residuals, units):
    """Return residuals (..., units, truths, called) whose products are as large as those from the true mean."""
    return residuals * np.sqrt(units / np.maximum(units - 1, 1))[..., None, :, None]


def _products(influence, contrast):
    """Return the sums of products (..., J, truths, truths) of what each unit adds to contrasts (..., J, called)."""
    moved = np.einsum("...gtc,...jc->...jgt", influence, contrast)
    return np.swapaxes(moved, -1, -2) @ moved


def quadratic(at, covariance, other=None):
    """Return a' C b (..., J, H) of shares (..., J, H, truths), twice the same ones where there are no others."""
    return np.einsum("...jht,...jtu,...jhu->...jh", at, covariance, at if other is None else other)


def dealt(shares):
    """Return a matrix (called, truths) that deals calls out to the truths: each class to itself, the refused in equal parts.

    Any way to deal out the refused, who make one column more than there are truths, gives the true shares where the rates
    hold; this one favours no class.
    """
    truths, called = shares.shape[-2:]
    return np.vstack([np.eye(truths), np.full((called - truths, truths), 1 / truths)])


def contrasts(shares):
    """Return A (..., truths, called), the inverse of shares (..., truths, called) transposed."""
    deal = dealt(shares)
    return np.linalg.inv(np.swapaxes(shares @ deal, -1, -2)) @ deal.T


def projected(shares):
    """Return the nearest points (..., classes) at which no share is negative and all sum to 1.

    W. Wang, M. A. Carreira-Perpinan, arXiv:1309.1541 (2013).
    """
    falling = -np.sort(-shares, axis=-1)
    excess = (np.cumsum(falling, axis=-1) - 1) / np.arange(1, shares.shape[-1] + 1)
    last = np.sum(falling > excess, axis=-1, keepdims=True) - 1
    return np.maximum(shares - np.take_along_axis(excess, last, axis=-1), 0)


def compared(one, other):
    """Return p values (..., truths, called) of whether two `Measured` have equal shares: Welch's t tests by their units.

    Where `one` knows sessions, `other` is of a new one: whether they differ by more than sessions do.
    """
    each, sides = np.eye(one.shares.shape[-1]), (one, other)
    numbers = [side.number[..., None] for side in sides]
    # Equal shares are best known from both: a side that happens to show no error is not surer for it.
    pooled = sum(side.shares * number for side, number in zip(sides, numbers)) / sum(numbers)
    variances = [
        np.maximum(np.swapaxes(side.variance(each, 1.0), -1, -2), pooled * (1 - pooled) / number)
        for side, number in zip(sides, numbers)
    ]
    with np.errstate(divide="ignore", invalid="ignore"):
        total = sum(variances)
        df = total**2 / sum(v**2 / (side.units - 1)[..., None] for v, side in zip(variances, sides))
        return 2 * special.stdtr(df, -np.abs(one.shares - other.shares) / np.sqrt(total))


class Solved:
    """Shares of one sample, or with `minus` their differences from those of another that the same classifier called.

    `errors` are `Measured` of held-out particles, `calls` and `minus` of a sample, of one truth. `together` (samples, samples)
    are the sums over sessions of the products of their weights in the samples; by default each sample is of one session that
    no other is of.
    """

    def __init__(self, errors, calls, minus=None, together=None):
        self.errors, self.contrast = errors, contrasts(errors.shares)
        samples = [calls] if minus is None else [calls, minus]
        solved = [np.einsum("...jc,...c->...j", self.contrast, s.shares[..., 0, :]) for s in samples]
        self.values = solved[0] if minus is None else solved[0] - solved[1]  # (..., J)
        self.nearest = projected(solved[0]) if minus is None else self.values
        self.lowest = 0.0 if minus is None else -1.0
        self.covariances, self.floor = errors.covariances(self.contrast), errors.floor(self.contrast)
        self.between, self.samples = errors.between(self.contrast), samples
        self.together = np.eye(len(samples)) if together is None else together
        self.middle = np.mean([projected(s) for s in solved], axis=0)
        # Where one class is given a hypothetical share, the others keep their proportions.
        others = self.middle[..., None, :] + 1e-9
        others = others * (1 - np.eye(others.shape[-1]))
        self.others = others / others.sum(axis=-1, keepdims=True)  # (..., J, truths)

    def errors_at(self, hypotheses):
        """Return variances and degrees of freedom (..., J, H) of the values where these are `hypotheses` (..., J, H)."""
        moved = (hypotheses - self.nearest[..., None])[..., None]
        along = np.eye(self.values.shape[-1]) - self.others
        at = self.nearest[..., None, None, :] + moved * along[..., None, :]  # (..., J, H, truths)
        independent = at**2 * self.floor[..., None, :]
        clustered = [quadratic(at, covariance) for covariance in self.covariances]
        spread = np.maximum.reduce([*clustered, independent.sum(axis=-1)])
        spread = spread + self._new_sessions_at(at)
        own = np.maximum(at**2 * np.einsum("...jtt->...jt", self.covariances[0])[..., None, :], independent)
        weights = own / np.maximum(own.sum(axis=-1, keepdims=True), 1e-300)
        parts = [
            (spread, self.errors.df(weights)),
            *(self._calls_at(s, at, hypotheses) for s in self.samples),
        ]
        total = sum(variance for variance, _ in parts)
        # F. E. Satterthwaite, Biometrics Bull. 2 (1946) 110-114, doi:10.2307/3002019.
        return total, total**2 / sum(variance**2 / df for variance, df in parts)

    def _new_sessions_at(self, at):
        """Return the variances (..., J, H) of what the samples' own sessions add where shares or differences are `at`."""
        middle = self.middle[..., None, None, :]
        signed = (
            [at] if len(self.samples) == 1 else [middle + at / 2, at / 2 - middle]
        )  # of the second, minus
        parts = [
            self.together[i, j] * quadratic(one, self.between, other)
            for i, one in enumerate(signed)
            for j, other in enumerate(signed)
        ]
        return np.maximum(sum(parts), 0)

    def _calls_at(self, sample, at, hypotheses):
        """Return variances (..., J, H) and degrees of freedom (..., 1, 1) of what a sample's calls add."""
        variance = sample.variance(self.contrast)[..., 0, None]
        if len(self.samples) == 1:
            # A rare class is seen to vary little where it happens to be missing: as in Wilson's interval, the binomial
            # variance is that of the hypothesis where this is larger. The design effect stays as seen.
            called = at @ self.errors.shares[..., None, :, :]
            each = np.einsum("...jhc,...jc->...jh", called, self.contrast**2) - hypotheses**2
            seen = (sample.floor(self.contrast) * sample.number[..., None, :])[..., 0, None]
            variance = variance * np.maximum(1, each / seen)
        return variance, sample.df(np.ones((1, 1, 1)))

    def statistic(self, hypotheses):
        """Return Student's t and its degrees of freedom (..., J, H) of the values against `hypotheses` (..., J, H)."""
        variance, df = self.errors_at(hypotheses)
        return (self.values[..., None] - hypotheses) / np.sqrt(variance), df

    def interval(self):
        """Return the ends (..., J) of the 95 % intervals, which hold the nearest shares."""
        nearest = np.clip(self.nearest, self.lowest, 1)
        return inverted(self.values, nearest, self.errors_at, self.lowest)


def inverted(values, nearest, errors_at, lowest=0.0):
    """Return the ends (..., J) of the values from `lowest` to 1 that a t test at `TAIL` on either side does not reject.

    `errors_at` gives variances and degrees of freedom (..., J, H) where `values` (..., J) are hypotheses (..., J, H); `nearest`
    are the values within their range.
    """
    x = np.linspace(lowest, 1, HYPOTHESES)
    variance, df = errors_at(np.broadcast_to(x, (*values.shape, len(x))))
    half = -special.stdtrit(df, TAIL) * np.sqrt(variance)
    room = half - np.abs(values[..., None] - x)
    # Calls beyond all that any share would give leave no value; the interval of the nearest share stands instead.
    none = ~(room >= 0).any(axis=-1, keepdims=True)
    room = np.where(none, half - np.abs(np.clip(values, lowest, 1)[..., None] - x), room)
    low, high = _crossing(x, room), _crossing(x[::-1], room[..., ::-1])
    return np.minimum(low, nearest), np.maximum(high, nearest)


def _crossing(x, room):
    """Return where `room` (..., H) first stops being negative along x (H,), interpolated."""
    after = np.argmax(room >= 0, axis=-1)
    before = np.maximum(after - 1, 0)
    high, low = (np.take_along_axis(room, i[..., None], -1)[..., 0] for i in (after, before))
    part = np.where(after > before, high / np.where(high > low, high - low, 1), 0)
    return x[after] + (x[before] - x[after]) * np.clip(part, 0, 1)
