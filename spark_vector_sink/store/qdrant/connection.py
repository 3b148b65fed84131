"""Connect the driver to a server: look up what a name stands for, and translate errors of the client."""

from __future__ import annotations

import ssl
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import cache
from typing import Any, TypeVar

import grpc
import httpx
from qdrant_client import QdrantClient, models
from qdrant_client.common.client_exceptions import ResourceExhaustedResponse

from spark_vector_sink.errors import CollectionError, StoreError, TransientStoreError, first_line
from spark_vector_sink.store.collection import CollectionSpec
from spark_vector_sink.store.collection_metadata import CollectionMetadata
from spark_vector_sink.store.qdrant.address import CHANNEL_OPTIONS, Address, answers, is_older, one_that_answers
from spark_vector_sink.store.qdrant.grpc_errors import store_error
from spark_vector_sink.store.qdrant.schema import config_problems, settings_of_newer_servers
from spark_vector_sink.store.retry import retrying

T = TypeVar("T")

METADATA_KEY = "spark_vector_sink"
"""Key of the sink's part of a collection's metadata."""

GUEST_KEY = f"{METADATA_KEY}_vector:"
"""Prefix of the metadata key for a vector that was added later: the server merges the top-level keys, so that jobs do
not overwrite each other's metadata."""

PATIENCE_SECONDS = 10.0
"""Seconds for which a request about a collection is retried before a job: the server answers with errors while jobs
that run at the same time create the collection."""


class Connection:
    """Connection of the driver. Uses the official client for everything that happens once in a job."""

    def __init__(self, addresses: Sequence[Address], patience_seconds: float = PATIENCE_SECONDS) -> None:
        self._addresses = addresses
        self._patience = patience_seconds
        self._connect(one_that_answers(addresses))

    def close(self) -> None:
        self._client.close()

    def _connect(self, address: Address) -> None:
        self._address = address
        options: dict[str, Any] = dict(CHANNEL_OPTIONS)
        if address.tls:
            options["root_certificates"] = address.ca
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of a key sent without TLS: `address.find` warns where it matters
            self._client = QdrantClient(
                host=address.host,
                grpc_port=address.port,
                prefer_grpc=True,
                https=address.tls,
                grpc_options=options,
                check_compatibility=False,
                api_key=address.api_key.reveal() if address.api_key else None,
                timeout=max(1, round(address.timeout_seconds)),
                verify=_authorities(),
            )

    def _info(self, name: str) -> models.CollectionInfo | None:
        """Read a collection, by its own name or an alias; None where there is none."""
        try:
            return self._asking_again(f"reading '{name}'", lambda: self._client.get_collection(name))
        except NotFoundError:
            return None
        except ValueError as error:  # a datatype, a placement in memory, … of a newer server
            raise CollectionError(
                f"the settings of '{name}' on {self._address} hold something that the installed qdrant-client does "
                f"not know ({first_line(error)}); "
                "install a newer one"
            ) from error

    def _behind(self, name: str) -> str:
        """Return the collection that an alias stands for; the name itself where it is not an alias, or where the key
        may not list aliases."""
        try:
            with self._asking("listing aliases"):
                aliases = self._client.get_aliases().aliases
        except DeniedError:
            return name
        return next((alias.collection_name for alias in aliases if alias.alias_name == name), name)

    def _version_older_than(self, wanted: tuple[int, int]) -> str:
        """Return the server's version where it is older than `wanted`; otherwise ""."""
        version = self._asking_again("asking for the version", lambda: str(self._client.info().version))
        return version if is_older(version, wanted) else ""

    def _config_problems(self, spec: CollectionSpec) -> Iterator[str]:
        """Yield the problems of option `collection_config`, found by the client's model and by the server's version."""
        yield from config_problems(spec)
        for name, since in settings_of_newer_servers(spec.config):
            if version := self._version_older_than(since):
                yield (
                    f"in option 'collection_config', '{name}' is a setting of Qdrant {'.'.join(map(str, since))} or "
                    f"newer, and the server at {self._address} is Qdrant "
                    f"{version}, which would ignore it; update it, or leave that out"
                )

    def _same_on(self, address: Address, collection: str) -> None:
        """Check that another node has the same collection; of nodes that are not one cluster, each would get a part of
        the points."""
        ours, other = self._info(collection), Connection([address])

        def compare() -> None:
            theirs = other._info(collection)
            if (
                theirs is None or ours is None or theirs.config != ours.config
            ):  # the nodes of a cluster agree after a moment
                raise TransientStoreError(
                    f"{address} and {self._address} do not have the same collection '{collection}'"
                )

        try:
            retrying(compare, PATIENCE_SECONDS, lambda: None)
        except StoreError as error:
            raise CollectionError(f"{error}; name only nodes of one cluster in option 'url'") from None
        finally:
            other.close()

    def _asking_again(self, doing: str, ask: Callable[[], T]) -> T:
        """Send a request that can be sent again to the same effect, with retries."""

        def asked() -> T:
            with self._asking(doing):
                return ask()

        return self._patiently(asked)

    def _patiently(self, ask: Callable[[], T]) -> T:
        """Retry a request for as long as this connection is patient; use another node where the current node is gone.
        Raises the error that a retry cannot heal, or PermanentStoreError."""

        def asked() -> T:
            try:
                return ask()
            except TransientStoreError:
                if len(self._addresses) > 1 and not answers(self._address):
                    self._client.close()
                    self._connect(one_that_answers(self._addresses))
                raise

        return retrying(asked, self._patience, lambda: None)

    @contextmanager
    def _asking(self, doing: str) -> Iterator[None]:
        """Translate the client's errors into errors of the sink. Requests that may be sent again (`_info`,
        `_asking_again`) are retried around this context; all others are sent once."""
        where = f"{doing} on {self._address}"
        try:
            yield
        except ResourceExhaustedResponse as error:
            raise TransientStoreError(
                f"{where} failed: the server limits the rate; try again in {error.retry_after_s} s", error.retry_after_s
            ) from None
        except grpc.RpcError as error:
            meant = store_error(error, where)
            if isinstance(meant, TransientStoreError):
                raise meant from None
            kind = {grpc.StatusCode.NOT_FOUND: NotFoundError, grpc.StatusCode.PERMISSION_DENIED: DeniedError}.get(
                error.code(), CollectionError
            )
            raise kind(str(meant)) from None


class NotFoundError(CollectionError):
    """Error where the server has no collection of that name."""


class DeniedError(CollectionError):
    """Error where the API key has no right to do this."""


@cache
def _authorities() -> ssl.SSLContext:
    """Load the certificate authorities that the client's HTTP side trusts, once. Otherwise every client reads them
    anew, which takes 20 ms, and a job makes several clients."""
    return httpx.create_ssl_context()


def our_metadata(name: str, info: models.CollectionInfo) -> CollectionMetadata | None:
    """Read the metadata that the sink has stored in a collection; the metadata of each job that added vectors later has
    a key of its own."""
    noted = info.config.metadata or {}
    found = CollectionMetadata.from_json(name, noted.get(METADATA_KEY))
    if found is None:
        return None
    others = [CollectionMetadata.from_json(name, noted[key]) for key in sorted(noted) if key.startswith(GUEST_KEY)]
    return replace(
        found, vectors=(*found.vectors, *(vector for other in others if other is not None for vector in other.vectors))
    )


def run_of(name: str, info: models.CollectionInfo | None) -> str | None:
    """Return the run that created the collection, where known."""
    found = None if info is None else our_metadata(name, info)
    return None if found is None else found.run
