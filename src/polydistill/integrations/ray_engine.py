"""Computes shards of embeddings on a Ray cluster: one actor per GPU, which loads the teacher once.

One task is one shard. An actor writes it to the folder of unfinished work, which all machines share, or to an object
store, from which the driver copies it; and it returns the shard's entry. Nothing is stored in Ray: a run that is
interrupted, also by the end of the cluster, resumes with the shards that are missing. The bytes are those of the local
engine.
"""

import socket
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from polydistill.config.environment import use_threads
from polydistill.config.params import Params
from polydistill.contracts import Example
from polydistill.embeddings.basis import Basis
from polydistill.embeddings.compute import Computation, Job, Step
from polydistill.embeddings.exchange import Exchange
from polydistill.errors import InfrastructureError, MissingExtraError, PolydistillError, StoreError
from polydistill.teachers import build_teacher

MOST_DEATHS = 3
"""The number of actors that may die with the same shard."""
AHEAD = 2
"""The number of shards of an actor: one that it computes, and one that waits, so that it never waits for the driver."""


CONNECT_S = 10


@dataclass(frozen=True)
class TeacherRow:
    """What an actor needs to build a teacher; see `teachers.build_teacher`."""

    name: str
    family: str
    options: Mapping[str, object]
    threads: int
    device: str


class ShardWorker:
    """The actor: computes shards with one teacher.

    Args:
        row: The teacher.
        identity: The identity that the teacher must have on this machine too.
        work: The folder of finished shards.
        settings: The dtype, the batch size and the basis.
        exchange: The URL to which shards are written in place of `work`.
    """

    def __init__(
        self,
        row: TeacherRow,
        identity: Mapping[str, object],
        work: str,
        settings: tuple[str, int, Basis | None],
        exchange: str | None = None,
    ) -> None:
        self._row, self._identity, self._work, self._settings = row, identity, work, settings
        self._url = exchange
        self._exchange: Exchange | None = None

    def start(self) -> None:
        """Build the teacher. Ray reports an error of this method as it is, but not one of the constructor.

        Raises:
            StoreError: The teacher has another identity on this machine.
            ParamsError: This machine lacks the package of the exchange's protocol.
            InfrastructureError: The exchange cannot be reached.
        """
        if self._url is not None:
            self._exchange = Exchange(self._url)
            self._exchange.keys()  # before a shard is computed in vain
        row = self._row
        use_threads(row.threads)
        teacher = build_teacher(row.name, row.family, row.options, row.threads, row.device)
        if dict(teacher.identity) != dict(self._identity):
            raise StoreError(
                f"Teacher {row.name!r} has other files or packages on a worker than where the stage runs: "
                f"{dict(teacher.identity)} in place of {dict(self._identity)}. Give all machines the same environment."
            )
        self._computation = Computation(teacher, Path(self._work), *self._settings)

    def check(self, examples: Sequence[Example]) -> None:
        """See `Computation.check`."""
        self._computation.check(examples)

    def compute(self, job: Job) -> Step:
        """Compute and write a shard."""
        if self._exchange is None:
            return _whole(self._computation, job)
        with TemporaryDirectory() as folder:
            step = _whole(replace(self._computation, work=Path(folder)), job)
            if step.entry is not None:
                self._exchange.put(Path(folder), step.entry)
        return step


def _whole(computation: Computation, job: Job) -> Step:
    """Compute and write a shard in one step."""
    steps = [*computation.steps(job)]
    return replace(steps[-1], rows=sum(step.rows for step in steps))


class RayEngine:
    """See `compute.Engine`.

    Args:
        params: The project's settings.
        modality: The modality of the teacher.
        teacher: The name of an enabled teacher.
    """

    def __init__(self, params: Params, modality: str, teacher: str) -> None:
        row = params.enabled_teachers(modality)[teacher]
        self._row = TeacherRow(teacher, row.family, row.options, params.threads, params.device)
        self._settings = params.embed
        url = params.embed.exchange
        self.exchange = None if url is None else Exchange(url)

    def run(
        self, computation: Computation, some: Sequence[Example], jobs: Iterable[Job]
    ) -> Iterator[Step]:
        """See `Engine.run`.

        Raises:
            MissingExtraError: Ray is not installed.
            InfrastructureError: The cluster or the exchange cannot be reached or ended, or a shard ended its actor
                several times.
            StoreError: A worker has another teacher, or writes to a folder that this machine does not see.
        """
        waiting = iter(jobs)
        if (first := next(waiting, None)) is None:
            return
        try:
            import ray
        except ImportError as error:
            raise MissingExtraError("The engine ray", "ray") from error
        address = self._settings.ray_address
        try:
            _require_reachable(address)
            ray.init(address=address, log_to_driver=False, configure_logging=False)
        except (OSError, RuntimeError, ValueError) as error:
            raise InfrastructureError(
                f"No Ray cluster at {address!r}: {error}. Start one with `ray start --head`, or set "
                "`embed.ray_address`; a cluster with tokens needs RAY_AUTH_MODE=token and RAY_AUTH_TOKEN here too."
            ) from error
        try:
            pool = _Pool(ray, self._row, computation, self._settings.workers, self.exchange)
            yield from pool.run(some, chain([first], waiting))
        except ray.exceptions.RayError as error:
            raise _explained(error) from error
        finally:
            ray.shutdown()


