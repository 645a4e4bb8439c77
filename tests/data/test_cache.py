import multiprocessing
import os
import subprocess
import sys

import numpy as np
import pytest

from temlib.data import cache
from temlib.files import InputError


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("TEMLIB_CACHE", str(tmp_path / "cache"))


def write(folder, value=1, size=1000):
    np.save(folder / "images.npy", np.full(size, value, np.float32))


def never(folder):
    raise AssertionError("made again")


def value(folder):
    return np.load(folder / "images.npy")


def test_an_entry_is_made_once():
    """The second call finds what the first made."""
    first = cache.get_or_make("a", write)
    assert cache.get_or_make("a", never) == first and value(first).sum() == 1000


def test_keys_differ_with_their_parts(monkeypatch):
    """Order, type, borders between parts and temlib's own source count."""
    parts = [
        ("a", "b"),
        ("b", "a"),
        ("ab",),
        (b"ab",),
        (np.arange(3),),
        (np.arange(3.0),),
        ({"a": 1},),
        (1,),
        (1.0,),
    ]
    keys = [cache.key(*part) for part in parts]
    assert len(set(keys)) == len(keys) and keys == [cache.key(*part) for part in parts]
    monkeypatch.setattr(cache.provenance, "source_hash", lambda: "other")
    assert cache.key("a", "b") != keys[0]


def cut(path):
    path.write_bytes(path.read_bytes()[:-1])


def spoil(path):
    """Change one byte and keep the time, as a disk does."""
    state = path.stat()
    data = bytearray(path.read_bytes())
    data[-5] ^= 1
    path.write_bytes(data)
    os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns))


@pytest.mark.parametrize("damage", [cut, spoil, os.remove], ids=["cut", "spoilt", "removed"])
@pytest.mark.parametrize("name", ["images.npy", cache.CHECKSUMS])
def test_a_damaged_entry_is_made_again(damage, name):
    """A file that is cut, spoilt or missing is noticed."""
    folder = cache.get_or_make("a", write)
    damage(folder / name)
    assert value(cache.get_or_make("a", write)).tolist() == [1.0] * 1000
    assert cache.get_or_make("a", never) == folder


def test_damage_of_a_large_file_is_found_by_its_time(monkeypatch):
    """Where only samples are read again, a change elsewhere still shows in the file's time."""
    monkeypatch.setattr(cache, "BLOCK", 256)
    monkeypatch.setattr(cache, "CHECKED", 512)
    folder = cache.get_or_make("a", write)
    with (folder / "images.npy").open("r+b") as file:
        file.seek(2000)
        file.write(b"x")
    os.utime(folder / "images.npy", ns=(1, 1))
    assert value(cache.get_or_make("a", write)).tolist() == [1.0] * 1000


def test_a_failure_leaves_nothing():
    """What stops half-way is no entry and no litter."""

    def fail(folder):
        write(folder)
        raise InputError("no.")

    with pytest.raises(InputError, match="no"):
        cache.get_or_make("a", fail)
    assert list(cache.folder().iterdir()) == []


def test_the_oldest_entries_go(monkeypatch):
    """The bound holds; what was used last stays, whatever was made last."""
    monkeypatch.setattr(cache, "LARGEST", 13500)
    for k, name in enumerate("abc"):
        os.utime(cache.get_or_make(name, write, size=4128), (k, k))
    assert cache.get_or_make("a", never)
    cache.get_or_make("d", write, size=4128)
    assert {path.name for path in cache.folder().iterdir()} == {"a", "c", "d"}


def test_what_was_abandoned_goes(tmp_path):
    """The rest of a killed process is removed after a day, not while it may be at work."""
    for name, age in ((".part-old", cache.ABANDONED_S + 60), (".part-new", 60)):
        (tmp_path / "cache" / name).mkdir(parents=True)
        os.utime(tmp_path / "cache" / name, (cache.time.time() - age,) * 2)
    cache.get_or_make("a", write)
    assert {path.name for path in cache.folder().iterdir()} == {".part-new", "a"}


def test_a_full_disk_and_a_closed_folder_are_refused(monkeypatch, tmp_path):
    """Both say what to change, before anything is computed."""
    with pytest.raises(InputError, match="lower 'input_size', or set TEMLIB_CACHE"):
        cache.get_or_make("a", never, size=10**15)
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("TEMLIB_CACHE", str(tmp_path / "file" / "below"))
    with pytest.raises(InputError, match="set TEMLIB_CACHE to a folder"):
        cache.get_or_make("a", never)


def race(barrier, results, alone, temporary):
    made = []
    if not alone:  # as on two machines that share a cache: each has its own folder of locks
        cache.tempfile.tempdir = str(temporary / str(os.getpid()))
        os.mkdir(cache.tempfile.tempdir)

    def make(folder):
        made.append(folder)
        if not alone:
            barrier.wait(60)  # both are at work at once
        write(folder, 7)

    barrier.wait(60)
    cache.get_or_make("a", make)
    results.put((float(value(cache.get_or_make("a", never)).sum()), len(made)))


@pytest.mark.parametrize("alone", [True, False], ids=["one machine", "two machines"])
def test_processes_that_want_the_same_both_read_it_whole(alone, tmp_path):
    """On one machine only one of them makes it; where both do, one entry remains."""
    cache.folder().mkdir()
    context = multiprocessing.get_context("fork")
    barrier, results = context.Barrier(2), context.Queue()
    workers = [context.Process(target=race, args=(barrier, results, alone, tmp_path)) for _ in range(2)]
    for worker in workers:
        worker.start()
    found = [results.get(timeout=60) for _ in workers]
    for worker in workers:
        worker.join(60)
    assert [total for total, _ in found] == [7000.0] * 2 and sum(made for _, made in found) == (
        1 if alone else 2
    )
    assert [path.name for path in cache.folder().iterdir()] == ["a"]


def test_a_killed_process_leaves_no_entry():
    """Killed while it writes, nothing is there that could be taken for whole."""
    code = (
        "import os, signal\nfrom temlib.data import cache\n"
        "def make(folder):\n    (folder / 'images.npy').write_bytes(b'half')\n    os.kill(os.getpid(), signal.SIGKILL)\n"
        "cache.get_or_make('a', make)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == -9
    assert value(cache.get_or_make("a", write)).sum() == 1000
