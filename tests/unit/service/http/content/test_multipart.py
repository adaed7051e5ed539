"""The entries of a form, in whatever shape clients send it."""

from __future__ import annotations

from base64 import b64encode, encodebytes

import pytest
from fastapi.testclient import TestClient

from service.errors import MalformedError
from service.http.content.multipart import read_form
from tests.support.http import refusal

HEAD = b'--x\r\nContent-Disposition: form-data; name="images"'
CONTENT = bytes(range(256))


def test_entries() -> None:
    """Files and fields in their order, with any bytes, of no bytes, and with what looks like a delimiter inside."""
    pictures = [b"a\r\n--y\r\nb", b"", CONTENT, b"--x", b"\r\n--xy"]
    body = b"".join(HEAD + b'; filename="a"\r\nContent-Type: image/png\r\n\r\n' + each + b"\r\n" for each in pictures)
    body += HEAD.replace(b"images", b"other") + b"\r\n\r\nvalue\r\n--x--\r\nwhat follows"
    *files, field = read_form(body, b"x")
    assert [each.content() for each in files] == pictures
    assert all(each.name == b"images" and not each.is_empty_file_field for each in files)
    assert (field.name, field.content()) == (b"other", b"value")


@pytest.mark.parametrize(
    "disposition",
    [
        b'form-data; name="images"; filename="a.png"',
        b'form-data; name="images"',
        b"form-data; name=images; filename=a.png",
        b"form-data; name=\"images\"; filename*=utf-8''%D1%84.png",
        b'form-data; name="images"; filename="a.png"; filename*=utf-8\'\'%D1%84.png',
        b'form-data; filename="a;b.png"; name="images"',
        b'form-data; name="images"; filename="a\\"b\\\\.png"',
        b'form-data; name="images"; filename="%22%0D%0A.png"',
        b'form-data; name="images"; filename="C:\\pictures\\a.png"',
        'form-data; name="images"; filename="фото.png"'.encode(),
        b'FORM-DATA ; NAME="images" ; FILENAME="a.png"',
    ],
)
def test_names_and_file_names_are_read_as_the_rfcs_write_them(disposition: bytes) -> None:
    """RFC 7578 with RFC 8187 and RFC 6266: quoted, escaped, extended, as tokens, in any order and case."""
    (entry,) = read_form(b"--x\r\nContent-Disposition: " + disposition + b"\r\n\r\n" + CONTENT + b"\r\n--x--\r\n", b"x")
    assert (entry.name, entry.content()) == (b"images", CONTENT)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (b"", b"\r\n"),
        (b"", b""),
        (b"\r\n", b"\r\n"),
        (b"This is a message in parts.\r\n", b"\r\nand this its end"),
        (b"--xy\r\n--", b""),
        (b"--xy\r\n", b"\r\n--x\r\nContent-Disposition: none"),
    ],
    ids=["plain", "no last line end", "empty line first", "preamble and epilogue", "odd preamble", "odd epilogue"],
)
def test_what_stands_before_and_after_the_form_is_passed_over(before: bytes, after: bytes) -> None:
    body = before.removesuffix(b"--") + HEAD + b"; filename=a\r\n\r\n" + CONTENT + b"\r\n--x--" + after
    assert [each.content() for each in read_form(body, b"x")] == [CONTENT]


@pytest.mark.parametrize("boundary", [b"-", b"x", b"a b'()+_,-./:=?", b"y" * 70], ids=["dash", "x", "signs", "70"])
def test_every_boundary_that_the_rfc_allows(boundary: bytes) -> None:
    head = b'\r\nContent-Disposition: form-data; name="images"; filename=a\r\n\r\n'
    body = b"--" + boundary + head + CONTENT + b"\r\n--" + boundary + b"--\r\n"
    assert [each.content() for each in read_form(body, boundary)] == [CONTENT]


