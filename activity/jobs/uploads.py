"""An upload: a request's body, or the part `file` of a form, kept in a temporary file, read once, in constant memory."""

from __future__ import annotations

import codecs
import contextlib
import errno
import hashlib
import re
import tempfile
import weakref
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO, Any, Final, cast

from django.conf import settings
from django.http import HttpRequest

from activity.jobs.errors import UploadRefused
from activity.jobs.ndjson_files import is_object
from activity.jobs.tables import MAX_LINE, Format

BLOCK: Final = 64 * 1024
FIRST_LINE: Final = 1024 * 1024  # bytes within which the first line is looked for
_BODY_TYPES: Final = {
    "",
    "text/csv",
    "text/plain",
    "text/tab-separated-values",
    "application/csv",
    "application/jsonl",
    "application/ndjson",
    "application/x-ndjson",
    "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    "application/zip",  # what some tools call a workbook
    "application/vnd.ms-excel",  # what a browser on Windows calls a CSV file
    "application/octet-stream",
    "application/x-www-form-urlencoded",  # what curl calls the body of --data-binary
}
_BOMS: Final = {codecs.BOM_UTF8: "utf-8-sig", codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}
# What a charset may say; anything else is as good as nothing said. UTF-16 without a mark has an order all the same.
_ENCODINGS: Final = {
    "utf-8": "utf-8",
    "utf8": "utf-8",
    "us-ascii": "utf-8",
    "ascii": "utf-8",
    "utf-16": "utf-16-le",
    "utf-16le": "utf-16-le",
    "utf-16-le": "utf-16-le",
    "utf-16be": "utf-16-be",
    "utf-16-be": "utf-16-be",
    "windows-1252": "cp1252",
    "cp1252": "cp1252",
    "iso-8859-1": "cp1252",  # as browsers read it
    "latin-1": "cp1252",
    "iso-8859-15": "iso8859-15",
    "windows-1250": "cp1250",
    "iso-8859-2": "iso8859-2",
    "windows-1251": "cp1251",
    "macintosh": "mac-roman",
    "shift-jis": "shift-jis",
    "gb18030": "gb18030",
    "gbk": "gb18030",
    "big5": "big5",
    "euc-kr": "euc-kr",
}
_WORKBOOK: Final = b"PK\x03\x04"  # a ZIP's first bytes
_ENDS: Final = re.compile(rb"[\r\n]")
_ARRAY: Final = re.compile(r"\[\s*\{")
_MAGIC: Final = {
    b"\xd0\xcf\x11\xe0": "an old or locked Excel workbook; save it as XLSX, without a password, or as CSV first",
    b"%PDF": "a PDF",
    b"\x89PNG": "a picture",
    b"\xff\xd8\xff": "a picture",
    b"GIF8": "a picture",
    b"\x1f\x8b": "a compressed file; send it unpacked",
}


@dataclass(frozen=True, slots=True, weakref_slot=True)
class Upload:
    """What was sent. `format` is told by its first bytes, whatever it is called.

    `encoding` is how its text is written, by its first bytes, else UTF-8 where all of it is, else Windows-1252.
    """

    file: IO[bytes]
    name: str
    size: int
    sha256: str
    format: Format
    encoding: str


def receive(request: HttpRequest) -> Upload:
    """The upload of a request, read once however often it is asked for. Raises UploadRefused for what can't be text."""
    known: Upload | None = getattr(request, "_upload", None)
    if known is None:
        known = cast(Any, request)._upload = _receive(request)
    return known


def _receive(request: HttpRequest) -> Upload:
    if request.content_type == "multipart/form-data":
        part = request.FILES.get("file")
        if part is None:
            raise UploadRefused("Choose a file; a form sends it in the field file.")
        charset: Any = part.charset or ""  # bytes, whatever Django's stubs say
        return _keep(
            part.chunks(BLOCK),
            name=part.name or "upload",
            charset=charset.decode("ascii", "replace") if isinstance(charset, bytes) else charset,
        )
    if request.content_type not in _BODY_TYPES:
        raise UploadRefused(
            "Send CSV, NDJSON or XLSX, as the body (Content-Type: text/csv, say) or as the field file of a form.",
            status=415,
        )
    if "chunked" in request.headers.get("Transfer-Encoding", "") and not request.headers.get("Content-Length"):
        raise UploadRefused("Say how long the file is, by Content-Length.", status=411)
    charset = (request.content_params or {}).get("charset", "") if request.content_type == "text/csv" else ""
    return _keep(_blocks(request), name="", charset=charset)


def _blocks(request: HttpRequest) -> Iterator[bytes]:
    while block := request.read(BLOCK):
        yield block


