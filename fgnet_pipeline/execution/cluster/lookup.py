"""Which cluster a configuration uses."""

from __future__ import annotations

from functools import cache

from fgnet_pipeline.core.config import Config
from fgnet_pipeline.core.registry import discover
from fgnet_pipeline.core.suggestions import unknown_choice
from fgnet_pipeline.execution.cluster.interface import Cluster, ClusterSystem

PACKAGE, ATTRIBUTE, GROUP = "fgnet_pipeline.execution.cluster", "CLUSTER", "fgnet_pipeline.clusters"


@cache
def systems() -> dict[str, ClusterSystem]:
    """All cluster systems by name.

    Raises:
        InputError: Two systems have one name, or an entry point does not lead to a system.
    """
    return discover(PACKAGE, ATTRIBUTE, GROUP, ClusterSystem)


def cluster_of(config: Config) -> Cluster:
    """The cluster that `schedule.cluster` names, whatever the backend is.

    Raises:
        InputError: There is no such system.
    """
    name = config.schedule.cluster
    if name not in systems():
        raise unknown_choice("schedule.cluster", name, systems())
    return systems()[name].open(config.schedule)
