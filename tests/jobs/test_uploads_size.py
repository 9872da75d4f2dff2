"""The size of an upload is what was read of it, whatever was said of it before."""

from __future__ import annotations

from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import RequestFactory

from activity.jobs.errors import UploadRefused
from activity.jobs.uploads import receive

FILE = b"email,name\ngrace@example.com,Grace\n"


def test_a_file_that_is_larger_than_allowed_is_not_read_on(settings: Any) -> None:
    settings.UPLOAD_MAX_BYTES = len(FILE) - 1
    with pytest.raises(UploadRefused) as refused:
        receive(RequestFactory().post("/", FILE, content_type="text/csv"))
    assert refused.value.status == 413


def test_a_file_in_a_form_is_measured_too(settings: Any) -> None:
    settings.UPLOAD_MAX_BYTES = len(FILE) - 1
    with pytest.raises(UploadRefused) as refused:
        receive(RequestFactory().post("/", {"file": SimpleUploadedFile("a.csv", FILE)}))
    assert refused.value.status == 413


def test_one_of_just_the_size_is_taken_and_read_once(settings: Any) -> None:
    """The control of both."""
    settings.UPLOAD_MAX_BYTES = len(FILE)
    request = RequestFactory().post("/", FILE, content_type="text/csv")
    upload = receive(request)
    with upload.file:
        assert (upload.size, upload.file.read(), upload.encoding) == (len(FILE), FILE, "utf-8")
        assert receive(request) is upload
