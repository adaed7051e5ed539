"""uvicorn's HTTP protocol and server still have what `service` overrides and reads of their insides.

These are no public interface of uvicorn, so that an upgrade may move them: it should fail here, where the message says
what moved, and not in a service under load. pyproject.toml caps both packages to what was tested.
"""

from __future__ import annotations

import asyncio
import inspect
import tomllib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any, cast
from unittest.mock import Mock

import httptools
import pytest
import uvicorn
from packaging.requirements import Requirement
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import ServerState

ROOT = Path(__file__).parents[2]
# Methods that ours override, with the parameters that they hand on.
OVERRIDDEN: dict[Callable[..., Any], list[str]] = {
    HttpToolsProtocol.connection_made: ["self", "transport"],
    HttpToolsProtocol.connection_lost: ["self", "exc"],
    HttpToolsProtocol.data_received: ["self", "data"],
    HttpToolsProtocol.eof_received: ["self"],
    HttpToolsProtocol.shutdown: ["self"],
    HttpToolsProtocol.on_message_begin: ["self"],
    HttpToolsProtocol.on_url: ["self", "url"],
    HttpToolsProtocol.on_body: ["self", "body"],
    HttpToolsProtocol.on_headers_complete: ["self"],
    HttpToolsProtocol.on_message_complete: ["self"],
    HttpToolsProtocol.on_response_complete: ["self"],
    HttpToolsProtocol.pause_writing: ["self"],
    HttpToolsProtocol.resume_writing: ["self"],
    HttpToolsProtocol._unset_keepalive_if_required: ["self"],
    FlowControl.__init__: ["self", "transport"],
    FlowControl.resume_reading: ["self"],
    uvicorn.Server.__init__: ["self", "config"],
    uvicorn.Server.capture_signals: ["self"],
    uvicorn.Server.handle_exit: ["self", "sig", "frame"],
    uvicorn.Server.run: ["self", "sockets"],
}
# Options of its configuration that the server process sets.
OPTIONS = (
    *("http", "ws", "log_config", "log_level", "access_log", "server_header", "timeout_keep_alive", "lifespan"),
    *("proxy_headers", "forwarded_allow_ips", "ssl_certfile", "ssl_keyfile"),
)
REQUEST = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\n"


@pytest.mark.parametrize("method", OVERRIDDEN, ids=lambda method: method.__qualname__)
def test_overridden_methods(method: Callable[..., Any]) -> None:
    """They are there and take what they took."""
    assert list(inspect.signature(method).parameters) == OVERRIDDEN[method], f"{method.__qualname__} has moved"
    assert not inspect.iscoroutinefunction(method), f"{method.__qualname__} is asynchronous now"


def test_configuration() -> None:
    """It has every option that is set, and takes a callable for `http`."""
    missing = set(OPTIONS) - inspect.signature(uvicorn.Config).parameters.keys()
    assert not missing, f"uvicorn.Config has no {', '.join(sorted(missing))} any more"
    made = Mock()
    config = uvicorn.Config(_never, http=made, ws="none", lifespan="off", log_config=None)
    config.load()
    assert config.http_protocol_class is made, "uvicorn.Config makes something else of a callable for http"


def test_server_ends_when_told() -> None:
    """`should_exit` ends it, and a signal sets it."""
    server = uvicorn.Server(uvicorn.Config(_never, log_config=None))
    assert server.should_exit is False, "uvicorn.Server.should_exit has moved"
    server.handle_exit(15, None)
    assert server.should_exit is True, "uvicorn.Server.handle_exit does not set should_exit any more"


def test_attributes_of_a_connection() -> None:
    """What is read of a protocol is there from its making on, and `cycle` once a request has come."""
    with connected() as (protocol, transport):
        for name in ("loop", "cycle", "flow", "transport", "timeout_keep_alive", "server_state", "scheme", "pipeline"):
            assert hasattr(protocol, name), f"HttpToolsProtocol.{name} has moved"
        assert protocol.cycle is None, "HttpToolsProtocol.cycle is there before any request"
        assert protocol.transport is transport, "HttpToolsProtocol.transport is not the transport"
        assert isinstance(protocol.flow, FlowControl), "HttpToolsProtocol.flow has moved"
        assert protocol.flow.read_paused is False, "FlowControl.read_paused has moved"
        assert protocol.server_state.default_headers == [], "ServerState.default_headers has moved"


