"""CSV is read as people make it."""

from __future__ import annotations

import codecs
import csv
import io
import tempfile
from collections.abc import Sequence
from typing import IO

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from accounts.imports.columns import COLUMNS, REQUIRED, found_columns
from activity.jobs import reading
from activity.jobs.csv_files import SEPARATORS, CsvTable, layout_of
from activity.jobs.errors import JobFailed, UploadRefused
from activity.jobs.tables import MAX_COLUMNS, MAX_LINE, Format, Layout, Row


def table(file: IO[bytes], encoding: str = "utf-8") -> CsvTable:
    return CsvTable(file, layout_of(file, encoding, known=COLUMNS, required=REQUIRED))


def layout(content: bytes, encoding: str = "utf-8") -> Layout:
    return layout_of(io.BytesIO(content), encoding, known=COLUMNS, required=REQUIRED)


def header(content: bytes, encoding: str = "utf-8") -> tuple[str, ...]:
    return table(io.BytesIO(content), encoding).header


def columns(content: bytes, encoding: str = "utf-8") -> dict[str, int]:
    return found_columns(header(content, encoding), layout(content, encoding))


def read(content: bytes, encoding: str = "utf-8") -> list[Row]:
    return list(table(io.BytesIO(content), encoding).rows())


def cells(content: bytes, encoding: str = "utf-8") -> list[list[str]]:
    return [row.cells for row in read(content, encoding)]


@pytest.mark.parametrize("separator", SEPARATORS)
def test_the_separator_is_found_out(separator: str) -> None:
    content = f"email{separator}name\na@b.example{separator}Ann\n".encode()
    assert layout(content) == Layout("csv", "utf-8", separator)
    assert header(content) == ("email", "name")
    assert cells(content) == [["a@b.example", "Ann"]]


def test_a_row_of_many_short_lines_that_would_fill_memory_fails() -> None:
    content = b"email\n" + b"".join(b'"%d\n",' % number for number in range(200_000))
    with pytest.raises(JobFailed, match="Row 2 can't be read as CSV: it has more than"):
        cells(content)
    with pytest.raises(UploadRefused, match="must name the columns"):
        columns(content[6:])


def test_first_rows_are_held_as_far_as_there_are_columns() -> None:
    found = reading.preview(io.BytesIO(b"email\na@b.example,x,y\n"), Layout("csv", "utf-8", ","), rows=10)
    assert found == (("email",), [Row(2, ["a@b.example"])])


@pytest.mark.parametrize("form", ["csv", "ndjson"])
def test_first_rows_that_take_too_long_for_somebody_who_waits(form: Format, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "GLANCE_TIME", 0.05)
    with pytest.raises(UploadRefused, match="behind too much else"):
        reading.preview(io.BytesIO(b'{"email":""}\n' + b"\n" * 2_000_000), Layout(form, "utf-8", ","), rows=10)


def test_a_line_in_utf_16_that_would_fill_memory_fails() -> None:
    """A letter may hold the byte of a line's end, so that whoever looks at bytes sees short lines."""
    content = codecs.BOM_UTF16_LE + ("email\n" + "\u0a05" * (MAX_LINE + 1)).encode("utf-16-le")
    with pytest.raises(JobFailed, match="a line of more than"):
        cells(content, "utf-16")


def test_the_separator_by_which_the_header_has_most_columns_counts() -> None:
    assert layout(b'email;"name, first";role,or so\n').separator == ";"


def test_one_column_needs_no_separator() -> None:
    assert cells(b"email\na@b.example\n") == [["a@b.example"]]


@pytest.mark.parametrize(
    ("mark", "written", "encoding"),
    [
        (codecs.BOM_UTF8, "utf-8", "utf-8-sig"),
        (codecs.BOM_UTF16_LE, "utf-16-le", "utf-16"),
        (codecs.BOM_UTF16_BE, "utf-16-be", "utf-16"),
        (b"", "cp1252", "cp1252"),
    ],
)
def test_an_encoding_is_read(mark: bytes, written: str, encoding: str) -> None:
    content = mark + "email,name\nz@b.example,Zoë “Z” Ångström\n".encode(written)
    assert columns(content, encoding) == {"email": 0, "name": 1}
    assert cells(content, encoding) == [["z@b.example", "Zoë “Z” Ångström"]]


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_lines_end_in_each_of_three_ways(end: str) -> None:
    content = end.join(["email,name", "a@b.example,Ann", "c@d.example,Cy"])
    expected = [Row(2, ["a@b.example", "Ann"]), Row(3, ["c@d.example", "Cy"])]
    assert read(content.encode()) == expected
    assert read((content + end).encode()) == expected


def test_a_quoted_cell_holds_line_ends_and_separators_and_quotes() -> None:
    content = b'email,name\na@b.example,"Ann\r\nof ""Arc"",\nLtd"\nc@d.example,Cy\n'
    assert read(content) == [Row(2, ["a@b.example", 'Ann\r\nof "Arc",\nLtd']), Row(3, ["c@d.example", "Cy"])]


@pytest.mark.parametrize("names", ["E-Mail,Full Name", " EMAIL , full_name ", "mail,FULL-NAME", "E-mail address,Name"])
def test_a_column_has_many_names(names: str) -> None:
    assert columns(f"{names}\n".encode()) == {"email": 0, "name": 1}


