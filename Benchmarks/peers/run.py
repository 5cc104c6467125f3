"""attnbench and other libraries on the same work, in turns, on the same cores.

Writes results.csv, samples.csv, meta.json and ratios.md, and under curves/ the rows of each kind of
work that has several sizes; `attnbench plot` draws such a folder.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
import tempfile
import time
from contextlib import ExitStack
from fnmatch import fnmatch
from importlib import metadata
from pathlib import Path
from typing import TextIO

import numpy as np

from harness.comparison import Comparison, Limits, Place
from harness.peer import Peer
from harness.problem import Problem
from harness.process import Implementation, ImplementationError
from harness.ratios import HEADING, ratio_table, seconds_text, share_text, spec
from harness.record import Record, now
from registry import PEERS
from workloads import QUICK, WORKLOADS

HERE = Path(__file__).resolve().parent
WORKER = HERE.parent / ".build" / "release" / "attention-worker"


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("-o", "--out", type=Path, required=True, help="folder for the results")
    parser.add_argument("--quick", action="store_true", help="small sizes, about a minute")
    parser.add_argument("--threads", default="1,2", help="thread counts (1,2)")
    parser.add_argument("--first-core", type=int, default=0, help="cores are taken from here (0)")
    parser.add_argument("--work", default="*", help="patterns of work to do, comma-separated (*)")
    parser.add_argument("--peers", default="*", help="patterns of peers, comma-separated (*)")
    parser.add_argument("--seed", type=int, default=1, help="of inputs and order (1)")
    parser.add_argument("--seconds", type=float, help="for each implementation and work (8)")
    parser.add_argument("--worker", type=Path, default=WORKER, help=argparse.SUPPRESS)
    options = parser.parse_args()
    try:
        options.threads = [int(text) for text in options.threads.split(",")]
    except ValueError:
        parser.error(f"--threads {options.threads}: whole numbers, comma-separated, are needed")
    cores = len(os.sched_getaffinity(0))
    if not all(1 <= count <= cores for count in options.threads):
        parser.error(f"--threads: this process may use {cores} CPUs; give 1 to {cores}")
    if not options.worker.exists():
        parser.error(f"{options.worker} is missing; build it with `make peers`")
    return options


def chosen(text: str, name: str) -> bool:
    return any(fnmatch(name, pattern) for pattern in text.split(","))


def installed(patterns: str) -> dict[type[Peer], str]:
    """The wanted peers whose package is there, with its version."""
    found = {}
    for peer in PEERS:
        try:
            version = metadata.version(peer.distribution)
        except metadata.PackageNotFoundError:
            continue
        if chosen(patterns, peer.name):
            found[peer] = version
    return found


def place(first_core: int, threads: int) -> Place:
    last = first_core + threads - 1
    text = f"core:{first_core}" if threads == 1 else f"core:{first_core}-{last}"
    return Place(threads, text)


def worker_places(worker: Implementation, where: Place, folder: Path) -> list[list[int]]:
    """The CPUs that each of attnbench's threads read back after it had bound itself."""
    path = folder / "one.npy"
    np.save(path, np.ones((1, 1, 1), np.float32))
    files = dict.fromkeys(("query", "key", "value"), str(path))
    facts = worker.ask(
        "prepare",
        strategy="flash",
        causal=False,
        dtype="fp32",
        threads=where.threads,
        binding=where.binding,
        **files,
    )
    return facts["cpus"]


