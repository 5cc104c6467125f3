"""The table at the end: attnbench and its peers side by side."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

HEADING = """\
# attnbench beside its peers

Median times of interleaved rounds on the same cores. A peer's cell is its time as a multiple of
attnbench's, and its percent of the FMA peak measured in the same rounds, useful work only; of a
decoding step GB/s, every byte that must be read or written counted once. `~` marks a median known
no better than to 2 %, or from few samples; a dash, that the library has no such function.
"""

MEASURED = {"ok", "low_samples", "noisy"}


def seconds_text(seconds: float) -> str:
    for unit, factor in (("s", 1.0), ("ms", 1e3), ("us", 1e6)):
        if seconds * factor >= 1 or unit == "us":
            return f"{seconds * factor:.3g} {unit}"
    raise AssertionError


def ratio_table(rows: Iterable[Mapping[str, Any]], peers: list[str]) -> str:
    """A Markdown table with a line for each work and thread count.

    `rows` are those of results.csv, each with `work` and `peak` beside the columns.
    """
    rows = list(rows)
    lines = [
        "| work | threads | FMA peak | attnbench | " + " | ".join(peers) + " |",
        "|---|--:|--:|--:|" + "--:|" * len(peers),
    ]
    keys = dict.fromkeys((row["work"], row["threads"]) for row in rows)
    for work, threads in keys:
        group = {
            row["strategy"]: row for row in rows if (row["work"], row["threads"]) == (work, threads)
        }
        ours = next(row for name, row in group.items() if name not in peers)
        cells = [_own_cell(ours)] + [_peer_cell(group.get(peer), ours) for peer in peers]
        peak = f"{ours['peak'] / 1e9:.0f} GFLOP/s" if ours["peak"] else ""
        lines.append(f"| {work} | {threads} | {peak} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n" + _failures(rows)


def _mark(row: Mapping[str, Any]) -> str:
    return "" if row["status"] == "ok" else "~"


def share_text(row: Mapping[str, Any]) -> str:
    """Of the FMA peak; of a decoding step, which reads for few operations, the GB/s instead."""
    if row.get("n_q") != row.get("n_kv") and row.get("bytes_min"):
        return f"{row['bytes_min'] / row['time_median_s'] / 1e9:.1f} GB/s"
    return f"{row['pct_of_peak']:.1f} %" if row["pct_of_peak"] is not None else "? %"


def _own_cell(row: Mapping[str, Any]) -> str:
    if row["status"] not in MEASURED:
        return str(row["status"])
    return f"{_mark(row)}{seconds_text(row['time_median_s'])}, {share_text(row)}"


def _peer_cell(row: Mapping[str, Any] | None, ours: Mapping[str, Any]) -> str:
    if row is None:
        return "-"
    if row["status"] not in MEASURED:
        return str(row["status"])
    if ours["status"] not in MEASURED:
        return f"{_mark(row)}{seconds_text(row['time_median_s'])}, {share_text(row)}"
    ratio = row["time_median_s"] / ours["time_median_s"]
    return f"{_mark(row)}{ratio:.2f}x, {share_text(row)}"


def _failures(rows: list[Mapping[str, Any]]) -> str:
    failed = [row for row in rows if row["status"] not in MEASURED]
    if not failed:
        return ""
    return "\nNot measured:\n\n" + "".join(
        f"- {row['work']}, {row['threads']} threads, {row['strategy']}: "
        f"{' '.join(str(row['reason']).split())}\n"
        for row in failed
    )
