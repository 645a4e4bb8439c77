"""Parts prepared by processes of their own, since decoding small images keeps Python's lock busy.

A worker is this module run by the same interpreter: it reads a part as one line of JSON and answers with one. So nothing is
pickled, and the user's script is not run a second time.
"""

import json
import os
import queue
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pandas as pd

from temlib.data import micrographs, prepare
from temlib.data.crops import Found
from temlib.files import InputError


@contextmanager
def workers(count):
    """Yield a function that does `stacks.prepare_part` in one of `count` processes; for as many threads."""
    places = [str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH", "")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, places)), "OMP_NUM_THREADS": "1"}
    command, pipe = [sys.executable, "-m", "temlib.data._worker"], subprocess.PIPE
    started = [
        subprocess.Popen(command, stdin=pipe, stdout=pipe, env=environment, encoding="utf-8")
        for _ in range(count)
    ]
    free = queue.SimpleQueue()
    for one in started:
        free.put(one)

    def work(part, path, pixel_nm, sizes):
        worker = free.get()
        try:
            worker.stdin.write(json.dumps([_packed(part), str(path), pixel_nm, sizes.tolist()]) + "\n")
            worker.stdin.flush()
            answer = worker.stdout.readline()
        finally:
            free.put(worker)
        if not answer:
            raise InputError(
                "A process that prepared images was ended, perhaps for want of memory; lower 'input_size'."
            )
        order, result, said, error = json.loads(answer)
        if error:
            raise InputError(error)
        part.said.update(map(tuple, said))
        return order, result

    try:
        yield work
    finally:
        for one in started:
            one.kill()
            one.communicate()


def _packed(part):
    """Give a part as plain JSON values."""
    columns = {
        name: part.table[name].astype(object).where(part.table[name].notna(), None).tolist()
        for name in part.table
    }
    lines, name = part.table.index.tolist(), part.table.index.name
    return [columns, lines, name, str(part.path), str(part.folder), part.whole, part.rows.tolist()]


def _unpacked(columns, lines, name, path, folder, whole, rows):
    table = pd.DataFrame(columns, index=pd.Index(lines, name=name)).astype({"index": "Int64"})
    numbers = [column for column in table if column not in ("particle", "image", "index")]
    table[numbers] = table[numbers].astype(float)
    return Found(table, Path(path), Path(folder), whole, [], rows=np.array(rows))


def _main():
    for line in sys.stdin:
        packed, path, pixel_nm, sizes = json.loads(line)
        part, order, result, error = _unpacked(*packed), [], {}, ""
        try:
            with micrographs.quiet():
                order, result = prepare.prepare_part(part, path, pixel_nm, np.array(sizes))
        except InputError as fault:
            error = str(fault)
        print(json.dumps([order, result, sorted(part.said), error]), flush=True)


if __name__ == "__main__":
    _main()
