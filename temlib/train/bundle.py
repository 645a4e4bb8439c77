"""The model bundle: a folder with the network (`.keras`), a JSON card, and checksums of both; nothing is unpickled."""

import hashlib
import json
from pathlib import Path

from temlib.files import InputError, replacing, write_json
from temlib.train import networks

NETWORK, CARD, SUMS = "network.keras", "card.json", "checksums.json"


def save(folder, model, card):
    """Save a keras.Model and its card, plain JSON values that say what is needed to apply it, in a folder made for it."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    with replacing(folder / NETWORK) as temporary:
        model.save(temporary)
    write_json(folder / CARD, card)
    write_json(folder / SUMS, {name: _sum(folder / name) for name in (NETWORK, CARD)})


def load(folder):
    """Return the network of a bundle, a keras.Model that is not compiled, and its card, a dict; refuse altered files."""
    folder = Path(folder)
    for name in (SUMS, NETWORK, CARD):
        if not (folder / name).is_file():
            raise InputError(f"{folder}: '{name}' of the model bundle is missing; save it again.")
    try:
        sums = json.loads((folder / SUMS).read_text(encoding="utf-8"))
    except ValueError:
        sums = {}
    for name in (NETWORK, CARD):
        if sums.get(name) != _sum(folder / name):
            raise InputError(f"{folder}: '{name}' is not what was saved (by its checksum); copy it again.")
    # Safe mode refuses layers that carry code.
    model = networks.backend().saving.load_model(folder / NETWORK, compile=False, safe_mode=True)
    return model, json.loads((folder / CARD).read_text(encoding="utf-8"))


def _sum(path):
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
