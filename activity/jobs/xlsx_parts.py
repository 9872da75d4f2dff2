"""The parts of an XLSX file, which is a ZIP of XML: opened only when they are small enough unpacked, read without anything from outside.

What is refused: more than UNPACKED times what an upload may have, by what the ZIP declares and by what comes out of it; a directory, a
part with what is held in memory, or a piece of XML that would fill it; a document type, with which entities and their expansion go; files
that are locked; packings other than Excel's own.
"""

from __future__ import annotations

import posixpath
import zipfile
import zlib
from collections.abc import Callable, Iterator
from typing import IO, Any, Final
from xml.parsers import expat

from django.conf import settings

from activity.jobs.errors import JobFailed
from activity.jobs.tables import TOO_DEEP

UNPACKED: Final = 5  # times settings.UPLOAD_MAX_BYTES
GLANCE: Final = 128 * 1024 * 1024  # bytes
MAX_DIRECTORY: Final = 1024 * 1024  # bytes of the ZIP's directory
MAX_TOKEN: Final = 1024 * 1024  # bytes between two pieces of XML that can be told apart
MAX_NAMES: Final = 10_000  # different names of elements and attributes, which a parser keeps
MAX_DEPTH: Final = 100
MAX_ELEMENTS: Final = 500_000  # of a part that isn't the cells' or texts' own
MAX_SMALL: Final = 16 * 1024 * 1024  # bytes of such a part
MAX_RELATED: Final = 10_000  # parts that a part names
BLOCK: Final = 64 * 1024

_PACKINGS: Final = {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}
_LOCKED: Final = 0x1

NOT_A_WORKBOOK: Final = "This isn't an Excel workbook (XLSX), though it begins like one."
TOO_MUCH: Final = "Unpacked, this Excel workbook is too large. Keep the one sheet that is needed, and send that."
DAMAGED: Final = "This Excel workbook is damaged. Open it, save it again, and send that."

Start = Callable[[str, dict[str, str]], None]


class Parts:
    """The parts of a workbook by their names. Raises JobFailed for what can't or mustn't be opened.

    `at_a_glance`: somebody waits for the first rows, so that no more than GLANCE is unpacked for them.
    """

    def __init__(self, file: IO[bytes], *, at_a_glance: bool = False) -> None:
        self._most = UNPACKED * settings.UPLOAD_MAX_BYTES
        try:
            self._file = _Bounded(file)  # as much of a file as a ZipFile asks for
            self._zip = zipfile.ZipFile(self._file)
        except (zipfile.BadZipFile, ValueError, OSError, NotImplementedError):
            raise JobFailed(NOT_A_WORKBOOK) from None
        if sum(info.file_size for info in self._zip.infolist()) > self._most:
            raise JobFailed(TOO_MUCH)
        self._sentence = TOO_MUCH
        if at_a_glance and self._most > GLANCE:
            self._most, self._sentence = GLANCE, TOO_DEEP
        self._left = self._most

    def __contains__(self, name: str) -> bool:
        return name in self._zip.NameToInfo

    def blocks(self, name: str) -> Iterator[bytes]:
        """A part, block by block. What is read counts against what may be unpacked."""
        try:
            info = self._zip.getinfo(name)
            if info.flag_bits & _LOCKED:
                raise JobFailed("This Excel workbook is locked by a password. Save it without one.")
            if info.compress_type not in _PACKINGS:
                raise JobFailed(DAMAGED)
            with self._zip.open(info) as part:
                while block := part.read(BLOCK):
                    self._left -= len(block)
                    if self._left < 0:
                        raise JobFailed(self._sentence)
                    self._file.read(
                        0
                    )  # a file that is watched says here when it is enough: few of its bytes may be many unpacked
                    yield block
        except (zipfile.BadZipFile, zlib.error, KeyError, ValueError, OSError, EOFError, NotImplementedError):
            raise JobFailed(DAMAGED) from None

    def again(self) -> None:
        """Let as much be unpacked as at first: another reading of the file begins."""
        self._left = self._most

    def elements(self, name: str) -> Iterator[tuple[str, dict[str, str]]]:
        """The elements of a small part: their names without a namespace, and attributes, likewise."""
        found: list[tuple[str, dict[str, str]]] = []
        parser = parser_of(lambda element, attributes: found.append((local(element), _local(attributes))))
        count = 0
        for _ in parsed(parser, self._small(name)):
            count += len(found)
            if count > MAX_ELEMENTS:
                raise JobFailed(DAMAGED)
            yield from found
            found.clear()

    def related(self, name: str) -> dict[str, tuple[str, str]]:
        """The parts that a part names, by the id by which it does: the end of their type, and their name.

        What lies outside of the file isn't among them.
        """
        folder, _, base = name.rpartition("/")
        path = f"{folder}/_rels/{base}.rels" if folder else f"_rels/{base}.rels"
        found: dict[str, tuple[str, str]] = {}
        for element, attributes in self.elements(path) if path in self else ():
            is_inside = element == "Relationship" and attributes.get("TargetMode") != "External"
            if is_inside and {"Id", "Type", "Target"} <= attributes.keys():
                kind = attributes["Type"].rpartition("/")[2]
                found[attributes["Id"]] = kind, _resolved(folder, attributes["Target"])
            if len(found) > MAX_RELATED:
                raise JobFailed(DAMAGED)
        return found

    def _small(self, name: str) -> Iterator[bytes]:
        size = 0
        for block in self.blocks(name):
            size += len(block)
            if size > MAX_SMALL:
                raise JobFailed(TOO_MUCH)
            yield block