class _Pool:
    """The actors of one run, and the jobs that each has."""

    def __init__(
        self,
        ray: Any,
        row: TeacherRow,
        computation: Computation,
        most: int | None,
        exchange: Exchange | None,
    ) -> None:
        self._ray, self._computation, self._exchange = ray, computation, exchange
        device = row.options.get("device", row.device)
        resources = ray.cluster_resources()
        n_gpus, n_cpus = int(resources.get("GPU", 0)), int(resources.get("CPU", 1))
        if n_gpus and device != "cpu":
            each = int(str(row.options.get("gpus", 1)))
            self._needs, device = {"num_gpus": each, "num_cpus": 0}, "cuda"
            size = max(n_gpus // each, 1)
        else:  # a free CPU, without which Ray cannot start what a resumed run needs
            cpus = max(min(row.threads, n_cpus - 1), 1)
            self._needs, size, device = {"num_cpus": cpus}, max((n_cpus - 1) // cpus, 1), "cpu"
        own = {key: value for key, value in row.options.items() if key != "device"}
        self._row = replace(row, options=own, device=device)
        self._size = min(size, most or size)
        self._starting: dict[Any, Any] = {}
        """Actors that are not ready, by the reference to the end of their start."""
        self._ready: dict[Any, list[Any]] = {}
        """The references to results of each ready actor, the oldest first."""
        self._jobs: dict[Any, tuple[Any, Job, int]] = {}
        """By reference to a result: the actor, its job, and the number of actors that died with this job."""
        self._again: list[tuple[Job, int]] = []
        """Jobs of actors that died."""

    def run(self, some: Sequence[Example], jobs: Iterator[Job]) -> Iterator[Step]:
        """Compute all jobs; an actor that dies is replaced, and the others take over its jobs."""
        for _ in range(self._size):
            self._start()
        checked = False
        while True:
            if checked:
                self._submit(jobs)
                if not self._jobs and not self._again:
                    return
            (done,), _ = self._ray.wait([*self._jobs, *self._starting], num_returns=1)
            if done in self._starting:
                actor = self._starting.pop(done)
                self._ray.get(done)
                if not checked:
                    self._ray.get(actor.check.remote(some))
                    checked = True
                self._ready[actor] = []
                continue
            _, job, _ = self._jobs[done]
            if (step := self._result(done)) is not None:
                yield self._fetched(step, job)

    def _start(self) -> None:
        identity = dict(self._computation.teacher.identity)
        how = self._computation
        settings = (how.dtype, how.batch_size, how.basis)
        work = str(self._computation.work.resolve())
        kind = self._ray.remote(**self._needs)(ShardWorker)
        url = self._exchange and self._exchange.url
        actor = kind.remote(self._row, identity, work, settings, url)
        self._starting[actor.start.remote()] = actor

    def _submit(self, jobs: Iterator[Job]) -> None:
        """Give each ready actor the jobs that it lacks; one after the other, so that all have the same number."""
        for length in range(AHEAD):
            for actor, results in self._ready.items():
                if len(results) > length:
                    continue
                job, deaths = self._again.pop() if self._again else (next(jobs, None), 0)
                if job is None:
                    return
                result = actor.compute.remote(job)
                results.append(result)
                self._jobs[result] = (actor, job, deaths)

    def _result(self, done: Any) -> Step | None:
        """Return the result of a job, or None if its actor died; the jobs of a dead actor are computed again."""
        actor, _, _ = self._jobs[done]
        try:
            step: Step = self._ray.get(done)
        except self._ray.exceptions.RayActorError:
            for number, result in enumerate(self._ready.pop(actor)):
                _, job, deaths = self._jobs.pop(result)
                deaths += number == 0  # the others were waiting
                if deaths > MOST_DEATHS:
                    raise
                self._again.append((job, deaths))
            self._start()
            return None
        del self._jobs[done]
        self._ready[actor].remove(done)
        return step

    def _fetched(self, step: Step, job: Job) -> Step:
        """Return the step of a shard that is in the folder of unfinished work."""
        entry, work = step.entry, self._computation.work
        if self._exchange is not None:
            if (copied := self._exchange.fetch(job.shard, work)) is None:
                raise StoreError(
                    f"A Ray worker wrote {job.shard.key}.json to {self._exchange.url}, but it is not there or damaged: "
                    "run the stage again."
                )
            return replace(step, entry=copied)
        if entry is not None and not (work / entry.file).exists():
            raise StoreError(
                f"A Ray worker wrote {entry.file} to {work.resolve()}, but this machine does not see it: put the "
                "project on a file system that all machines share, or set `embed.exchange` to a URL that all can use."
            )
        return step


def _require_reachable(address: str | None) -> None:
    """Raise `OSError` if nothing listens at an address with a port; Ray itself tries for five minutes."""
    host, _, port = (address or "").rpartition(":")
    if port.isdecimal() and "/" not in host:
        socket.create_connection((host, int(port)), CONNECT_S).close()


def _explained(error: Exception) -> Exception:
    """Return our own error that a worker raised, or else an error that says how to go on."""
    cause = getattr(error, "cause", None)
    if isinstance(cause, PolydistillError):
        return cause
    reason = str(error).strip().splitlines()
    return InfrastructureError(
        f"The Ray cluster could not finish the embeddings: {reason[-1].rstrip('.') if reason else type(error).__name__}. Run the "
        "stage again: finished shards are kept."
    )
