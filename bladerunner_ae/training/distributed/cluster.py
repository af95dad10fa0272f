"""Workers of a run on several machines, as TF_CONFIG names them, checked.

TensorFlow answers a mistake in it with a traceback, or waits forever for a missing worker.
"""

import json
import re
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from bladerunner_ae.errors import UsageError

VARIABLE = "TF_CONFIG"
_EXAMPLE = (
    '{"cluster": {"worker": ["first-host:2222", "second-host:2222"]}, '
    '"task": {"type": "worker", "index": 0}}'
)
# In the order in which TensorFlow numbers their workers.
_JOBS = ("chief", "worker")


@dataclass(frozen=True)
class Cluster:
    """The workers (HOST:PORT, the chief first) that train one run, and this process's index."""

    addresses: tuple[str, ...] = ("",)
    index: int = 0

    @property
    def count(self) -> int:
        return len(self.addresses)

    @property
    def chief(self) -> bool:
        """Whether this is the worker that writes."""
        return self.index == 0


def cluster_of(environment: Mapping[str, str]) -> Cluster | None:
    """Read TF_CONFIG; None if missing, empty or, as on prepared machines, without a cluster."""
    text = environment.get(VARIABLE, "").strip()
    if not text:
        return None
    try:
        values = json.loads(text)
    except ValueError as error:
        raise _malformed(f"is no JSON ({error})") from None
    if not isinstance(values, dict):
        raise _malformed("is no JSON object")
    if not values.get("cluster"):
        return None
    return _cluster(values["cluster"], values.get("task"))


def needed_cluster(environment: Mapping[str, str]) -> Cluster:
    """As `cluster_of`, but raise a UsageError if there is none."""
    cluster = cluster_of(environment)
    if cluster is None:
        raise UsageError(
            f"--strategy=multi_worker: {VARIABLE} does not say who the workers are; set it on "
            f"each, with its own index, such as {VARIABLE}='{_EXAMPLE}'"
        )
    return cluster


def _cluster(jobs: Any, task: Any) -> Cluster:
    if not isinstance(jobs, dict) or not all(isinstance(v, list) for v in jobs.values()):
        raise _malformed('"cluster" is no object of lists of addresses')
    if others := sorted(jobs.keys() - set(_JOBS)):
        raise _malformed(f"has tasks of type {', '.join(others)}, which have no part in this")
    if len(jobs.get("chief", [])) > 1:
        raise _malformed("has more than one chief")
    addresses = [address for job in _JOBS for address in jobs.get(job, [])]
    for address in addresses:
        if not isinstance(address, str) or not _is_address(address):
            raise _malformed(f"has {json.dumps(address)} where HOST:PORT is needed")
    if len(set(addresses)) < len(addresses):
        raise _malformed("names one address twice")
    if not isinstance(task, dict) or task.get("type") not in [*jobs]:  # a list has no hash
        raise _malformed(f'"task" has none of the types of "cluster" ({", ".join(jobs)})')
    index, own = task.get("index"), jobs[task["type"]]
    if type(index) is not int or not 0 <= index < len(own):  # true is an int too
        raise _malformed(
            f'"task" has index {json.dumps(index)}, which is not from 0 to {len(own) - 1}'
        )
    return Cluster(tuple(addresses), addresses.index(own[index]))


def _is_address(text: str) -> bool:
    found = re.fullmatch(r"[^/\s]+:(\d{1,5})", text)
    return found is not None and 0 < int(found[1]) < 1 << 16


def check_port(cluster: Cluster) -> None:
    """Check that this worker can listen at its own port, at every address of the machine.

    TensorFlow would share it with another worker of the same index, and wait forever.
    """
    own = cluster.addresses[cluster.index]
    with socket.socket() as one:
        # A port that was just left is free, as it is to TensorFlow.
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            one.bind(("", int(own.rpartition(":")[2])))
        except OSError as error:
            raise UsageError(
                f"{VARIABLE}: worker {cluster.index} cannot listen at {own} ({error.strerror}); "
                "see that no other process of this machine has that port or index, or choose "
                "another port on all workers"
            ) from None


def _malformed(what: str) -> UsageError:
    return UsageError(f"{VARIABLE} {what}; it should look like {_EXAMPLE}")
