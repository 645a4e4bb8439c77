"""One protocol for every model: whole micrographs held out, others for validation, out-of-fold predictions.

In each fold the particles of some micrographs are held out (`test`), those of others choose the epoch (`validation`), and
the rest are trained on. Nothing of a test or validation particle touches training: particles are scaled one by one, and
only training particles are augmented and balanced. How a network is trained in a fold is `temlib.fitting`.

How training went, in words and numbers: misfits, the worst micrographs, what a score costs.
"""

import time
import warnings
from dataclasses import asdict, dataclass

import numpy as np
import pandas as pd

from temlib.augment import lowpass
from temlib.data import split
from temlib.files import InputError, nearest
from temlib.train import adaptation, bundle, fitting, networks, svm

# Two interruptions within this many seconds end all training.
TWICE = 2.0


@dataclass(frozen=True)
class Settings:
    """What `train` was asked for, as its parameters of the same names."""

    folds: int
    seed: int
    epochs: int
    batch: int = 32
    learning_rate: float = 0.003
    augmentation: str = "slides"
    contrast: str = "kept"
    imbalance: str = "oversample"
    recipe: str = "modern"
    labels: float = 1.0
    labels_from: str = "particles"
    averaging: int = 0
    adaptation: str = "micrograph"

    @property
    def follows(self):
        """Whether predictions follow the micrograph."""
        return self.adaptation == "micrograph" and fitting.RECIPES[self.recipe].follows


@dataclass(frozen=True)
class Trained:
    """What training leaves.

    Attributes
    ----------
    predictions : DataFrame
        See docs/architecture.md.
    history : DataFrame
        `model, fold, epoch, loss, validation_loss, validation_accuracy` (balanced).
    costs : DataFrame
        `model, fold, training_s, prediction_ms_per_particle, weights, labelled` (particles whose labels were used).
    checks : DataFrame
        `model, fold, plain, resampled, final`: balanced accuracy of validation particles as they are, resampled as in
        training, and as they are predicted in the end; `rarest`, the number of those of the rarest class.
    failures : dict of str to str
        Why a model is missing.
    notes : list of str
        What else a reader should know, such as folds that were interrupted.
    """

    predictions: pd.DataFrame
    history: pd.DataFrame
    costs: pd.DataFrame
    checks: pd.DataFrame
    failures: dict
    notes: list


def check_models(models, primary, *, where="models"):
    """Refuse a list of models that is empty, repeats one, holds an unknown one, or lacks the primary one."""
    known = [*networks.names(), *(f"{name}{networks.SIZED}" for name in networks.names()), *svm.names()]
    if not models or len(set(models)) < len(models):
        raise InputError(
            f"{where}: 'models' should name each model once, such as {known}, but is {models!r}."
        )
    for name in models:
        if name not in known:
            hint = nearest(str(name), known) or f"; there are {', '.join(known)}"
            raise InputError(f"{where}: 'models' names '{name}', which is unknown{hint}.")
    if primary not in models:
        raise InputError(
            f"{where}: 'primary' is '{primary}', which is not among 'models' ({', '.join(models)})."
        )