def test_a_cycle_writes_to_the_transport_that_it_is_given() -> None:
    """The protocol puts its own in the place of `cycle.transport`; the answer must go there, and its end too."""
    with connected() as (protocol, transport):
        protocol.data_received(REQUEST)
        cycle = protocol.cycle
        assert isinstance(cycle, RequestResponseCycle), "HttpToolsProtocol.cycle has moved"
        assert cycle.transport is transport, "RequestResponseCycle.transport has moved"
        assert cycle.more_body is True, "RequestResponseCycle.more_body has moved"
        cycle.transport = other = Mock(**{"is_closing.return_value": False})
        cycle.keep_alive = False
        protocol.loop.run_until_complete(answer(cycle))
        assert cycle.response_complete is True, "RequestResponseCycle.response_complete has moved"
        assert other.write.called, "an answer is not written to RequestResponseCycle.transport any more"
        assert other.close.called, "an answer does not close RequestResponseCycle.transport any more"
        assert not transport.write.called, "an answer is written past RequestResponseCycle.transport"


def test_a_head_is_changed_before_its_cycle_is_made() -> None:
    """Target, fields and Expect are attributes until then; an application has a list of fields of its own."""
    with connected() as (protocol, _):
        protocol.on_message_begin()
        protocol.on_url(b"/a")
        assert protocol.url == b"/a", "HttpToolsProtocol.url has moved"
        protocol.on_header(b"Expect", b"100-continue")
        assert protocol.headers == [(b"expect", b"100-continue")], "HttpToolsProtocol.headers has moved"
        assert protocol.expect_100_continue is True, "HttpToolsProtocol.expect_100_continue has moved"
        protocol.url, protocol.expect_100_continue = b"/b", False
        protocol.on_headers_complete()
        cycle, protocol.headers = protocol.cycle, []
        protocol.on_header(b"Trailer", b"1")
        assert cycle.scope["path"] == "/b", "HttpToolsProtocol.on_headers_complete reads another target"
        assert cycle.scope["headers"] == [(b"expect", b"100-continue")], "trailers become headers"
        assert cycle.waiting_for_100_continue is False, "RequestResponseCycle.waiting_for_100_continue has moved"


def test_the_latest_pipelined_request_is_leftmost() -> None:
    """It is taken back from there if its body is not valid; reading is paused while it waits."""
    with connected() as (protocol, _):
        protocol.data_received(REQUEST + b"body" + REQUEST + b"body" + REQUEST)
        assert protocol.pipeline[0][0] is protocol.cycle, "HttpToolsProtocol.pipeline has turned"
        assert len(protocol.pipeline) == 2
        assert protocol.flow.read_paused is True, "a pipelined request does not pause reading any more"


def test_a_request_that_is_withdrawn() -> None:
    """Its application hears of a disconnect, and what it sends goes nowhere."""
    with connected() as (protocol, transport):
        protocol.data_received(REQUEST)
        cycle = protocol.cycle
        assert cycle.response_started is False, "RequestResponseCycle.response_started has moved"
        cycle.disconnected = cycle.response_complete = True
        cycle.message_event.set()
        message = protocol.loop.run_until_complete(cycle.receive())
        assert message["type"] == "http.disconnect"
        protocol.loop.run_until_complete(answer(cycle))
        assert not transport.write.called


def test_upgrades() -> None:
    """The parser ends the message at its head, says where that is, and takes another message then."""
    seen = Mock(spec=("on_message_complete", "on_body"))
    parser = httptools.HttpRequestParser(seen)
    head = b"POST / HTTP/1.1\r\nConnection: upgrade\r\nUpgrade: a\r\nContent-Length: 4\r\n\r\n"
    with pytest.raises(httptools.HttpParserUpgrade) as raised:
        parser.feed_data(head + b"body")
    assert raised.value.args == (len(head),)
    assert parser.should_upgrade() is True
    assert seen.on_message_complete.call_count == 1
    parser.feed_data(REQUEST + b"body")
    assert parser.should_upgrade() is False
    assert seen.on_body.call_args.args == (b"body",)
    assert seen.on_message_complete.call_count == 2


