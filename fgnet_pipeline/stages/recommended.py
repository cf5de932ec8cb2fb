"""The values of `[fragments]` and `[agglomerate]` that a configuration leaves open, and where they come from.

The first of these that has a value decides:

1. the command line and the configuration,
2. the values that an existing output was begun with,
3. the values that the model recommends,
4. the project's default.

Beside this file, only `fgnet_pipeline.stages.predict` and `fgnet_pipeline.stages.model_choice` ask the model package.
Headers of files are read, so torch is not needed.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from fgnet_pipeline.core.config import Config
from fgnet_pipeline.core.errors import InputError
from fgnet_pipeline.stages.configuration import validate

#: Table of the configuration -> key -> value.
Values = dict[str, dict[str, Any]]
#: The key of each table that says what the other keys of the table are about. Values of another method or score do not
#: hold.
SELECTORS = {"fragments": "method", "agglomerate": "score"}
#: Keys that belong to the data and the machine, not to a model.
OTHERS = ("path", "leaf_blocks", "max_segment_voxels")
#: Keys of which a run says where they come from, also if it is the project's default.
ALWAYS_TOLD = ("fragments.boundary_threshold", "fragments.min_seed_distance", "agglomerate.threshold")
BEGUN, DEFAULT = "this output was begun with it", "the default"


def resolve(config: Config, begun: Values) -> tuple[Config, dict[str, str]]:
    """Fill in the values that a configuration leaves open.

    Args:
        config: a validated configuration. Keys that it does not set are open.
        begun: the values that the existing output was begun with; empty for a new output.

    Returns:
        The configuration with all values, and for keys that were open (`table.key`) where their values come from.

    Raises:
        InputError: the model is needed and cannot be read, or it recommends values that are none.
    """
    given = {table: getattr(config, table).model_fields_set for table in SELECTORS}
    if all(given[table] >= set(type(getattr(config, table)).model_fields) for table in SELECTORS):
        return config, {}  # as workers get it
    known = {table: _that_fit(config, table, begun.get(table, {})) for table in SELECTORS}
    open_keys = [key for key in ALWAYS_TOLD if not _is_known(key, given) and not _is_known(key, known)]
    model = of_model(config) if open_keys or not begun else {}
    tables, origins = config.model_dump(mode="json"), {}
    source = f"recommended by the model {config.model.checkpoint}"
    for table in SELECTORS:
        advised = _that_fit(config, table, model.get(table, {}), known[table])
        for values, origin in ((advised, source), (known[table], BEGUN)):
            for key in values.keys() - given[table]:
                if f"{table}.{key}" in ALWAYS_TOLD or tables[table].get(key) != values[key]:
                    tables[table][key], origins[f"{table}.{key}"] = values[key], origin
    origins |= {key: DEFAULT for key in open_keys if key not in origins}
    return (validate(tables) if origins else config), dict(sorted(origins.items()))


def _is_known(key: str, values: Mapping[str, Any]) -> bool:
    table, _, name = key.partition(".")
    return name in values[table]


def _that_fit(config: Config, table: str, values: Mapping[str, Any], known: Mapping[str, Any] | None = None) -> Any:
    """The values of one table; none if the configuration or `known` chooses another method or score than theirs."""
    selector, chosen = SELECTORS[table], getattr(config, table)
    default = type(chosen).model_fields[selector].default
    own = values.get(selector, default)
    if selector in chosen.model_fields_set:
        return values if getattr(chosen, selector) == own else {}
    return values if known is None or known.get(selector, own) == own else {}


def of_model(config: Config) -> Values:
    """The values that the model recommends; none if affinities are given and the configuration names no model."""
    if config.affinities.path is not None and "checkpoint" not in config.model.model_fields_set:
        return {}
    import fgnet

    try:
        found = fgnet.read_recommended(config.model.checkpoint)
    except fgnet.ModelError as error:
        raise InputError(error.field, error.value, error.expected, error.remedy) from error
    try:
        check_recommended(found)
    except InputError as error:
        value = f"{config.model.checkpoint}, which recommends {error.field} = {error.value}"
        remedy = "set this key in the configuration, or export the weights again"
        raise InputError("model.checkpoint", value, error.expected, remedy) from error
    return found


def check_recommended(values: Mapping[str, Mapping[str, Any]]) -> None:
    """Check that a model may recommend these values.

    Args:
        values: table -> key -> value.

    Raises:
        InputError: a table or key that no model recommends, or a value of a wrong type or range.
    """
    for table, found in values.items():
        for key, value in found.items():
            if table not in SELECTORS or key in OTHERS:
                expected = f"a key of [{'] or ['.join(SELECTORS)}] that belongs to a model"
                raise InputError(f"{table}.{key}", value, expected, "leave it out")
    validate({"volume": {"path": "any"}, "output": {"path": "any"}, **{t: dict(v) for t, v in values.items()}})


def without_stages(values: Values, stages: Collection[str]) -> Values:
    """The values that no stage of `stages` reads.

    Args:
        values: table -> key -> value.
        stages: names of stages whose results are begun anew.
    """
    return {
        table: {key: value for key, value in found.items() if stage_of_key(table, key) not in stages}
        for table, found in values.items()
    }


def stage_of_key(table: str, key: str) -> str:
    """The first stage that reads a key of `[fragments]` or `[agglomerate]`."""
    return "lut" if (table, key) == ("agglomerate", "threshold") else table


def settings_in(tables: Mapping[str, Any]) -> Values:
    """The values of a resolved configuration that a model may recommend, or that an output keeps.

    Args:
        tables: of a configuration. Keys without a value are left out.
    """
    return {
        table: {k: v for k, v in (tables.get(table) or {}).items() if k not in OTHERS and v is not None}
        for table in SELECTORS
    }
