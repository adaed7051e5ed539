"""How many images a client may ask about in a time: a limit for each key, or each address where there are no keys.

A client's allowance is one number, the time at which it is whole again (the generic cell rate algorithm): it fills
evenly, and whoever has not asked for a while may spend all of it at once.
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

# Clients that are remembered; of more, those that asked longest ago start with a whole allowance again.
MOST_CLIENTS = 65_536
# One subscriber has a whole IPv6 network of this length.
SUBSCRIBER_BITS = 64


class RateLimiter:
    """Counts the images of each client against one rate; None is no limit. Belongs to one event loop."""

    def __init__(self, rate: Rate | None, now: Callable[[], float] = time.monotonic) -> None:
        self.rate, self.now = rate, now
        # When each client's allowance is whole again, those first that asked longest ago.
        self._whole: OrderedDict[str, float] = OrderedDict()

    def check(self, client: str, images: int) -> float:
        """When the client's allowance would be whole after so many images; raise RateLimitError over the rate.

        Who asks for more images than the rate has at once needs a whole allowance, and waits the longer after.
        """
        if self.rate is None:
            return 0.0
        now, each = self.now(), self.rate.seconds / self.rate.images
        whole = max(now, self._whole.get(client, now))
        wait = whole + min(images, self.rate.images) * each - (now + self.rate.seconds)
        if wait > 1e-9:
            after = math.ceil(wait)
            limit = f"{self.rate.images} images in {self.rate.seconds} s"
            raise RateLimitError(f"over the rate limit of {limit}: try again in {after} s", after)
        return whole + images * each

    def spend(self, client: str, images: int) -> None:
        """Take so many images from the client's allowance; raise as `check` does, and take nothing then."""
        whole = self.check(client, images)
        if self.rate is not None:
            self._whole[client] = whole
            self._whole.move_to_end(client)
            self._forget()

    def _forget(self) -> None:
        """Drop who asked longest ago where the allowance is whole, or there are too many."""
        for _ in range(2):  # more than come anew at a time
            client, whole = next(iter(self._whole.items()))
            if whole <= self.now() or len(self._whole) > MOST_CLIENTS:
                del self._whole[client]
            if not self._whole:
                return


def client_of(request: Request) -> str:
    """Whose allowance a request uses: its key's, else its address's."""
    if request.state.caller is not None:
        return f"key {request.state.caller}"
    return f"address {_network(request.client.host if request.client else '')}"


@lru_cache(maxsize=1024)
def _network(host: str) -> str:
    try:
        address = ip_address(host)
    except ValueError:
        return host
    if isinstance(address, IPv6Address) and address.ipv4_mapped is None:
        return str(int(address) >> (128 - SUBSCRIBER_BITS))
    return str(address)