def test_errors_of_callbacks_stop_the_parser() -> None:
    """Whatever is raised in one becomes an error of the parser; each chunk is announced."""
    watched = Mock(spec=("on_url", "on_header", "on_headers_complete", "on_chunk_header", "on_message_begin"))
    chunks = b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n"
    httptools.HttpRequestParser(watched).feed_data(chunks)
    assert watched.on_chunk_header.call_count == 2
    for name in ("on_url", "on_headers_complete", "on_message_begin"):
        failing = Mock(spec=(name,), **{f"{name}.side_effect": ValueError})
        with pytest.raises(httptools.HttpParserError):
            httptools.HttpRequestParser(failing).feed_data(chunks)


def test_order_of_callbacks() -> None:
    """A parser calls them in this order: the time limits of a request rest on it."""
    seen: list[str] = []

    class Watched(HttpToolsProtocol):
        def on_message_begin(self) -> None:
            seen.append("message begin")
            super().on_message_begin()

        def on_headers_complete(self) -> None:
            seen.append("headers complete")
            super().on_headers_complete()

        def on_message_complete(self) -> None:
            seen.append("message complete")
            super().on_message_complete()

        def on_response_complete(self) -> None:
            seen.append("response complete")
            super().on_response_complete()

    with connected(Watched) as (protocol, _):
        protocol.data_received(REQUEST[:10])
        assert seen == ["message begin"], "httptools says later that a message begins"
        protocol.data_received(REQUEST[10:])
        assert seen == ["message begin", "headers complete"], "httptools says at another time that headers are complete"
        protocol.data_received(b"body")
        assert protocol.cycle.more_body is False, "RequestResponseCycle.more_body has moved"
        protocol.loop.run_until_complete(answer(protocol.cycle))
    assert seen == ["message begin", "headers complete", "message complete", "response complete"]


def test_parser() -> None:
    """uvicorn hands data to a parser of httptools that calls the protocol back."""
    with connected() as (protocol, _):
        assert isinstance(protocol.parser, httptools.HttpRequestParser), "HttpToolsProtocol.parser has moved"


@pytest.mark.parametrize("package", ["uvicorn", "httptools"])
def test_versions_are_capped_to_the_minor_one_that_is_tested(package: str) -> None:
    """What is installed is allowed, the next minor version is not, and every lock agrees."""
    dependencies = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    (allowed,) = (each for each in map(Requirement, dependencies) if each.name == package)
    installed = version(package)
    major, minor = map(int, installed.split(".")[:2])
    assert installed in allowed.specifier
    assert f"{major}.{minor + 1}.0" not in allowed.specifier, "raise the cap only to what these tests ran with"
    for lock in ("constraints.txt", "docker/requirements/serve.txt", "docker/requirements/train.txt"):
        lines = (ROOT / lock).read_text().splitlines()
        (locked,) = (line.split()[0].partition("==")[2] for line in lines if line.startswith(f"{package}=="))
        assert locked in allowed.specifier, lock


@contextmanager
def connected(kind: type[HttpToolsProtocol] = HttpToolsProtocol) -> Iterator[tuple[HttpToolsProtocol, Mock]]:
    """A protocol whose client is connected, over a transport that only notes what it is asked to do."""
    config = uvicorn.Config(_never, lifespan="off", log_config=None)
    config.load()
    loop = asyncio.new_event_loop()
    transport = Mock(**{"is_closing.return_value": False, "get_extra_info.return_value": None})
    protocol = kind(config, ServerState(), {}, loop)
    try:
        protocol.connection_made(transport)
        yield protocol, transport
        for task in asyncio.all_tasks(loop):
            task.cancel()
        loop.run_until_complete(asyncio.sleep(0))
    finally:
        loop.close()


async def answer(cycle: RequestResponseCycle) -> None:
    """Send an empty answer, as an application does."""
    await cycle.send(cast(Any, {"type": "http.response.start", "status": 204, "headers": []}))
    await cycle.send(cast(Any, {"type": "http.response.body", "body": b""}))


async def _never(scope: Any, receive: Any, send: Any) -> None:
    """An application that does not answer by itself."""
    await asyncio.Event().wait()
