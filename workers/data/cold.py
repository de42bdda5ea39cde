"""Cold data: Parquet files, by partition, under keys of the attempt's own."""

from __future__ import annotations

from itertools import count
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import obstore
import polars as pl

from crds.names import AttemptId, cold_key
from crds.protocol import DatasetRef, DatasetWrite, WrittenFile
from workers.data.schema import conform, dataset_spec, dtypes, schema_hash
from workers.data.storage import address, polars_options
from workers.task import TaskFailed

if TYPE_CHECKING:
    from pathlib import Path

    from obstore.store import ObjectStore
    from polars.io.partition import FileProviderArgs

MAX_PARTITIONS = 10_000
MAX_ROWS_PER_FILE = 5_000_000

# What Hive, Spark, DuckDB and Polars understand for null, and the characters that they read back unescaped.
_NULL = "__HIVE_DEFAULT_PARTITION__"
_PLAIN = " -_.,~+@!()&$;"


def scan(ref: DatasetRef, root: str) -> pl.LazyFrame:
    """Return the rows of the granted files, lazily; columns younger than a file are null there."""
    schema = dtypes(dataset_spec(ref).columns)
    if not ref.files:
        return pl.LazyFrame(schema=schema)
    return pl.scan_parquet(
        [address(root, file.key) for file in ref.files],
        schema=schema,
        missing_columns="insert",
        extra_columns="ignore",
        hive_partitioning=False,
        glob=False,
        storage_options=polars_options(root),
    )


class ColdFiles:
    """Rows on their way into one cold dataset: spooled to disk, then split by partition and uploaded."""

    def __init__(self, ref: DatasetRef, attempt: str, objects: ObjectStore, spool: Path) -> None:
        self._ref = ref
        self._attempt = AttemptId(attempt)
        self._objects = objects
        self._spec = dataset_spec(ref)
        self._incoming = spool / "incoming"
        self._files = spool / "files"
        self._incoming.mkdir(parents=True)
        self._files.mkdir()
        self._rows = 0
        self._batch = count(1)

    def write(self, frame: pl.DataFrame, *, extra: bool = False) -> int:
        """Append one batch and return its rows; `extra`: columns that the dataset lacks are left out."""
        conforming = conform(frame, self._spec.columns, self._ref.name, extra=extra)
        if conforming.height:
            conforming.write_parquet(self._incoming / f"{next(self._batch):06d}.parquet", compression="lz4")
        self._rows += conforming.height
        return conforming.height

    def finish(self) -> DatasetWrite:
        """Upload the files and return what the manifest is to record."""
        written = self._upload(self._split()) if self._rows else []
        return DatasetWrite(
            dataset=self._ref.name,
            uid=self._ref.uid,
            mode=self._ref.mode or "",
            rows=self._rows,
            files=written,
            schema_hash=schema_hash(self._spec.columns),
        )

    def _split(self) -> list[tuple[str, Path]]:
        """Write at least one file for each combination of partition values; return (partition, file)."""
        keys = self._spec.partition_by
        rows = pl.scan_parquet(self._incoming / "*.parquet", hive_partitioning=False)
        combinations = self._combinations(rows) if keys else [()]
        # By the values and not by the folder: null and empty text share one.
        names = {repr(values): f"{number:05d}" for number, values in enumerate(combinations)}

        def place(args: FileProviderArgs) -> str:
            values = args.partition_keys.row(0) if keys else ()
            return f"{names[repr(values)]}-{args.index_in_partition:05d}.parquet"

        rows.sink_parquet(
            pl.PartitionBy(
                self._files,
                key=list(keys) or None,
                include_key=True if keys else None,
                max_rows_per_file=MAX_ROWS_PER_FILE,
                file_path_provider=place,
            ),
            compression="zstd",
            engine="streaming",
        )
        return [
            (_folder(keys, values), path)
            for values in combinations
            for path in sorted(self._files.glob(f"{names[repr(values)]}-*.parquet"))
        ]

    def _combinations(self, rows: pl.LazyFrame) -> list[tuple[Any, ...]]:
        keys = self._spec.partition_by
        values = rows.select(keys).unique().head(MAX_PARTITIONS + 1).collect(engine="streaming")
        if values.height > MAX_PARTITIONS:
            raise TaskFailed(
                "TooManyPartitions",
                f"rows for dataset {self._ref.name} fall into more than {MAX_PARTITIONS} partitions of "
                f"({', '.join(keys)}); partition by a coarser column",
            )
        return values.sort(keys).rows()

    def _upload(self, files: list[tuple[str, Path]]) -> list[WrittenFile]:
        written: list[WrittenFile] = []
        for number, (partition, path) in enumerate(files):
            key = cold_key(self._ref.name, self._ref.namespace, partition, self._attempt, number)
            obstore.put(self._objects, key, path)
            rows = pl.scan_parquet(path).select(pl.len()).collect().item()
            written.append(WrittenFile(key=key, partition=partition, rows=rows, bytes=path.stat().st_size))
            path.unlink()
        return written


def _folder(keys: tuple[str, ...], values: tuple[Any, ...]) -> str:
    return "/".join(f"{key}={_escape(value)}" for key, value in zip(keys, values, strict=True))


def _escape(value: Any) -> str:
    if value is None or value == "":
        return _NULL
    if isinstance(value, bool):
        return str(value).lower()
    return quote(str(value), safe=_PLAIN)
