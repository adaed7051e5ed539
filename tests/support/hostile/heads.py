"""What may come over a connection: requests as real clients write them, and as none should, down to the byte."""

from __future__ import annotations

import base64

from tests.support.images import NOISE

HOST = b"Host: a\r\n"
LIVE = b"GET /livez HTTP/1.1\r\n" + HOST
POST = b"POST /predict HTTP/1.1\r\n" + HOST + b"Content-Type: image/png\r\n"
SECOND = LIVE + b"\r\n"
CHUNKED = b"Transfer-Encoding: chunked\r\n\r\n"
SETTINGS = base64.urlsafe_b64encode(bytes((0, 3, 0, 0, 0, 100))).rstrip(b"=")


def chunks(*parts: bytes, extension: bytes = b"") -> bytes:
    """Parts of a body as chunks, without the last one."""
    return b"".join(b"%x%b\r\n%b\r\n" % (len(part), extension, part) for part in parts)


def sized(body: bytes, head: bytes = POST) -> bytes:
    """A request with a body of known length."""
    return head + b"Content-Length: %d\r\n\r\n" % len(body) + body


def upgrade(name: bytes, body: bytes = NOISE, more: bytes = b"") -> bytes:
    """A request that offers another protocol, with a body, and the next request."""
    return sized(body, POST + b"Connection: Upgrade\r\nUpgrade: " + name + b"\r\n" + more) + SECOND


def smuggled(name: bytes = b"foo") -> bytes:
    """A body that looks like another request, behind an offer of another protocol."""
    return upgrade(name, b"GET /models HTTP/1.1\r\nHost: a\r\nX-Request-ID: smuggled\r\n\r\n")


