"""Rate limiting: images per interval for each API key, or for each address where there are no keys.

Implements the generic cell rate algorithm (GCRA): one number a client, its theoretical arrival time (TAT), at which its
allowance is full again. An allowance refills evenly, and a full one may be spent at once.
"""

from __future__ import annotations

import math
import time
from collections import OrderedDict
from collections.abc import Callable
from functools import lru_cache
from ipaddress import IPv6Address, ip_address

from starlette.requests import Request

from service.errors import RateLimitError
from service.settings import Rate

# Beyond this many, the clients least recently seen are forgotten and start with a full allowance again.
MAX_CLIENTS = 65_536
# No address is longer, and no client is remembered by more.
MAX_ADDRESS_CHARS = 64
# An IPv6 subscriber is assigned a whole network of this prefix length.
IPV6_PREFIX_BITS = 64


class RateLimiter:
    """Count the images of each client against one rate; None is no limit. Belongs to one event loop."""

    def __init__(self, rate: Rate | None, now: Callable[[], float] = time.monotonic) -> None:
        self.rate, self.now = rate, now
        # Theoretical arrival time of each client, least recently seen first.
        self._arrival_times: OrderedDict[str, float] = OrderedDict()

    def check(self, client: str, images: int) -> float:
        """Return the client's theoretical arrival time after so many images; raise RateLimitError over the rate.

        A request for more images than the rate allows at once needs a full allowance, and delays the next one longer.
        """
        if self.rate is None:
            return 0.0
        now, seconds_per_image = self.now(), self.rate.seconds / self.rate.images
        arrival = max(now, self._arrival_times.get(client, now))
        wait_s = arrival + min(images, self.rate.images) * seconds_per_image - (now + self.rate.seconds)
        if wait_s > 1e-9:
            after = math.ceil(wait_s)
            limit = f"{self.rate.images} images in {self.rate.seconds} s"
            raise RateLimitError(f"over the rate limit of {limit}: try again in {after} s", after)
        return arrival + images * seconds_per_image

    def spend(self, client: str, images: int) -> None:
        """Take so many images from the client's allowance; raise as `check` does, and take nothing then."""
        arrival = self.check(client, images)
        if self.rate is not None:
            self._arrival_times[client] = arrival
            self._arrival_times.move_to_end(client)
            self._evict()

    def charge(self, client: str) -> None:
        """Take one image from the client's allowance even if none is left: for work that is done already."""
        if self.rate is not None:
            now = self.now()
            arrival = max(now, self._arrival_times.get(client, now))
            self._arrival_times[client] = arrival + self.rate.seconds / self.rate.images
            self._arrival_times.move_to_end(client)
            self._evict()

    def _evict(self) -> None:
        """Drop the clients least recently seen whose allowance is full, or while there are too many."""
        for _ in range(2):  # one more than a call can add
            client, arrival = next(iter(self._arrival_times.items()))
            if arrival <= self.now() or len(self._arrival_times) > MAX_CLIENTS:
                del self._arrival_times[client]
            if not self._arrival_times:
                return


def client_of(request: Request) -> str:
    """Return the client whose allowance a request spends: its API key, else its address."""
    if request.state.caller is not None:
        return f"key {request.state.caller}"
    # A trusted proxy may hand on any text that its client sent.
    return f"address {_network(request.client.host[:MAX_ADDRESS_CHARS] if request.client else '')}"


@lru_cache(maxsize=1024)
def _network(host: str) -> str:
    try:
        address = ip_address(host)
    except ValueError:
        return host
    if isinstance(address, IPv6Address) and address.ipv4_mapped is None:
        return str(int(address) >> (128 - IPV6_PREFIX_BITS))
    return str(address)