def compare(
    options: argparse.Namespace,
    work: dict[str, Problem],
    versions: dict[type[Peer], str],
    record: Record,
    log: TextIO,
    folder: Path,
) -> None:
    began = time.monotonic()
    seconds = options.seconds or (0.4 if options.quick else 8.0)
    limits = Limits(seconds, minimum_samples=6, maximum_samples=11 if options.quick else 31)
    names = [peer.name for peer in versions]
    table_rows, ceilings = [], []

    with ExitStack() as running:

        def start(name: str, command: list[str]) -> Implementation:
            process = Implementation(name, command, log, timeout=900)
            running.callback(process.close)
            return process

        # A process a strategy. Unneeded ones are never asked, and so never started.
        needed = max(len(problem.strategies) for problem in work.values())
        workers = [start("attnbench", [str(options.worker)]) for _ in range(needed)]
        worker = workers[0]
        described = worker.ask(
            "describe",
            argv=sys.argv,
            options={
                key: value.name if isinstance(value, Path) else str(value)
                for key, value in vars(options).items()
            },
            seed=options.seed,
        )
        peers_used = {peer.name: version for peer, version in versions.items()}
        record.write_metadata(**described, peers=peers_used)
        for threads in options.threads:
            where = place(options.first_core, threads)
            places = worker_places(worker, where, folder)
            processes = {peer: start(peer.name, peer_command(peer, places)) for peer in versions}
            comparison = Comparison(
                where, workers, processes, record, limits, options.seed, folder, began
            )
            for name, problem in work.items():
                rows = []
                for row in comparison.run(name, problem):
                    rows.append(row | {"work": name})
                    print(progress(name, threads, row), file=sys.stderr, flush=True)
                table_rows += rows
                at = {"n": problem.n_kv, "threads": where.threads, "bind": where.binding}
                ceilings.append(at | rows[0]["ceilings"].as_dict())
            for process in processes.values():
                process.close()

    text = HEADING + "\n" + ratio_table(table_rows, names)
    (record.folder / "ratios.md").write_text(text)
    print(text)
    record.write_metadata(
        ceilings=ceilings, load_after=list(os.getloadavg()), ended_at=now(), completed=True
    )
    write_curves(record, table_rows)


def peer_command(peer: type[Peer], places: list[list[int]]) -> list[str]:
    return [sys.executable, str(HERE / "serve_peer.py"), peer.name, json.dumps(places)]


def write_curves(record: Record, rows: list[dict]) -> None:
    """A folder for each kind of work that has several sizes: all in one picture would be too many
    curves to read."""
    kinds: dict[str, list[dict]] = {}
    for row in rows:
        # `full-n4096-d64` as `full-d64-2-threads`.
        kind = re.sub(r"-n\d+", "", row["work"]) + f"-{row['threads']}-threads"
        kinds.setdefault(kind, []).append(row)
    for kind, alike in kinds.items():
        if len({row["n_kv"] for row in alike}) > 1:
            record.copy(kind, alike)


def progress(work: str, threads: int, row: dict) -> str:
    if row.get("time_median_s") is None:
        outcome = f"{row['status']}: {row['reason']}"
    else:
        outcome = f"{seconds_text(row['time_median_s'])}, {share_text(row)}"
    return f"{work}, {threads} threads, {spec(row)}: {outcome}"


def main() -> int:
    options = arguments()
    known = QUICK if options.quick else WORKLOADS
    work = {name: problem for name, problem in known.items() if chosen(options.work, name)}
    if not work:
        print(f"error: --work {options.work}: known are {', '.join(known)}", file=sys.stderr)
        return 64
    versions = installed(options.peers)
    if not versions:
        names = ", ".join(peer.name for peer in PEERS)
        print(f"error: --peers {options.peers}: none installed, of {names}", file=sys.stderr)
        return 64
    try:
        record = Record(options.out)
    except FileExistsError as error:
        print(f"error: {error}", file=sys.stderr)
        return 64
    log_path = options.out / "stderr.log"
    with tempfile.TemporaryDirectory() as folder, log_path.open("w") as log:
        try:
            compare(options, work, versions, record, log, Path(folder))
        except ImplementationError as error:
            print(f"error: attention-worker: {error}", file=sys.stderr)
            return 1
        except KeyboardInterrupt:
            print(f"interrupted; {len(record.rows)} rows are kept", file=sys.stderr)
            return 130
        finally:
            record.close()
    if log_path.stat().st_size == 0:
        log_path.unlink()
    return 1 if any(row["status"] == "error" for row in record.rows) else 0


if __name__ == "__main__":
    sys.exit(main())
