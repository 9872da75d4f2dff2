"""NDJSON is read line by line, and every line has its number."""

from __future__ import annotations

import codecs
import io
import tracemalloc
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from activity.jobs.errors import JobFailed, UploadRefused
from activity.jobs.ndjson_files import LATE_KEY, NO_OBJECT, SAMPLE, TOO_DEEP, NdjsonTable
from activity.jobs.tables import MAX_COLUMNS, MAX_LINE, Layout, Row


def table(content: bytes, encoding: str = "utf-8") -> NdjsonTable:
    return NdjsonTable(io.BytesIO(content), Layout("ndjson", encoding))


def read(content: bytes, encoding: str = "utf-8") -> list[Row]:
    return list(table(content, encoding).rows())


def test_the_keys_are_the_columns_in_their_order() -> None:
    content = b'{"email":"a@b.example"}\n{"role":"viewer","email":"c@d.example","name":"Cy"}\n'
    assert table(content).header == ("email", "role", "name")
    assert read(content) == [Row(1, ["a@b.example", "", ""]), Row(2, ["c@d.example", "viewer", "Cy"])]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (b"null", ""),
        (b'" x "', " x "),
        (b"3", "3"),
        (b"3.50", "3.5"),
        (b"true", "true"),
        (b'["a",1]', '["a",1]'),
        (b'{"b": null}', '{"b":null}'),
        (b'"\\u00eb"', "ë"),
        (b'"a\\nb"', "a\nb"),
    ],
)
def test_a_value_becomes_text(value: bytes, text: str) -> None:
    assert read(b'{"email":"a@b.example","name":' + value + b"}") == [Row(1, ["a@b.example", text])]


def test_empty_lines_and_empty_objects_are_left_out_and_numbered() -> None:
    content = b'{"email":"a@b.example"}\r\n\r\n{}\n{"email":" "}\n  \n{"email":"c@d.example"}'
    assert [row.number for row in read(content)] == [1, 6]


@pytest.mark.parametrize("line", [b"[1]", b'"text"', b"{", b"nonsense", b'{"email":"\\ud800"}', b"1", b'{"a":NaN}'])
def test_a_line_that_is_no_object_is_a_row_at_fault_and_the_others_are_read(line: bytes) -> None:
    content = b'{"email":"a@b.example"}\n' + line + b'\n{"email":"c@d.example"}\n'
    assert read(content) == [
        Row(1, ["a@b.example"]), Row(2, [line.decode()], NO_OBJECT), Row(3, ["c@d.example"]),
    ]  # fmt: skip


def test_a_key_that_comes_late_is_a_row_at_fault_unless_it_is_empty() -> None:
    lines = [b'{"email":"a@b.example"}'] * SAMPLE
    lines += [b'{"email":"c@d.example","role":"viewer"}', b'{"email":"e@f.example","role":""}']
    found = read(b"\n".join(lines))
    assert found[SAMPLE] == Row(SAMPLE + 1, ["role"], LATE_KEY)
    assert found[SAMPLE + 1] == Row(SAMPLE + 2, ["e@f.example"])


def test_a_key_that_comes_just_in_time_is_a_column() -> None:
    """The control of the test above."""
    lines = [b'{"email":"a@b.example"}'] * (SAMPLE - 1) + [b'{"email":"c@d.example","role":"viewer"}']
    assert read(b"\n".join(lines))[-1] == Row(SAMPLE, ["c@d.example", "viewer"])


@pytest.mark.parametrize(
    ("mark", "written", "encoding"),
    [(codecs.BOM_UTF8, "utf-8", "utf-8-sig"), (codecs.BOM_UTF16_LE, "utf-16-le", "utf-16")],
)
def test_a_mark_at_its_beginning_is_none_of_it(mark: bytes, written: str, encoding: str) -> None:
    assert read(mark + '{"email":"zoë@b.example"}\n'.encode(written), encoding) == [Row(1, ["zoë@b.example"])]


def test_bytes_of_another_encoding_fail() -> None:
    bad = b'{"email":"z\xeb@b.example"}\n'
    with pytest.raises(UploadRefused, match="isn't utf-8 text"):
        _ = table(bad).header
    with pytest.raises(JobFailed, match=r"Behind line \d+ there are bytes that aren't utf-8"):
        read(b'{"email":"a@b.example"}\n' * (SAMPLE * 3) + bad)


def test_more_keys_than_columns_are_taken_are_refused() -> None:
    with pytest.raises(UploadRefused, match=f"more than {MAX_COLUMNS} columns"):
        _ = table(orjson.dumps({f"k{number}": 1 for number in range(MAX_COLUMNS + 1)})).header


def test_keys_that_would_fill_memory_are_not_gathered() -> None:
    lines = (orjson.dumps({f"{line}-{key}": 1 for key in range(MAX_COLUMNS)}) + b"\n" for line in range(400))
    found = table(b"".join(lines))
    tracemalloc.start()
    try:
        with pytest.raises(UploadRefused, match=f"more than {MAX_COLUMNS} columns"):
            _ = found.header
        assert tracemalloc.get_traced_memory()[1] < 2**20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("depth", [255, 1_000])
def test_a_value_too_deep_to_be_written_is_a_row_at_fault(depth: int) -> None:
    deep = b'{"email":"a@b.example","x":' + b"[" * depth + b"]" * depth + b"}\n"
    assert read(b'{"email":"c@d.example","x":[[]]}\n' + deep) == [
        Row(1, ["c@d.example", "[[]]"]), Row(2, [], TOO_DEEP),
    ]  # fmt: skip


def test_a_line_that_would_fill_memory_fails() -> None:
    """In UTF-16 a letter may hold the byte of a line's end, so that whoever looks at bytes sees short lines."""
    with pytest.raises(JobFailed, match="a line of more than"):
        read(codecs.BOM_UTF16_LE + ('{"email":"' + "\u0a05" * (MAX_LINE + 1)).encode("utf-16-le"), "utf-16")


keys = st.sampled_from(["email", "name", "a b", "ü"])
values = st.one_of(
    st.none(), st.booleans(), st.integers(-(2**53), 2**53), st.text(st.characters(codec="utf-8"), max_size=9)
)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.dictionaries(keys, values), max_size=8))
def test_what_was_written_as_ndjson_is_read_back(objects: list[dict[str, Any]]) -> None:
    content = b"".join(orjson.dumps(one) + b"\n" for one in objects)
    found = table(content)
    by_number = {row.number: dict(zip(found.header, row.cells, strict=True)) for row in found.rows()}
    for number, one in enumerate(objects, start=1):
        texts = {
            key: value if isinstance(value, str) else "" if value is None else orjson.dumps(value).decode()
            for key, value in one.items()
        }
        if any(text.strip() for text in texts.values()):
            assert {key: text for key, text in by_number[number].items() if text} == {
                key: text for key, text in texts.items() if text
            }
        else:
            assert number not in by_number