def cross_validate(data, task, chosen, *, keep=None, progress=None, explain=None, **settings):
    """Train and test every model on the same folds.

    A model that fails is left out with its reason; the others go on. An interruption (KeyboardInterrupt) ends the fold at
    hand, which keeps the best weights so far; two within two seconds end everything.

    Parameters
    ----------
    data : Particles
        All with a label for `task`.
    task : str
    chosen : list of str
        Networks and SVM baselines.
    keep : Path, optional
        Folder for the networks of all folds, as bundles `<model>/fold=<n>`; see `temlib.models`.
    progress : callable, optional
        Gets (steps done of `len(chosen) * folds * epochs`, text).
    explain : callable, optional
        Gets (name, fitted model, positions of the test particles, a function that gives what the model sees of particles at
        some positions) of each model and fold, while the model is at hand; see `explain.Sample`.
    folds : int
        Number of folds, 2 or more; micrographs stay whole.
    seed : int
    epochs : int
        Passes over the training particles.
    batch : int
        Particles in a step.
    learning_rate : float
        Peak of the one-cycle schedule of the recipe "modern".
    augmentation : str
        A preset of `Augmentation`, drawn anew in each epoch.
    contrast : {"kept", "either"}
        Whether dark and bright are exchanged in half of the training particles, for micrographs of bright and dark field.
    imbalance : str
        How rare classes are balanced, one of `recipes.IMBALANCE`.
    recipe : str
        One of `recipes.RECIPES`.
    labels : float
        Share of the labels outside the test fold that is used, in (0, 1]; the number of steps does not change with it.
    labels_from : {"particles", "micrographs"}
        Whether some particles of every micrograph or some whole micrographs are used.
    averaging : int
        Number of drawn transforms over which the networks' predictions are averaged, 0 for none.
    adaptation : {"micrograph", "none"}
        Whether predictions follow the micrograph, see `temlib.adaptation`; with the recipe of 2016 they do not.

    Returns
    -------
    Trained

    Raises
    ------
    InputError
        If a class has fewer particles than there are folds, or no model could be trained.
    """
    settings = Settings(**settings)
    table = data.table.reset_index(drop=True)
    classes = _classes(table[task], settings.folds)
    fold_of = split(table, task, folds=settings.folds, seed=settings.seed)
    done, failures, notes, last = [], {}, [], -np.inf
    for number, name in enumerate(chosen):
        results = []
        try:
            model = (
                _Svm(name, data, classes, settings)
                if name in svm.names()
                else _Network(name, data, classes, settings)
            )
            for fold in sorted(set(fold_of)):
                start = (number * settings.folds + fold - 1) * settings.epochs
                report = (
                    (lambda epoch, text, start=start: progress(start + epoch, text)) if progress else None
                )
                parts = split_fold(table, task, fold_of, fold, settings)
                result = model.fold(table, task, parts, fold, report)
                results.append((fold, parts, result))
                if explain:
                    explain(name, model.fitted, parts["test"], model.see)
                if keep is not None and hasattr(model, "network"):
                    _keep(keep, model, data, task, classes, fold, settings)
                if result.pop("interrupted", False):
                    notes.append(
                        f"{name}: training was interrupted in fold {fold}; its best weights so far were kept."
                    )
                    if time.monotonic() - last < TWICE:
                        raise KeyboardInterrupt
                    last = time.monotonic()
            done += [(name, *result) for result in results]
            notes += _trained_again(name, results)
        except KeyboardInterrupt:
            failures[name] = f"{name}: it was interrupted before all folds were trained."
            if time.monotonic() - last < TWICE:
                notes.append("Training was ended by hand; models that are not listed were not trained.")
                break
            last = time.monotonic()
        except Exception as error:  # one model must not cost the others their results; the report shows it
            failures[name] = _reason(name, error)
    if not done:
        raise InputError("; ".join(failures.values()))
    return _tables(table, task, classes, done, failures, notes)


def _trained_again(name, results):
    """Say in which folds a network was trained again on all labels."""
    folds = [str(fold) for fold, _, result in results if result.get("again")]
    if not folds:
        return []
    return [
        f"{name}: a single micrograph was left for validation in fold{'s' * (len(folds) > 1)} {', '.join(folds)}, too few to "
        "choose an epoch by; once it had served for calibration, the network was trained again on all labelled micrographs."
    ]


def _classes(labels, folds):
    """Give the classes in order, or refuse what cannot be learnt."""
    counts = labels.value_counts()
    if len(counts) < 2:
        raise InputError(f"'{labels.name}' has only one class, '{counts.index[0]}'; two at least are needed.")
    if counts.min() < folds:
        raise InputError(
            f"the class '{counts.idxmin()}' of '{labels.name}' has {counts.min()} particles, fewer than the {folds} folds; "
            "lower 'folds', merge the class with another, or label more of it."
        )
    return sorted(counts.index)


