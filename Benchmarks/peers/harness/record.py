"""results.csv, samples.csv and meta.json as `attnbench sweep` writes them."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TextIO

RESULT_COLUMNS = [
    "schema_version",
    "run_id",
    "cell_id",
    "strategy",
    "params",
    "class",
    "batch",
    "heads",
    "kv_heads",
    "n_q",
    "n_kv",
    "head_dim",
    "value_dim",
    "dtype",
    "causal",
    "threads",
    "bind",
    "status",
    "reason",
    "samples",
    "time_median_s",
    "time_min_s",
    "time_p25_s",
    "time_p75_s",
    "time_ci95_lo_s",
    "time_ci95_hi_s",
    "cpu_time_s",
    "pairs",
    "flops",
    "gflop_per_s",
    "pct_of_peak",
    "bytes_min",
    "workspace_bytes",
    "peak_rss_delta_bytes",
    "rel_l2_error",
    "max_abs_error",
    "error_rows_checked",
    "oracle_rel_l2_error",
    "steal_pct",
    "invol_ctx_switches",
    "blas_core",
    "isa",
    "n",
    "blas_pct_of_peak",
]

SAMPLE_COLUMNS = [
    "run_id",
    "cell_id",
    "sample_index",
    "round",
    "time_s",
    "cpu_time_s",
    "started_at_s",
]


def cell_text(value: Any) -> str:
    """A cell: a figure that was not taken is empty, never 0."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    return repr(value) if isinstance(value, float) else str(value)


class Record:
    """A folder of results, each row flushed as it comes."""

    def __init__(self, folder: Path):
        folder.mkdir(parents=True, exist_ok=True)
        if (folder / "results.csv").exists():
            raise FileExistsError(f"{folder} holds results already; give another OUT")
        self.folder = folder
        self.rows: list[dict[str, Any]] = []
        self.metadata: dict[str, Any] = {}
        self._results = _create(folder / "results.csv", RESULT_COLUMNS)
        self._samples = _create(folder / "samples.csv", SAMPLE_COLUMNS)

    def add(self, row: dict[str, Any], samples: list[dict[str, Any]]) -> None:
        """The samples go first, so that a row always has its samples."""
        named = self._identity() | row
        for sample in samples:
            _write(self._samples, {"run_id": named["run_id"], **sample}, SAMPLE_COLUMNS)
        _write(self._results, named, RESULT_COLUMNS)
        self.rows.append(named)

    def write_metadata(self, **changes: Any) -> None:
        self.metadata |= changes
        text = json.dumps(self.metadata, indent=2, sort_keys=True)
        (self.folder / "meta.json").write_text(text + "\n")

    def close(self) -> None:
        self._results.close()
        self._samples.close()

    def copy(self, name: str, rows: list[dict[str, Any]]) -> None:
        """A folder under curves/ with some of the rows and the same description."""
        folder = self.folder / "curves" / name
        folder.mkdir(parents=True)
        with _create(folder / "results.csv", RESULT_COLUMNS) as file:
            for row in rows:
                cells = {key: value for key, value in row.items() if key in RESULT_COLUMNS}
                _write(file, self._identity() | cells, RESULT_COLUMNS)
        shutil.copy(self.folder / "meta.json", folder)

    def _identity(self) -> dict[str, Any]:
        return {"schema_version": 1, "run_id": self.metadata["run_id"]}


def _create(path: Path, columns: list[str]) -> TextIO:
    file = path.open("w", newline="")
    csv.writer(file, lineterminator="\n").writerow(columns)
    return file


def _write(file: TextIO, row: Mapping[str, Any], columns: list[str]) -> None:
    unknown = set(row) - set(columns)
    if unknown:
        raise KeyError(f"no such column: {', '.join(sorted(unknown))}")
    cells = [cell_text(row.get(column)) for column in columns]
    csv.writer(file, lineterminator="\n").writerow(cells)
    file.flush()


def slug(spec: str) -> str:
    """`window(512, sinks: 4)` as `window_512_sinks4`, as in attnbench's own ids."""
    return spec.translate(str.maketrans({" ": "", ")": "", ":": "", "(": "_", ",": "_"}))


def now() -> str:
    """As meta.json has it."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