HEADS: dict[str, bytes] = {
    "get": SECOND,
    "two requests": SECOND + SECOND,
    "post": sized(NOISE) + SECOND,
    "post in chunks": POST + CHUNKED + chunks(NOISE[:10], NOISE[10:]) + b"0\r\n\r\n" + SECOND,
    "chunk extensions": POST + CHUNKED + chunks(NOISE, extension=b';a="b;c"') + b"0\r\n\r\n" + SECOND,
    "trailers": POST + CHUNKED + chunks(NOISE) + b"0\r\nX-Sum: 1\r\n\r\n" + SECOND,
    "many trailers": LIVE + CHUNKED + b"0\r\n" + b"a: b\r\n" * 2000 + b"\r\n" + SECOND,
    "many chunks": POST + CHUNKED + chunks(*[b"a"] * 2000) + b"0\r\n\r\n" + SECOND,
    "long chunk extension": POST + CHUNKED + chunks(NOISE, extension=b";" + b"x" * 10_000) + b"0\r\n\r\n",
    "get with a body": sized(b"abc", LIVE) + SECOND,
    "unknown path with a body": sized(NOISE, b"POST /nowhere HTTP/1.1\r\n" + HOST) + SECOND,
    "head": b"HEAD /livez HTTP/1.1\r\n" + HOST + b"\r\n" + SECOND,
    "options": b"OPTIONS * HTTP/1.1\r\n" + HOST + b"\r\n" + SECOND,
    "connect": b"CONNECT a:443 HTTP/1.1\r\n" + HOST + b"\r\n" + SECOND,
    "trace": b"TRACE / HTTP/1.1\r\n" + HOST + b"\r\n",
    "unknown method": b"BREW /livez HTTP/1.1\r\n" + HOST + b"\r\n",
    "absolute target": b"GET http://a/livez HTTP/1.1\r\n" + HOST + b"\r\n",
    "expect": sized(NOISE, POST + b"Expect: 100-continue\r\n") + SECOND,
    "upgrade to h2c": upgrade(b"h2c", more=b"HTTP2-Settings: " + SETTINGS + b"\r\n"),
    "upgrade to websocket": upgrade(b"websocket", more=b"Sec-WebSocket-Key: " + b"A" * 22 + b"==\r\n"),
    "upgrade to anything": smuggled(),
    "upgrade without a body": LIVE + b"Connection: Upgrade\r\nUpgrade: foo\r\n\r\n" + SECOND,
    "upgrade without a name": sized(NOISE, POST + b"Connection: Upgrade\r\n") + SECOND,
    "upgrade in chunks": POST
    + b"Connection: Upgrade\r\nUpgrade: h2c\r\n"
    + CHUNKED
    + chunks(NOISE)
    + b"0\r\n\r\n"
    + SECOND,
    "close": LIVE + b"Connection: close\r\n\r\n" + SECOND,
    "keep-alive in 1.0": b"GET /livez HTTP/1.0\r\nConnection: keep-alive\r\n\r\n" + SECOND,
    "1.0": b"GET /livez HTTP/1.0\r\n\r\n" + SECOND,
    "0.9": b"GET /livez\r\n\r\n",
    "preface of HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(9),
    "hello of TLS": b"\x16\x03\x01\x02\x00\x01" + bytes(300),
    "no host": b"GET /livez HTTP/1.1\r\n\r\n",
    "two hosts": LIVE + b"Host: b\r\n\r\n",
    "empty host": b"GET /livez HTTP/1.1\r\nHost:\r\n\r\n",
    "host with a path": b"GET /livez HTTP/1.1\r\nHost: a/b@c\r\n\r\n",
    "two lengths": POST + b"Content-Length: 3\r\nContent-Length: 4\r\n\r\nabcd" + SECOND,
    "equal lengths": POST + b"Content-Length: 3\r\nContent-Length: 3\r\n\r\nabc" + SECOND,
    "length and chunks": POST + b"Content-Length: 3\r\n" + CHUNKED + b"0\r\n\r\n" + SECOND,
    "length of letters": POST + b"Content-Length: abc\r\n\r\nabc",
    "length with a sign": POST + b"Content-Length: +3\r\n\r\nabc" + SECOND,
    "length below zero": POST + b"Content-Length: -3\r\n\r\nabc" + SECOND,
    "length beyond 64 bits": POST + b"Content-Length: 99999999999999999999\r\n\r\nabc",
    "length of a terabyte": POST + b"Content-Length: 1099511627776\r\n\r\nabc",
    "chunk beyond 64 bits": POST + CHUNKED + b"fffffffffffffffff\r\nabc",
    "chunk of a terabyte": POST + CHUNKED + b"ffffffffff\r\nabc",
    "chunk below zero": POST + CHUNKED + b"-1\r\nabc",
    "chunk without its end": POST + CHUNKED + b"3\r\nabcX\r\n0\r\n\r\n" + SECOND,
    "two codings": POST + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n" + SECOND,
    "coding of nobody": POST + b"Transfer-Encoding: nothing\r\n\r\n0\r\n\r\n" + SECOND,
    "chunked twice": POST + b"Transfer-Encoding: chunked\r\n" + CHUNKED + b"0\r\n\r\n" + SECOND,
    "coding with a space": POST + b"Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n" + SECOND,
    "coding in 1.0": b"POST /predict HTTP/1.0\r\n" + CHUNKED + b"0\r\n\r\n" + SECOND,
    "folded field": LIVE + b"X-A: b\r\n c\r\n\r\n" + SECOND,
    "space before the colon": LIVE + b"X-A : b\r\n\r\n" + SECOND,
    "field without a name": LIVE + b": b\r\n\r\n",
    "field without a colon": LIVE + b"X-A\r\n\r\n",
    "zero in a field": LIVE + b"X-A: b\0c\r\n\r\n",
    "new line in a field": LIVE + b"X-A: b\nX-B: c\r\n\r\n",
    "return in a field": LIVE + b"X-A: b\rX-B: c\r\n\r\n",
    "letters beyond ASCII": LIVE + "X-Ä: ö\r\n\r\n".encode() + SECOND,
    "lines that end in new lines": b"GET /livez HTTP/1.1\nHost: a\n\n" + SECOND,
    "empty lines before": b"\r\n\r\n\r\n" + SECOND,
    "escape in an identity": LIVE + b"X-Request-ID: \x1b[31m\r\n\r\n",
    "many fields": LIVE + b"X-A: b\r\n" * 2000 + b"\r\n",
    "129 fields": LIVE + b"X-A: b\r\n" * 128 + b"\r\n",
    "long field": LIVE + b"X-A: " + b"b" * 66_000 + b"\r\n\r\n",
    "long target": b"GET /" + b"a" * 66_000 + b" HTTP/1.1\r\n" + HOST + b"\r\n",
    "query beyond UTF-8": b"POST /predict?level=%ff%fe HTTP/1.1\r\n" + HOST + b"Content-Length: 0\r\n\r\n",
    "path beyond UTF-8": b"GET /models/%ff%00%0a HTTP/1.1\r\n" + HOST + b"\r\n" + SECOND,
    "path above": b"GET /docs/../../../../etc/passwd HTTP/1.1\r\n" + HOST + b"\r\n",
    "escaped path above": b"GET /docs/%2e%2e/%2e%2e/%2e%2e/etc/passwd HTTP/1.1\r\n" + HOST + b"\r\n",
    "target of nothing": b"GET  HTTP/1.1\r\n" + HOST + b"\r\n",
    "version of nobody": b"GET /livez HTTP/9.9\r\n" + HOST + b"\r\n",
    "half a head": LIVE[:-5],
    "half a body": sized(NOISE)[:-5],
    "half a chunk": POST + CHUNKED + b"ff\r\nabc",
    "half of trailers": POST + CHUNKED + b"0\r\nX-A: b\r\n",
    "many requests": SECOND * 200,
    "many refused requests": sized(b"", b"POST /nowhere HTTP/1.1\r\n" + HOST) * 200,
    "forwarded for": LIVE + b"X-Forwarded-For: " + b"1.1.1.1, " * 500 + b"1.1.1.1\r\nX-Forwarded-Proto: x\r\n\r\n",
    "origin": LIVE + b"Origin: null\r\nAccess-Control-Request-Method: POST\r\n\r\n",
    "ranges": b"GET /docs/ HTTP/1.1\r\n" + HOST + b"Range: bytes=" + b"0-1," * 500 + b"0-1\r\n\r\n",
    "conditions": b"GET /docs/ HTTP/1.1\r\n" + HOST + b"If-Modified-Since: \xff\r\nIf-None-Match: *\r\n\r\n",
    "languages": LIVE + b"Accept-Encoding: " + b"gzip;q=0.1," * 2000 + b"*\r\n\r\n",
    "credentials": LIVE + b"Authorization: Bearer " + b"\xff" * 200 + b"\r\nX-API-Key: \r\n\r\n",
    "trace context": LIVE
    + b"traceparent: 00-"
    + b"0" * 32
    + b"-"
    + b"0" * 16
    + b"-ff\r\ntracestate: "
    + b"a=b," * 500
    + b"\r\n\r\n",
}