def _reason(name, error):
    """Say in a sentence why a model failed."""
    text = str(error)
    if isinstance(error, InputError):
        return text
    memory = isinstance(error, MemoryError) or any(
        word in f"{type(error).__name__} {text}"
        for word in ("ResourceExhausted", "RESOURCE_EXHAUSTED", "OutOfMemory", "out of memory")
    )
    if memory:
        return f"{name}: the memory was not enough; lower 'batch' (first) or 'input_size'."
    return f"{name}: {type(error).__name__}: {(text.splitlines() or ['no more is known'])[0][:300]}"


def split_fold(table, task, fold_of, fold, settings):
    """Give the indices of the training, validation and test particles of a fold; micrographs stay whole.

    Parameters
    ----------
    table : DataFrame
        Particles, all labelled.
    task : str
    fold_of : (n,) ndarray of int
        From `particles.split`.
    fold : int
        Which fold is tested.
    settings : Settings

    Returns
    -------
    dict of str to ndarray
    """
    from sklearn.model_selection import StratifiedGroupKFold

    test, rest = np.flatnonzero(fold_of == fold), np.flatnonzero(fold_of != fold)
    rest = _labelled_share(table, task, rest, settings, np.random.default_rng((settings.seed, fold, 7)))
    groups = table["micrograph"].iloc[rest].to_numpy()
    labels = table[task].iloc[rest].to_numpy()
    parts = min(fitting.VALIDATION_PARTS, len(set(groups)))
    if parts < 2:
        raise InputError(
            f"fold {fold}: only one micrograph is left for training; lower 'folds' or add micrographs."
        )
    splitter = StratifiedGroupKFold(parts, shuffle=True, random_state=settings.seed + fold)
    with warnings.catch_warnings():
        # A class with fewer particles than parts cannot be in each; what matters is tested below.
        warnings.filterwarnings("ignore", message="The least populated class", category=UserWarning)
        divisions = list(splitter.split(rest, labels, groups))
    for train, validation in divisions:
        if set(labels[train]) == set(table[task]):
            return {"train": rest[train], "validation": rest[validation], "test": test}
    missing = sorted(set(table[task]) - set(labels))
    raise InputError(
        f"fold {fold}: no training particles of {', '.join(missing) or 'a rare class'} are left beside test and "
        "validation micrographs; lower 'folds' or add micrographs of it."
    )


def _labelled_share(table, task, rest, settings, rng):
    """Give the particles of `rest` whose labels are used; a smaller share is always part of a larger one."""
    if settings.labels >= 1:
        return rest
    labels = table[task].iloc[rest].to_numpy()
    if settings.labels_from == "particles":
        chosen = []
        for name in sorted(set(labels)):
            of_class = rng.permutation(rest[labels == name])
            chosen.append(of_class[: max(2, int(np.ceil(settings.labels * len(of_class))))])
        return np.sort(np.concatenate(chosen))
    groups = table["micrograph"].iloc[rest].to_numpy()
    order = rng.permutation(np.unique(groups))
    count = max(2, round(settings.labels * len(order)))
    # Each class must be there to train on and, if it can be, to validate.
    while count < len(order):
        inside = np.isin(groups, order[:count])
        spread = pd.Series(groups[inside]).groupby(labels[inside]).nunique()
        if set(spread.index) == set(labels) and spread.min() >= 2:
            break
        count += 1
    return rest[np.isin(groups, order[:count])]


