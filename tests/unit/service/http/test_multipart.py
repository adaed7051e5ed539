"""The entries of a form, in whatever shape clients send it."""

from __future__ import annotations

import pytest

from service.errors import MalformedError
from service.http.multipart import read_form

HEAD = b'--x\r\nContent-Disposition: form-data; name="images"'


def test_entries() -> None:
    """Files and fields in their order, with any bytes, of no bytes, and with what looks like a delimiter inside."""
    pictures = [b"a\r\n--y\r\nb", b"", bytes(range(256)), b"--x", b"\r\n--xy"]
    body = b"".join(HEAD + b'; filename=""\r\nContent-Type: image/png\r\n\r\n' + each + b"\r\n" for each in pictures)
    body += HEAD.replace(b"images", b"other") + b"\r\n\r\nvalue\r\n--x--\r\nwhat follows"
    *files, field = read_form(body, b"x")
    assert [each.content for each in files] == pictures
    assert all(each.is_file and each.name == b"images" for each in files)
    assert (field.name, field.content, field.is_file) == (b"other", b"value", False)


def test_the_last_line_may_have_no_end() -> None:
    assert [each.content for each in read_form(HEAD + b"\r\n\r\na\r\n--x--", b"x")] == [b"a"]
    assert read_form(b"--x--", b"x") == []


@pytest.mark.parametrize(
    "body",
    [
        b"no delimiter",
        HEAD + b"\r\n\r\nnever ends",
        HEAD + b"\r\n",
        HEAD + b"; filename=a\r\n\r\nwhole\r\n" + HEAD + b"; filename=b\r\n\r\ncut sho",
        b"--x\r\nno colon\r\n\r\na\r\n--x--\r\n",
        b"--x\r\nContent-Type: image/png\r\n\r\nno name\r\n--x--\r\n",
        b"--x\r\nContent-Disposition: form-data; filename=a\r\n\r\nno name\r\n--x--\r\n",
        HEAD + b"\r\nA: " + 10_000 * b"a" + b"\r\n\r\n\r\n--x--\r\n",
    ],
)
def test_what_is_no_form(body: bytes) -> None:
    with pytest.raises(MalformedError, match="not valid multipart"):
        read_form(body, b"x")