def _keep(blocks: Iterator[bytes], *, name: str, charset: str) -> Upload:
    file = tempfile.TemporaryFile()  # noqa: SIM115  it lives as long as the upload
    digest = hashlib.sha256()
    utf8: codecs.IncrementalDecoder | None = codecs.getincrementaldecoder("utf-8")()
    size, start, has_nul, since_end, longest = 0, b"", False, 0, 0
    try:
        for block in blocks:
            size += len(block)
            if size > settings.UPLOAD_MAX_BYTES:
                raise too_large()
            start = start or block[:8]
            has_nul = has_nul or b"\0" in block
            since_end, longest = _since_end(since_end, longest, block)
            utf8 = _fed(utf8, block)
            digest.update(block)
            file.write(block)
        file.flush()
    except OSError as error:
        _discard(file)
        if error.errno in {errno.ENOSPC, errno.EDQUOT}:
            raise UploadRefused("There is no room for the file right now. Try again later.", status=507) from error
        raise
    except BaseException:
        _discard(file)
        raise
    is_utf8 = _fed(utf8, b"", final=True) is not None
    encoding = _encoding(start, is_utf8=is_utf8, charset=charset)
    try:
        form = _format(file, start, encoding)
    except UploadRefused:
        _discard(file)
        raise
    name = name.replace("\0", "") or f"upload.{form}"
    upload = Upload(file, name, size, digest.hexdigest(), form, "" if form == "xlsx" else encoding)
    weakref.finalize(upload, file.close)  # it goes with the request
    _check_is_table(upload, start, has_nul=has_nul, longest=longest)
    return upload


def _discard(file: IO[bytes]) -> None:
    """Close a file that isn't wanted any more, whatever of it can't be written."""
    with contextlib.suppress(OSError):
        file.close()


def _check_is_table(upload: Upload, start: bytes, *, has_nul: bool, longest: int) -> None:
    if not upload.size:
        raise UploadRefused("The file is empty.")
    for magic, what in _MAGIC.items():
        if start.startswith(magic):
            raise UploadRefused(f"This isn't CSV, NDJSON or XLSX: it looks like {what}.")
    if has_nul and upload.format != "xlsx" and not upload.encoding.startswith("utf-16"):
        raise UploadRefused("This isn't CSV, NDJSON or XLSX: it holds bytes that no text has.")
    if longest > MAX_LINE and upload.format != "xlsx":
        raise UploadRefused(f"The file has a line of more than {MAX_LINE:,} bytes. A row has a line of its own.")


def _since_end(since_end: int, longest: int, block: bytes) -> tuple[int, int]:
    """Bytes since the last end of a line, and in the longest line but for what is shorter than a block."""
    first, last = _ENDS.search(block), max(block.rfind(b"\n"), block.rfind(b"\r"))
    if first is None:
        since_end += len(block)
        return since_end, max(longest, since_end)
    return len(block) - last - 1, max(longest, since_end + first.start())


def too_large() -> UploadRefused:
    """The refusal of what is larger than settings.UPLOAD_MAX_BYTES."""
    limit = settings.UPLOAD_MAX_BYTES // (1024 * 1024)
    return UploadRefused(f"The file is too large: at most {limit} MB are taken. Split it.", status=413)


def _fed(
    decoder: codecs.IncrementalDecoder | None, block: bytes, *, final: bool = False
) -> codecs.IncrementalDecoder | None:
    """The decoder after a block, or None once something wasn't UTF-8."""
    if decoder is not None:
        try:
            decoder.decode(block, final)
        except UnicodeDecodeError:
            return None
    return decoder


def _format(file: IO[bytes], start: bytes, encoding: str) -> Format:
    """What a file is: NDJSON where its first line that isn't empty is an object."""
    if start.startswith(_WORKBOOK):
        return "xlsx"
    file.seek(0)
    head = file.read(FIRST_LINE).decode(encoding, "replace").lstrip("\ufeff \t\r\n")
    file.seek(0)
    if _ARRAY.match(head):
        raise UploadRefused("This is JSON in one piece. Write it as NDJSON: an object a line, and nothing around them.")
    return "ndjson" if head.startswith("{") and is_object(head.partition("\n")[0]) else "csv"


def _encoding(start: bytes, *, is_utf8: bool, charset: str) -> str:
    for mark, encoding in _BOMS.items():
        if start.startswith(mark):
            return encoding
    name = _ENCODINGS.get(charset.strip("\"' ").lower().replace("_", "-"))
    if name is not None:
        return name
    return "utf-8" if is_utf8 else "cp1252"