class _Svm:
    """An SVM baseline in the protocol."""

    def __init__(self, name, data, classes, settings):
        self.name, self.classes, self.follows = name, classes, settings.follows
        started = time.perf_counter()
        self.features = svm.features(data.images, name)
        self.per_image = (time.perf_counter() - started) / len(data)

    def fold(self, table, task, parts, fold, report):
        if report:
            report(0, f"{self.name} fold {fold}")
        train, labels, groups = parts["train"], table[task].to_numpy(), table["micrograph"].to_numpy()
        started = time.perf_counter()
        features = self.features.iloc[train]
        fitted = self.fitted = svm.fit(self.name, features, labels[train], groups[train], seed=fold)
        took = time.perf_counter() - started
        probabilities, calls, started = {}, {}, time.perf_counter()
        for role in ("test", "validation"):
            seen = self.features.iloc[parts[role]]
            if self.follows:
                seen = adaptation.followed(seen, groups[parts[role]], features)
            calls[role] = pd.Categorical(svm.calls(fitted, seen), categories=self.classes).codes
            probabilities[role] = fitted.predict_proba(seen.to_numpy())
        predicted = sum(len(parts[role]) for role in ("test", "validation"))
        each = (time.perf_counter() - started) / predicted + self.per_image
        costs = {
            "training_s": took + self.per_image * len(train),
            "prediction_ms_per_particle": 1e3 * each,
            "weights": np.nan,
        }
        return {"probabilities": probabilities, "calls": calls, "costs": costs}

    def see(self, index):
        """Give the descriptors of particles."""
        return self.features.iloc[index]


class _Network:
    """A network in the protocol."""

    def __init__(self, name, data, classes, settings):
        sizes = _sizes(data, name) if name.endswith(networks.SIZED) else None
        micrographs = data.table["micrograph"].to_numpy()
        self.network = fitting.Network(name, data.images, classes, settings, sizes, micrographs)
        self.classes = classes

    def fold(self, table, task, parts, fold, report):
        codes = pd.Categorical(table[task], categories=self.classes).codes
        return self.network.fold(codes, parts, fold, report)

    @property
    def fitted(self):
        """The network of the last fold."""
        return self.network.model

    def see(self, index):
        """Give the images of particles as the network sees them."""
        return lowpass(self.network.images[index])


def _sizes(data, name):
    """Give the side of each particle's box in nm, as people framed it; refuse where none is known."""
    sizes = (data.table["box_px"] * data.table["pixel_size_nm"]).to_numpy(float)
    if np.isnan(sizes).all():
        raise InputError(
            f"{name} takes the particle's size, but no pixel size is known; add a column 'pixel_size_nm' or "
            f"take '{name.removesuffix(networks.SIZED)}'."
        )
    return sizes


def _keep(folder, model, data, task, classes, fold, settings):
    """Save the network of a fold as a bundle."""
    card = {
        "task": task,
        "classes": classes,
        "fold": int(fold),
        "scale": data.scale,
        "pixel_nm": data.pixel_nm,
        "input_size": data.images.shape[-1],
        "simulated": data.simulated,
        "settings": asdict(settings),
    }
    bundle.save(folder / model.network.name / f"fold={fold}", model.network.model, card)


def _tables(table, task, classes, done, failures, notes):
    """Make the tables of `Trained`."""
    predictions, histories, costs, checks = [], [], [], []
    for name, fold, parts, result in done:
        about = {"model": name, "fold": fold}
        for role, values in result["probabilities"].items():
            rows = (
                table.loc[parts[role], ["particle", "micrograph"]]
                .reset_index(drop=True)
                .assign(**about, role=role)
            )
            rows["truth"] = table.loc[parts[role], task].to_numpy()
            rows["predicted"] = np.asarray(classes)[result["calls"][role]]
            predictions.append(rows.assign(**{f"p_{c}": values[:, k] for k, c in enumerate(classes)}))
        labelled = len(parts["train"]) + len(parts["validation"])
        costs.append(about | result["costs"] | {"labelled": labelled})
        if "history" in result:
            histories.append(result["history"].assign(**about))
            checks.append(about | result["check"])
    columns = ["epoch", "loss", "validation_loss", "validation_accuracy", "model", "fold"]
    return Trained(
        pd.concat(predictions, ignore_index=True),
        pd.concat(histories, ignore_index=True) if histories else pd.DataFrame(columns=columns, dtype=float),
        pd.DataFrame(costs),
        pd.DataFrame(checks, columns=["model", "fold", "plain", "resampled", "final", "rarest"]),
        failures,
        notes,
    )


