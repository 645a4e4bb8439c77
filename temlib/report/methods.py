"""A run's methods in words ready to paste, its references, and a checklist, from the cards of its models and its answers.

The checklist has the items of DOME (I. Walsh et al., Nat. Methods 18 (2021) 1122-1127, doi:10.1038/s41592-021-01205-4) with
the numbers of TRIPOD+AI (G. S. Collins et al., BMJ 385 (2024) e078378, doi:10.1136/bmj-2023-078378) that ask the same.
"""

import json

from temlib.files import listed

OPEN = "For you to fill in."
VERSIONS = ("keras", "tensorflow", "scikit-learn", "numpy")
RECIPES = {
    "modern": "AdamW with a one-cycle schedule and averaged weights",
    "thesis2016": "stochastic gradient descent as in 2016",
}
BIBTEX = """@software{{temlib, title = {{temlib: which classifier to trust on particles in electron micrographs}},
  author = {{{{The temlib developers}}}}, version = {{{temlib}}}, note = {{source {source}}}}}
@software{{keras, title = {{Keras}}, author = {{Chollet, Fran{{\\c{{c}}}}ois and others}}, year = {{2015}}, url = {{https://keras.io}}}}
@inproceedings{{tensorflow, title = {{TensorFlow: a system for large-scale machine learning}}, author = {{Abadi, Mart{{\\'i}}n and others}},
  booktitle = {{12th USENIX Symposium on Operating Systems Design and Implementation}}, pages = {{265--283}}, year = {{2016}}}}
@article{{scikit-learn, title = {{Scikit-learn: machine learning in Python}}, author = {{Pedregosa, Fabian and others}},
  journal = {{Journal of Machine Learning Research}}, volume = {{12}}, pages = {{2825--2830}}, year = {{2011}}}}"""


def methods(folder, answer):
    """Return `paragraph`, `bibtex` and `checklist` (rows of item, TRIPOD+AI number, words) of one evaluation; {} without its models.

    `folder` is the one that holds `models/`, `answer` is its `answer.json`.
    """
    paths = {
        row["model"]: folder / "models" / row["model"] / "card.json" for row in answer.get("headline", [])
    }
    cards = {
        name: json.loads(path.read_text(encoding="utf-8")) for name, path in paths.items() if path.exists()
    }
    if not cards:
        return {}
    card = next(iter(cards.values()))
    return {
        "paragraph": " ".join(
            [_data(card, answer), _training(card, list(paths)), _judging(answer, card["versions"])]
        ),
        "bibtex": BIBTEX.format(**card["versions"]),
        "checklist": _checklist(card, answer, list(paths)),
    }


def _data(card, answer):
    """Return what was learnt from and how it was prepared."""
    training, shares = card["training"], answer.get("shares", [])
    source = "simulated by temlib" if card["simulated"] else f"from {training['source']}"
    counts = listed((f"{row['class']} ({row['n']:,})" for row in shares), len(shares))
    size = card["input_size"]
    how = f"Each particle's box was resized to {size} × {size} pixels"
    if card["scale"] == "physical":
        how = f"Particles were shown at {card['pixel_nm']:g} nm/pixel in windows of {size} × {size} pixels ({card['window_nm']:g} nm)"
    return (
        f"{training['particles']:,} particles of {training['micrographs']:,} micrographs, {source}, were classified by {card['task']}: "
        f"{counts}. {how} and brought to zero median and unit robust spread."
    )


def _training(card, models):
    """Return how models were trained, and on what they were tested."""
    settings, folds = card["settings"], len(card["folds"])
    networks, machines = (
        [name for name in models if name.startswith("svm") is is_svm] for is_svm in (False, True)
    )
    said = (
        f"{listed(models, len(models))} were compared in {folds}-fold cross-validation in which whole micrographs were held out: each "
        "was used for training, for validation (choice of the epoch, calibration) or for testing, never divided."
    )
    if networks:
        handled = (
            ""
            if settings["imbalance"] == "none"
            else f", imbalance met by {settings['imbalance'].replace('_', ' ')}"
        )
        said += (
            f" Networks were trained for {settings['epochs']} epochs by {RECIPES[settings['recipe']]}, in batches of {settings['batch']}, "
            f"with augmentation '{settings['augmentation']}'{handled}."
        )
        said += (
            " They were used with adaptive batch normalisation by micrograph."
            if card["adaptive_normalisation"]
            else ""
        )
    if machines:
        said += f" {listed(machines)}: an RBF kernel on image descriptors, C and gamma chosen on inner folds of whole micrographs."
    return f"{said} Random numbers began with seed {settings['seed']}."


