"""Asks `POST /predict` through one of Python's HTTP libraries in the ways that it has, and prints answers as JSON."""

from __future__ import annotations

import asyncio
import io
import json
import sys
from base64 import b64encode, encodebytes
from pathlib import Path
from typing import Any

import aiohttp
import httpx
import requests
import urllib3

library, url, path = sys.argv[1:]
data = Path(path).read_bytes()
TEXT = b64encode(data).decode()
QUERY = {"samples": "4"}
IMAGE = {"Content-Type": "image/png"}
# As text, since each library encodes it in its own way.
NAMES = ["a.png", 'a"b.png', "фото.png", "a;b.png", "a\\b.png", ""]
said: dict[str, tuple[int, Any]] = {}


def chunks() -> Any:
    """Yield the picture in two chunks, whose total length is not announced."""
    yield data[:20]
    yield data[20:]


def with_requests() -> None:
    """Forms, raw bodies and JSON through `requests`."""

    def ask(name: str, **options: Any) -> None:
        response = requests.post(f"{url}/predict", params=QUERY, timeout=60, **options)
        said[name] = (response.status_code, response.json())

    for name in NAMES:
        ask(f"file named {name}", files={"images": (name or "images", data)})
    ask("file of a type", files={"images": ("a.png", data, "image/png", {"X-Part": "1"})})
    ask("open file", files={"images": io.BytesIO(data)})
    ask("raw", data=data, headers=IMAGE)
    ask("chunked", data=chunks(), headers=IMAGE)
    ask("JSON", json={"images": [TEXT]})
    ask("JSON wrapped", json={"images": [encodebytes(data).decode()]})
    ask("JSON data URL", json={"images": [f"data:image/png;base64,{TEXT}"]})
    ask("session", data=data, headers=IMAGE | {"Connection": "close"})
    ask("refused: field", files={"images": ("a.png", data)}, data={"samples": "16"})


def with_urllib3() -> None:
    """The same through `urllib3`, which `requests` and cloud SDKs stand on."""
    pool = urllib3.PoolManager()

    def ask(name: str, **options: Any) -> None:
        response = pool.request("POST", f"{url}/predict?samples=4", **options)
        said[name] = (response.status, json.loads(response.data))

    for name in NAMES:
        ask(f"file named {name}", fields={"images": (name or "images", data)})
    ask("file of a type", fields={"images": ("a.png", data, "image/png")})
    ask("no file name", fields={"images": data})
    ask("raw", body=data, headers=IMAGE)
    ask("chunked", body=io.BytesIO(data), headers=IMAGE, chunked=True)
    ask("JSON", json={"images": [TEXT]})
    ask("refused: field", fields={"images": ("a.png", data), "samples": "16"})


def with_httpx() -> None:
    """The same through `httpx`, blocking and not."""

    def ask(name: str, **options: Any) -> None:
        response = httpx.post(f"{url}/predict", params=QUERY, timeout=60, **options)
        said[name] = (response.status_code, response.json())

    for name in NAMES:
        ask(f"file named {name}", files={"images": (name or "images", data)})
    ask("no file name", files={"images": (None, data, "image/png")})
    ask("raw", content=data, headers=IMAGE)
    ask("chunked", content=chunks(), headers=IMAGE)
    ask("JSON", json={"images": [TEXT]})
    ask("expecting", content=data, headers=IMAGE | {"Expect": "100-continue"})
    ask("refused: field", files={"images": ("a.png", data)}, data={"samples": "16"})

    async def alone() -> None:
        async with httpx.AsyncClient() as client:
            response = await client.post(f"{url}/predict", params=QUERY, files={"images": data}, timeout=60)
            said["asynchronous"] = (response.status_code, response.json())

    asyncio.run(alone())


async def with_aiohttp() -> None:
    """The same through `aiohttp`, which also compresses, and writes forms by itself."""
    async with aiohttp.ClientSession() as session:

        async def ask(name: str, **options: Any) -> None:
            async with session.post(f"{url}/predict", params=QUERY, **options) as response:
                said[name] = (response.status, await response.json(content_type=None))

        for name in NAMES:
            form = aiohttp.FormData()
            form.add_field("images", data, filename=name or None, content_type="image/png")
            await ask(f"file named {name}", data=form)
        form = aiohttp.FormData(quote_fields=False)
        form.add_field("images", data, filename="фото.png")
        await ask("unquoted", data=form)
        await ask("open file", data={"images": io.BytesIO(data)})
        with aiohttp.MultipartWriter("form-data") as writer:
            writer.append(data).set_content_disposition("form-data", name="images", filename="фото.png")
        await ask("multipart writer", data=writer)
        for encoding in ("gzip", "deflate"):
            await ask(encoding, data=data, headers=IMAGE, compress=encoding)
        await ask("expecting", data=data, headers=IMAGE, expect100=True)
        await ask("JSON", json={"images": [TEXT]})
        form = aiohttp.FormData({"samples": "16"})
        form.add_field("images", data, filename="a.png")
        await ask("refused: field", data=form)


if library == "aiohttp":
    asyncio.run(with_aiohttp())
else:
    {"requests": with_requests, "urllib3": with_urllib3, "httpx": with_httpx}[library]()
print(json.dumps(said))
