"""The table at the end: attnbench and its peers side by side."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

HEADING = """\
# attnbench beside its peers

Median times of interleaved rounds on the same cores. A peer's cell is its time as a multiple of
attnbench's. Percent are of the line's ceiling, measured in the same rounds, useful work only: the
peak of fp32 fused multiply-adds, or where attnbench multiplies in bf16, that of bf16 dot products.
A decoding step is told in GB/s, every byte that must be read or written counted once; its ceiling
is the read bandwidth of memory, which caches can pass. `~` marks a median known no better than to
2 %, or from few samples; a dash, that the library has no such function, or none for such tensors.
"""

MEASURED = {"ok", "low_samples", "noisy"}


def seconds_text(seconds: float) -> str:
    for unit, factor in (("s", 1.0), ("ms", 1e3), ("us", 1e6)):
        if seconds * factor >= 1 or unit == "us":
            return f"{seconds * factor:.3g} {unit}"
    raise AssertionError


def ratio_table(rows: Iterable[Mapping[str, Any]], peers: list[str]) -> str:
    """A Markdown table with a line for each work and thread count.

    `rows` are those of results.csv, each with `work`, `arithmetic` and `ceilings` beside the
    columns. Work on which attnbench has several strategies has a line for each.
    """
    rows = list(rows)
    lines = [
        "| work | threads | ceiling | attnbench | " + " | ".join(peers) + " |",
        "|---|--:|--:|--:|" + "--:|" * len(peers),
    ]
    keys = dict.fromkeys((row["work"], row["threads"]) for row in rows)
    for work, threads in keys:
        group = [row for row in rows if (row["work"], row["threads"]) == (work, threads)]
        others = {row["strategy"]: row for row in group if row["strategy"] in peers}
        own = [row for row in group if row["strategy"] not in peers]
        for ours in own:
            name = work if len(own) == 1 else f"{work}, {spec(ours)}"
            cells = [_own_cell(ours)] + [_peer_cell(others.get(peer), ours) for peer in peers]
            lines.append(f"| {name} | {threads} | {_ceiling(ours)} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n" + _failures(rows)


def spec(row: Mapping[str, Any]) -> str:
    """A strategy or peer with its parameters: `window(512)`."""
    return f"{row['strategy']}({row['params']})" if row["params"] else str(row["strategy"])


def _is_decoding(row: Mapping[str, Any]) -> bool:
    """Whether it reads for few operations."""
    return row["n_q"] != row["n_kv"]


def _ceiling(row: Mapping[str, Any]) -> str:
    ceilings = row["ceilings"]
    if _is_decoding(row):
        return f"{ceilings.read / 1e9:.1f} GB/s"
    return f"{ceilings.peaks[row['arithmetic']] / 1e9:.0f} GFLOP/s"


def _mark(row: Mapping[str, Any]) -> str:
    return "" if row["status"] == "ok" else "~"


def share_text(row: Mapping[str, Any], of: Mapping[str, Any] | None = None) -> str:
    """Percent of the ceiling of the row `of`, by default its own; of a decoding step GB/s too."""
    of = of or row
    seconds, ceilings = row["time_median_s"], of["ceilings"]
    if _is_decoding(row):
        rate = row["bytes_min"] / seconds
        return f"{rate / 1e9:.1f} GB/s, {100 * rate / ceilings.read:.1f} %"
    return f"{100 * row['flops'] / seconds / ceilings.peaks[of['arithmetic']]:.1f} %"


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
        return f"{_mark(row)}{seconds_text(row['time_median_s'])}, {share_text(row, ours)}"
    ratio = row["time_median_s"] / ours["time_median_s"]
    return f"{_mark(row)}{ratio:.2f}x, {share_text(row, ours)}"


def _failures(rows: list[Mapping[str, Any]]) -> str:
    failed = [row for row in rows if row["status"] not in MEASURED]
    if not failed:
        return ""
    return "\nNot measured:\n\n" + "".join(
        f"- {row['work']}, {row['threads']} threads, {spec(row)}: "
        f"{' '.join(str(row['reason']).split())}\n"
        for row in failed
    )