def test_columns_come_in_any_order_among_others() -> None:
    content = b"phone,Role,,Name,birthday,Email\n"
    assert columns(content) == {"role": 1, "name": 3, "email": 5}
    assert len(header(content)) == 6


def test_rows_may_be_shorter_or_longer_than_the_header() -> None:
    assert cells(b"email,name,role\na@b.example\nc@d.example,Cy,,extra,more\n") == [
        ["a@b.example"],
        ["c@d.example", "Cy", "", "extra", "more"],
    ]


def test_empty_lines_are_left_out_and_numbered() -> None:
    content = b'email,name\n\na@b.example,Ann\n,\n , \t\n"",""\nc@d.example,Cy\n\n\n'
    assert [row.number for row in read(content)] == [3, 7]


def test_a_file_may_hold_its_header_alone() -> None:
    assert read(b"email,name") == read(b"email,name\n") == read(b"email,name\r\n\r\n") == []


@pytest.mark.parametrize("rest", ["", "\n", "\nc@d.example,Cy\n", ",member\r\nx"])
def test_a_quote_that_is_never_closed_fails_with_its_rows_number(rest: str) -> None:
    content = f'email,name\n\na@b.example,Ann\nb@b.example,"Bob{rest}'.encode()
    with pytest.raises(JobFailed, match="Row 4 opens a quotation mark"):
        read(content)


def test_a_closed_quote_at_the_end_of_the_file_fails_nothing() -> None:
    """The control of the test above."""
    assert cells(b'email,name\nb@b.example,"Bob"') == [["b@b.example", "Bob"]]


def test_a_quote_that_swallows_more_than_a_cell_can_hold_fails_with_its_rows_number() -> None:
    content = b'email,name\na@b.example,Ann\nb@b.example,"Bob' + b"\nc@d.example,Cy" * 20_000
    with pytest.raises(JobFailed, match="Row 3 "):
        read(content)


def test_bytes_of_another_encoding_fail_with_the_row_before() -> None:
    content = b"email,name\n" + b"a@b.example,Ann\n" * 2_000 + b"z@b.example,Zo\xeb\n"
    with pytest.raises(JobFailed, match=r"Behind row \d+ there are bytes that aren't utf-8 text"):
        read(content)


def test_a_column_that_is_there_twice_is_refused() -> None:
    with pytest.raises(UploadRefused, match="The column E-Mail is there twice"):
        columns(b"email,name,E-Mail\n")


def test_unknown_columns_may_be_there_twice() -> None:
    """The control of the test above."""
    assert columns(b"email,phone,phone,,\n") == {"email": 0}


@pytest.mark.parametrize(
    ("content", "found"),
    [(b"name,role\nAnn,member\n", "name, role"), (b"\n", "nothing"), (b",,\n", "nothing"), (b"", "nothing")],
)
def test_a_header_without_an_address_is_refused_with_what_it_has(content: bytes, found: str) -> None:
    with pytest.raises(UploadRefused, match=rf"email among them\. It has: {found}\.$"):
        columns(content)


def test_the_file_is_left_open_to_be_read_again() -> None:
    file = io.BytesIO(b"email\na@b.example\n")
    found = table(file)
    assert list(found.rows()) == list(found.rows()) != []
    abandoned = found.rows()
    next(abandoned)
    del abandoned
    assert not file.closed


def test_without_an_address_the_separator_by_which_most_columns_come_counts() -> None:
    assert layout(b"full name;address, of work;role\n") == Layout("csv", "utf-8", ";")


def test_more_columns_than_are_taken_are_refused() -> None:
    assert len(header(b"email" + b",x" * (MAX_COLUMNS - 1) + b"\n")) == MAX_COLUMNS
    with pytest.raises(UploadRefused, match=f"more than {MAX_COLUMNS} columns"):
        header(b"email" + b",x" * MAX_COLUMNS + b"\n")


texts = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=12)
latin = st.text(st.characters(codec="cp1252", exclude_characters="\0"), max_size=12)
ENCODINGS = {"utf-8": texts, "utf-8-sig": texts, "utf-16": texts, "cp1252": latin}


def written(table: Sequence[Sequence[str]], encoding: str, separator: str, end: str) -> bytes:
    text = io.StringIO(newline="")
    quoting = csv.QUOTE_MINIMAL if end == "\r\n" else csv.QUOTE_ALL  # the writer quotes no line end but its own
    csv.writer(text, delimiter=separator, lineterminator=end, quoting=quoting).writerows(table)
    return text.getvalue().encode(encoding)


@settings(max_examples=300, deadline=None)
@given(
    data=st.data(),
    encoding=st.sampled_from(sorted(ENCODINGS)),
    separator=st.sampled_from(sorted(SEPARATORS)),
    end=st.sampled_from(["\n", "\r\n", "\r"]),
)
def test_what_was_written_as_csv_is_read_back(data: st.DataObject, encoding: str, separator: str, end: str) -> None:
    cells = data.draw(st.lists(st.lists(ENCODINGS[encoding], min_size=1, max_size=4), max_size=6))
    content = written([["email", "name", "role"], *cells], encoding, separator, end)
    with tempfile.TemporaryFile() as file:
        file.write(content)
        found = layout_of(file, encoding, known=COLUMNS, required=REQUIRED)
        assert found.separator == separator
        expected = [Row(number, row) for number, row in enumerate(cells, 2) if any(cell.strip() for cell in row)]
        assert list(CsvTable(file, found).rows()) == expected
