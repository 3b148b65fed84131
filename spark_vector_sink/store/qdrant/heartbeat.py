"""Signs of life of a job that fills a version of a collection: a later job drops what nobody fills any more, and only
that.

They stand in the collection's metadata under a key of their own, since the server merges the top-level keys. One that
says "at 12:03" is enough for all tasks.
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
"""A sign of life is worth no longer wait."""

log = logging.getLogger("spark_vector_sink")


class Heart:
    """Beats while a task sends, at most once a minute, and only for an overwrite."""

    def __init__(
        self, addresses: Sequence[Address], target: Target, partition: int, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._address = addresses[partition % len(addresses)]
        self._collection = target.physical
        self._clock = clock
        self._next = clock() + BEAT_SECONDS if target.overwrites else float("inf")
        """the driver has given the first one"""

    def beat(self) -> None:
        """Give a sign of life if it is time. One that does not get through is no error: the next one may, and an hour
        without any is allowed."""
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
                self._next = float(
                    "inf"
                )  # the tasks' key may only write points: the driver beats before and after them
            log.debug(f"no sign of life of '{self._collection}' on {address}: {error.code().name}")
        finally:
            channel.close()