def parser_of(start: Start, end: Callable[[str], None] | None = None, text: Callable[[str], None] | None = None) -> Any:
    """A parser of XML that comes from strangers. Names come with their prefix, as they are written."""
    parser = expat.ParserCreate()
    depth = 0

    def started(element: str, attributes: dict[str, str]) -> None:
        nonlocal depth
        depth += 1
        if depth > MAX_DEPTH:
            raise JobFailed(DAMAGED)
        start(element, attributes)

    def ended(element: str) -> None:
        nonlocal depth
        depth -= 1
        if end is not None:
            end(element)

    parser.StartDoctypeDeclHandler = _no_doctype
    parser.StartElementHandler = started
    parser.EndElementHandler = ended
    if text is not None:
        parser.buffer_text = True
        parser.CharacterDataHandler = text
    return parser


def parsed(parser: Any, blocks: Iterator[bytes]) -> Iterator[None]:
    """Parse block by block; one step for each, and one at the end. Raises JobFailed."""
    fed = 0
    try:
        for block in blocks:
            parser.Parse(block, False)
            fed += len(block)
            if fed - parser.CurrentByteIndex > MAX_TOKEN or len(parser.intern) > MAX_NAMES:
                raise JobFailed(DAMAGED)
            yield
        parser.Parse(b"", True)
        yield
    except (expat.ExpatError, LookupError, ValueError):  # the last two for an encoding that it doesn't know
        raise JobFailed(DAMAGED) from None


def local(name: str) -> str:
    """A name without its prefix."""
    return name.rpartition(":")[2]


def _local(attributes: dict[str, str]) -> dict[str, str]:
    return {local(name): value for name, value in attributes.items()}


def _no_doctype(*_: Any) -> None:
    raise JobFailed(
        "This Excel workbook holds a document type, which none needs. Open it, save it again, and send that."
    )


def _resolved(folder: str, target: str) -> str:
    return posixpath.normpath(target if target.startswith("/") else f"/{folder}/{target}").lstrip("/")


class _Bounded:
    """A file of which no piece is read that is larger than a ZIP's directory may be."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.seek, self.tell = file.seek, file.tell
        self._size = file.seek(0, 2)

    def seekable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        left = max(0, self._size - self._file.tell())
        wanted = left if size < 0 else min(size, left)
        if wanted > MAX_DIRECTORY:
            raise JobFailed(NOT_A_WORKBOOK)
        return self._file.read(wanted)