def _judging(answer, versions):
    """Return how results were judged, and with which programs."""
    primary = next((row["model"] for row in answer["headline"] if row["primary"]), "")
    named = ", ".join(
        f"{name} {versions['packages'][name]}" for name in VERSIONS if name in versions["packages"]
    )
    return (
        f"The measure is balanced accuracy, the mean of the classes' true positive rates; {primary} was declared the primary model. Intervals "
        "(95 %) take micrographs as units; differences are paired by micrograph, and p values adjusted over all pairs of models (Holm). "
        f"Software: temlib {versions['temlib']} (source {versions['source']}), {named}, Python {versions['python']}."
    )


def _checklist(card, answer, models):
    """Return rows of the checklist: item, number in TRIPOD+AI, what this run says of it."""
    return [*_about_data(card, answer), *_about_models(card, answer, models)]


def _about_data(card, answer):
    """Return the rows of the checklist about data."""
    training = card["training"]
    counts = listed((f"{row['class']} {row['n']:,}" for row in answer.get("shares", [])), 12)
    size = f"{training['particles']:,} particles, {training['micrographs']:,} micrographs; {counts}."
    made = f"Read from {training['source']}. {OPEN}"
    if card["simulated"]:
        made = "Simulated by temlib; no sample was measured."
    agree = [light["words"] for light in answer.get("lights", []) if "agree" in light["title"]]
    splits = f"{len(card['folds'])} folds of whole micrographs; validation is apart from test."
    aside = "; ".join(note for note in training["found"] if "set aside" in note) or "Nothing."
    return [
        ("Data: provenance", "5", made),
        ("Data: labels, who gave them and how far they agree", "8", " ".join([*agree, OPEN])),
        ("Data: size, classes", "10, 13", size),
        ("Data: splits, and redundancy between them", "16", splits),
        ("Data: what was set aside", "11", aside),
        ("Data: availability", "18", OPEN),
    ]


def _about_models(card, answer, models):
    """Return the rows of the checklist about optimisation, models and evaluation."""
    primary = next((row for row in answer["headline"] if row["primary"]), answer["headline"][0])
    size, settings = card["input_size"], card["settings"].items()
    given = [f"{key} {value}" for key, value in settings if key != "unsure"]
    images = f"Images of {size} × {size} pixels, zero median, unit robust spread."
    once = "Cross-validation; each particle is predicted once, by a model that never saw its micrograph."
    measures = "Balanced accuracy (headline); TPR, TNR, PPV, NPV, F1, AUC, MCC, kappa, Brier score, log loss."
    sure = f"{primary['model']}: {primary['value']} ({primary['interval']}), 95 %, by micrograph."
    maps = "Grad-CAM and occlusion, checked against shuffled weights, under Evaluation."
    return [
        ("Optimisation: algorithms", "12", f"{listed(models, len(models))}."),
        ("Optimisation: encoding of the data", "7", images),
        ("Optimisation: parameters, regularisation", "12, 21", f"{', '.join(given)}."),
        ("Optimisation: over-fitting", "12", "Learning curves and training diagnostics, under Training."),
        ("Model: interpretability", "22", maps),
        ("Model: output", "15", "A class and probabilities; prediction sets where they are claimed."),
        ("Model: execution time", "21", "Under Evaluation, Cost."),
        ("Model: availability", "18", "In the run's folder as models/<model>, with a card and checksums."),
        ("Evaluation: method", "12", once),
        ("Evaluation: measures", "12", measures),
        ("Evaluation: comparison", "12, 23", " ".join(answer["verdict"])),
        ("Evaluation: confidence", "23", sure),
        ("Limits: to which samples this carries over", "26", OPEN),
    ]