@pytest.mark.parametrize("boundary", [b"", b"y" * 71], ids=["none", "71"])
def test_other_boundaries_are_refused(boundary: bytes) -> None:
    with pytest.raises(MalformedError, match=r"the Content-Type has (no|a) boundary"):
        read_form(b"--" + boundary + b"--", boundary)


@pytest.mark.parametrize(
    ("encoding", "content"),
    [
        (b"binary", CONTENT),
        (b"8bit", CONTENT),
        (b" BASE64 ", encodebytes(CONTENT)),
        (b"base64", encodebytes(CONTENT).replace(b"\n", b"\r\n")),
        (b"base64", b64encode(CONTENT)),
    ],
)
def test_transfer_encodings_of_entries_are_undone(encoding: bytes, content: bytes) -> None:
    head = HEAD + b"; filename=a\r\ncontent-transfer-encoding: " + encoding
    (entry,) = read_form(head + b"\r\n\r\n" + content + b"\r\n--x--", b"x")
    assert entry.content() == CONTENT


@pytest.mark.parametrize(
    ("encoding", "content", "says"),
    [
        (b"base64", b"?", "not valid base64"),
        (b"base64", b"aGk=aGk=", "not valid base64"),
        (b"quoted-printable", b"=FF", "'quoted-printable': expected base64"),
        (b"x-uuencode", b"", "'x-uuencode': expected base64"),
    ],
)
def test_other_transfer_encodings_are_refused(encoding: bytes, content: bytes, says: str) -> None:
    head = HEAD + b"; filename=a\r\nContent-Transfer-Encoding: " + encoding
    (entry,) = read_form(head + b"\r\n\r\n" + content + b"\r\n--x--", b"x")
    with pytest.raises(MalformedError, match=says):
        entry.content()


def test_a_form_may_have_no_entries() -> None:
    assert read_form(b"--x--", b"x") == []


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b"no delimiter", "is not in it"),
        (HEAD + b"\r\n\r\nnever ends", "cut short"),
        (HEAD + b"\r\n", "cut short"),
        (HEAD + b"; filename=a\r\n\r\nwhole\r\n" + HEAD + b"; filename=b\r\n\r\ncut sho", "cut short"),
        (b"--x\r\nno colon\r\n\r\na\r\n--x--\r\n", "header of an entry"),
        (HEAD.replace(b"\r\n", b"\n") + b"; filename=a\n\na\n--x--\n", "end with LF, expected CRLF"),
        (b"--x\r\nContent-Type: image/png\r\n\r\nno name\r\n--x--\r\n", "has no name"),
        (b"--x\r\nContent-Disposition: form-data; filename=a\r\n\r\nno name\r\n--x--\r\n", "has no name"),
        (b"--x\r\nContent-Disposition: form-data; name*=utf-8''a\r\n\r\nno name\r\n--x--\r\n", "has no name"),
        (HEAD + b"\r\nA: " + 10_000 * b"a" + b"\r\n\r\n\r\n--x--\r\n", "too long"),
        (HEAD + b"\r\n" + 1000 * b"A: a\r\n" + b"\r\n\r\n--x--\r\n", "header of an entry"),
    ],
)
def test_what_is_no_form(body: bytes, says: str) -> None:
    with pytest.raises(MalformedError, match=says):
        read_form(body, b"x")


def test_a_file_field_in_which_nothing_was_chosen_is_no_picture(client: TestClient, example: bytes) -> None:
    """Browsers send it all the same, with an empty name and no bytes."""
    empty = HEAD + b'; filename=""\r\nContent-Type: application/octet-stream\r\n\r\n\r\n'
    full = HEAD + b'; filename="a.png"\r\n\r\n' + example + b"\r\n"
    headers = {"content-type": "multipart/form-data; boundary=x"}
    for body in (empty + full, full + empty, full + empty.replace(b"images", b"other")):
        response = client.post("/predict", content=body + b"--x--\r\n", headers=headers)
        assert len(response.json()["predictions"]) == 1
    assert "no file" in refusal(client.post("/predict", content=empty + b"--x--\r\n", headers=headers), 400)
