"""Write the heartbeat of a job that fills a version of a collection: a later job drops only versions that no job fills
any more.

The heartbeat is in the collection's metadata under a key of its own, since the server merges the top-level keys. One
heartbeat that says "at 12:03" is enough for all tasks.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence

import grpc
from qdrant_client import grpc as messages

from spark_vector_sink.store.collection import Target
from spark_vector_sink.store.collection_versions import BEAT_SECONDS
from spark_vector_sink.store.qdrant.address import Address, open_channel

HEARTBEAT_KEY = "spark_vector_sink_heartbeat"
STATE_KEY = "spark_vector_sink_state"

MOST_SECONDS = 5.0
"""Timeout of a heartbeat request in seconds: a heartbeat is not worth a longer wait."""

log = logging.getLogger("spark_vector_sink")


class Heart:
    """Heartbeat of a task that sends points: at most one a minute, and only for an overwrite."""

    def __init__(
        self, addresses: Sequence[Address], target: Target, partition: int, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._address = addresses[partition % len(addresses)]
        self._collection = target.physical
        self._clock = clock
        self._next = clock() + BEAT_SECONDS if target.overwrites else float("inf")
        """time of the next heartbeat; the driver has written the first one"""

    def beat(self) -> None:
        """Write a heartbeat if it is time. A heartbeat that fails is not an error: the next one may succeed, and an
        hour without any is allowed."""
        if self._clock() < self._next:
            return
        self._next = self._clock() + BEAT_SECONDS
        request = messages.UpdateCollection(
            collection_name=self._collection, metadata={HEARTBEAT_KEY: messages.Value(double_value=time.time())}
        )
        address, channel = self._address, open_channel(self._address)
        try:
            messages.CollectionsStub(channel).Update(request, timeout=MOST_SECONDS, metadata=address.metadata)
        except grpc.RpcError as error:
            if error.code() in (grpc.StatusCode.PERMISSION_DENIED, grpc.StatusCode.UNAUTHENTICATED):
                # the tasks' key may only write points: the driver beats before and after them
                self._next = float("inf")
            log.debug(f"no sign of life of '{self._collection}' on {address}: {error.code().name}")
        finally:
            channel.close()