# Beyond this difference of balanced accuracy two ways to show validation particles are different things to a network.
TOLERATED = 0.05
# Curves of fewer epochs cannot be judged.
FEWEST_EPOCHS = 5
# With fewer validation particles of the rarest class than this such a difference is chance.
FEWEST = 20


def misfits(trained):
    """Say in words where training did not go well.

    Parameters
    ----------
    trained : Trained

    Returns
    -------
    list of str
        Failed models, interruptions, folds that learnt nothing, over-fitting, under-training, too few epochs, networks
        to which plain and resampled particles are different things, and those that had better not follow micrographs; empty
        where all is well.
    """
    found = [f"Failed: {reason}" for reason in trained.failures.values()] + list(trained.notes)
    chance = 1 / trained.predictions["truth"].nunique()
    for name, history in trained.history.groupby("model", sort=False):
        found += _bad_folds(name, history, chance) + _curves(name, history)
    for name, check in trained.checks.groupby("model", sort=False):
        if check["rarest"].sum() < FEWEST:
            continue
        plain, resampled = check["plain"].mean(), check["resampled"].mean()
        if resampled - plain > TOLERATED:
            found.append(
                f"{name}: validation particles score {plain:.2f} as they are but {resampled:.2f} when resampled as in "
                "training, so the network learnt the noise that resampling leaves; its scores are too low."
            )
        elif plain - resampled > TOLERATED:
            found.append(
                f"{name}: validation particles score {resampled:.2f} when augmented as in training but {plain:.2f} as they "
                "are, so the augmentation may be stronger than these particles bear."
            )
        if plain - check["final"].mean() > TOLERATED:
            found.append(
                f"{name}: validation particles score {check['final'].mean():.2f} when the network follows their micrographs and "
                f"{plain:.2f} when it does not; set 'adaptation' to 'none'."
            )
    return found


def _bad_folds(name, history, chance):
    best = history.loc[history.groupby("fold")["validation_loss"].idxmin()].set_index("fold")
    scores = best["validation_accuracy"]
    low = scores[(scores < chance + 0.2 * (1 - chance)) | (scores < scores.median() - 0.25)]
    return [
        f"{name}: fold {fold} reached a balanced accuracy of {score:.2f} only on its validation micrographs "
        f"(chance is {chance:.2f}, the folds' median {scores.median():.2f}); look at their images and labels."
        for fold, score in low.items()
    ]


def _curves(name, history):
    """Judge the mean curves over the folds."""
    loss = history.pivot_table(index="epoch", columns="fold", values="validation_loss").dropna().mean(axis=1)
    if len(loss) < FEWEST_EPOCHS:
        return [
            f"{name}: {len(loss)} epochs are too few to judge its learning curves; raise 'epochs' before its scores decide anything."
        ]
    best, last = loss.idxmin(), loss.index[-1]
    if loss[last] > max(1.2 * loss[best], loss[best] + 0.1):
        return [
            f"{name}: over-fitting. The validation loss rose from {loss[best]:.2f} at epoch {best} to {loss[last]:.2f} at epoch "
            f"{last}; the best epoch's weights were kept. Fewer epochs or a stronger augmentation may help."
        ]
    before = loss.iloc[-max(2, len(loss) // 5) - 1]
    if best == last and loss[last] < min(0.93 * before, before - 0.05):
        return [
            f"{name}: under-training. The validation loss was still falling at the end (from {before:.2f} to "
            f"{loss[last]:.2f} in the last fifth); more epochs may help."
        ]
    return []
