"""Writing Parquet, from rows of NDJSON, in constant memory: a group of rows at a time. Needs pyarrow, the extra `parquet`."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec
from io import BytesIO
from types import TracebackType
from typing import IO, Any, Final, Literal, Self

FieldType = Literal["text", "truth", "moment"]

GROUP: Final = 4 * 1024 * 1024  # bytes of NDJSON, which become a row group


def is_installed() -> bool:
    """Whether pyarrow is there."""
    return find_spec("pyarrow") is not None


class ParquetFile:
    """A Parquet file (zstd) that is written into `file`: a context manager, complete when its block ends well.

    `fields` are the columns with their types; moments become timestamps of microseconds in UTC. Text stays what it is: nothing runs it.
    """

    def __init__(self, file: IO[bytes], fields: Mapping[str, FieldType], *, group: int = GROUP) -> None:
        import pyarrow
        from pyarrow import json, parquet

        types: dict[FieldType, Any] = {
            "text": pyarrow.string(),
            "truth": pyarrow.bool_(),
            "moment": pyarrow.timestamp("us", "UTC"),
        }
        self._schema = pyarrow.schema([(name, types[type_]) for name, type_ in fields.items()])
        # Arrow's own allocator keeps what was freed: with it the process grew twice as much from group to group.
        self._pool = pyarrow.system_memory_pool()
        self._reader = json
        self._parsing = json.ParseOptions(explicit_schema=self._schema, unexpected_field_behavior="error")
        self._writer = parquet.ParquetWriter(file, self._schema, compression="zstd", memory_pool=self._pool)
        self._group = group
        self._lines = bytearray()

    def write(self, lines: bytes) -> None:
        """Add rows: whole lines, each an object with the fields."""
        self._lines += lines
        if len(self._lines) >= self._group:
            self._write_group()

    def _write_group(self) -> None:
        if not self._lines:
            return
        lines, self._lines = bytes(self._lines), bytearray()
        # One block, which no row straddles, in this thread: a worker's processors are its other jobs' too.
        reading = self._reader.ReadOptions(use_threads=False, block_size=len(lines) + 1)
        table = self._reader.read_json(
            BytesIO(lines), read_options=reading, parse_options=self._parsing, memory_pool=self._pool
        )
        self._writer.write_table(table.select(self._schema.names))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self._write_group()
        self._writer.close()
