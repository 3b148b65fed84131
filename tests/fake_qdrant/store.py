"""All collections and aliases."""

from __future__ import annotations

import threading

import grpc

from tests.fake_qdrant.collection import Collection
from tests.fake_qdrant.values import Message, RefusedError, invalid, not_found


class Store:
    """Collections and aliases. Whoever calls holds the lock."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.collections: dict[str, Collection] = {}
        self.aliases: dict[str, str] = {}

    def find(self, name: str) -> Collection:
        """The collection of this name or alias."""
        real = self.aliases.get(name, name)
        self.must_exist(real)
        return self.collections[real]

    def must_exist(self, name: str) -> None:
        if name not in self.collections:
            raise not_found(f"Collection `{name}` doesn't exist!")

    def must_not_exist(self, name: str) -> None:
        if name in self.collections:
            raise RefusedError(grpc.StatusCode.ALREADY_EXISTS, f"Wrong input: Collection `{name}` already exists!")

    def create(self, name: str, request: Message) -> None:
        bad = next((c for c in '<>:"/\\|?*\0\x1f' if c in name), None)
        if bad is not None:
            raise invalid(f'Validation error in body: [collection_name: collection name cannot contain "{bad}" char]')
        if not 1 <= len(name) <= 255:
            raise invalid(
                f'Validation error in body: [collection_name: value "{name}" invalid, must be from 1 to 255 characters]'
            )
        made = Collection.of(request)  # what is wrong with the request is said before what is wrong with the name
        self.must_not_exist(name)
        if name in self.aliases:
            raise invalid(
                f"Wrong input: Can't create collection with name {name}. Alias with the same name already exists"
            )
        self.collections[name] = made

    def delete(self, name: str) -> bool:
        """Aliases go with their collection; an alias's name deletes nothing."""
        self.aliases = {alias: target for alias, target in self.aliases.items() if target != name}
        return self.collections.pop(name, None) is not None

    def change_alias(self, action: Message) -> None:
        """One action; the caller does them in turn, and those before a wrong one stay done."""
        kind = action.WhichOneof("action")
        if kind == "create_alias":
            self.must_exist(action.create_alias.collection_name)
            self.must_not_exist(action.create_alias.alias_name)
            self.aliases[action.create_alias.alias_name] = action.create_alias.collection_name
        elif kind == "delete_alias":
            self.aliases.pop(action.delete_alias.alias_name, None)
        else:
            old = action.rename_alias.old_alias_name
            if old not in self.aliases:
                raise not_found(f"Alias {old} does not exists!")
            self.aliases[action.rename_alias.new_alias_name] = self.aliases.pop(old)
