"""List the modules that a document goes through, in order, with the settings of each, from a model's files.

Where documents and queries go different ways (a Router), the list is the way of the documents.
"""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from spark_vector_sink.encode.model_json import damaged, mapping, needed, positive, sequence

LIBRARY = "sentence_transformers."
WITH_SETTINGS = {"CLIPModel", "Dense", "LayerNorm", "Pooling", "SparseAutoEncoder"}
"""Kinds of modules that need a config.json."""
TRANSFORMERS = {"MLMTransformer", "Transformer"}
TRANSFORMER_SETTINGS = tuple(
    f"sentence_{name}_config.json"
    for name in ("bert", "roberta", "distilbert", "camembert", "albert", "xlm-roberta", "xlnet")
)
"""Files with the settings of the module around a transformer; a model has one of them."""
HIDDEN_SIZES = ("hidden_size", "d_model", "dim", "n_embd", "hidden_dim", "embed_dim", "emb_dim")
"""Names that architectures use for the length of a token's vector."""


class Module(NamedTuple):
    """A module of a model, as the model's files describe it.

    kind: the class; its full name where it is not a class of Sentence Transformers. path: its folder within the model's
    folder. config: content of its config.json, for a transformer the architecture. settings: the other settings of a
    transformer.
    """

    kind: str
    path: str
    config: dict[str, Any]
    settings: dict[str, Any]


def modules(folder: Path) -> list[Module]:
    """Return the modules that a document goes through; empty where the model has no way for documents. Raises
    EncodingError where a file is damaged or missing."""
    listed = sequence(folder, "modules.json")
    if listed is None:
        return _of_bare_transformer(folder)
    found = []
    for entry in listed:
        kind, path = (entry.get("type"), entry.get("path")) if isinstance(entry, dict) else (None, None)
        if not isinstance(kind, str) or not isinstance(path, str):
            raise damaged("modules.json", "a module in it has no type or no path")
        if PurePosixPath(path).is_absolute() or ".." in PurePosixPath(path).parts:
            raise damaged("modules.json", f"the module folder {path!r} is outside of the model's")
        router = _kind(kind) in ("Router", "Asym")
        found += _documents_way(folder, path) if router else [_module(folder, kind, path)]
    return found


def hidden_size(module: Module) -> int | None:
    """Return the length of the vectors that a transformer makes: of a token's vector, or of the text's where the
    transformer makes that itself; None where its files do not say."""
    inner = module.config.get("text_config")
    configs = [module.config, *([inner] if isinstance(inner, dict) else [])]
    whole = module.settings.get("module_output_name") == "sentence_embedding"
    names = ("projection_dim",) * whole + HIDDEN_SIZES
    return next((size for config in configs for name in names if (size := positive(config.get(name)))), None)


def within(path: str, name: str) -> str:
    """Return the path of the file `name` of the module in `path`, which is `""` for the model's own folder."""
    return f"{path}/{name}" if path else name


def _module(folder: Path, class_name: str, path: str) -> Module:
    kind, config = _kind(class_name), within(path, "config.json")
    if kind in TRANSFORMERS:
        settings = next((found for name in TRANSFORMER_SETTINGS if (found := mapping(folder, within(path, name)))), {})
        # the architecture is in the files of another model
        adapted = mapping(folder, within(path, "adapter_config.json")) is not None
        return Module(kind, path, mapping(folder, config) or {} if adapted else needed(folder, config), settings)
    if kind in WITH_SETTINGS:
        return Module(kind, path, needed(folder, config), {})
    return Module(kind, path, mapping(folder, config) or {} if class_name.startswith(LIBRARY) and path else {}, {})


def _kind(class_name: str) -> str:
    return class_name.rpartition(".")[2] if class_name.startswith(LIBRARY) else class_name


def _of_bare_transformer(folder: Path) -> list[Module]:
    """Return the modules that Sentence Transformers makes for a model that is not its own: the transformer and a
    Pooling module. The list has the mean also for a language model, where the last token is taken, because its length
    is the same."""
    config = needed(folder, "config.json")
    if "projection_dim" in config and "text_config" in config:  # such as CLIP, which makes the text's vector itself
        return [Module("Transformer", "", config, {"module_output_name": "sentence_embedding"})]
    transformer = Module("Transformer", "", config, {})
    pooling = {"embedding_dimension": hidden_size(transformer), "pooling_mode": "mean"}
    return [transformer, Module("Pooling", "", pooling, {})]


def _documents_way(folder: Path, path: str) -> list[Module]:
    """Return the modules that a Router sends documents through; empty where it has no way for them."""
    name = within(path, "router_config.json")
    router = mapping(folder, name)
    if router is None:
        name = within(path, "config.json")  # before version 5
        router = needed(folder, name)
    types, ways, parameters = (router.get(key, {}) for key in ("types", "structure", "parameters"))
    if not isinstance(types, dict) or not isinstance(ways, dict) or not isinstance(parameters, dict):
        raise damaged(name, "types, structure and parameters are no JSON objects")
    mapped = parameters.get("route_mappings")
    asked = [str(key) for key in (("document", "text"), ("document", None), (None, "text"), (None, None))]
    routes = (
        [*(mapped[key] for key in asked if key in mapped), "document"] if isinstance(mapped, dict) else ["document"]
    )
    way = ways.get(str(routes[0]), [])
    if not isinstance(way, list) or not all(isinstance(types.get(str(one)), str) for one in way):
        raise damaged(name, "a way in it leads to a module that it does not list")
    return [_module(folder, types[str(one)], within(path, str(one))) for one in way]
