"""Put the parts of the local ECS together behind its HTTP endpoints."""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
import time
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import msgspec
from starlette.applications import Starlette
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from controller.local.awsjson import AwsError, Endpoint, JsonObject, Operations
from controller.local.ecs.clusters import Clusters
from controller.local.ecs.events import Events, Target
from controller.local.ecs.faults import Faults, Order
from controller.local.ecs.ledger import Ledger
from controller.local.ecs.model import StopCode, cluster_arn
from controller.local.ecs.protection import Protection
from controller.local.ecs.render import task_shape
from controller.local.ecs.service_operations import CreateService, ServiceOperations
from controller.local.ecs.services import Services
from controller.local.ecs.task_operations import TaskOperations
from controller.local.ecs.tasks import Host, Tasks

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Coroutine
    from pathlib import Path

    from starlette.requests import Request

_LOG = logging.getLogger(__name__)
_TARGET = "AmazonEC2ContainerServiceV20141113"
_ID_BYTES = 16
_BOOT = time.time() - time.monotonic()


class Declared(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    """What exists from the first request on, in the shapes of the API's requests."""

    cluster: str = "default"
    task_definitions: list[dict[str, Any]] = []
    services: list[CreateService] = []


@dataclass(frozen=True, slots=True)
class Options:
    """How the server is run."""

    declared: Declared
    logs_dir: Path | None = None
    events: Target | None = None
    stop_grace: timedelta = timedelta(seconds=10)
    environment: Path | None = None
    addresses: bool = False
    operations: Operations = field(default_factory=dict)
    """Operations of other services, by full target."""


class EcsServer:
    """The local ECS as an ASGI application."""

    def __init__(self, url: str, options: Options) -> None:
        self._options = options
        self._host = Host(url, options.logs_dir, _now, _new_id, options.environment, options.addresses)
        self._ledger = Ledger(_now)
        self._faults = Faults()
        self._clusters = Clusters(self._ledger, _now)
        self._tasks = Tasks(self._host, self._ledger, self._faults)
        self._services = Services(self._host, self._ledger, self._tasks, self._faults)
        self._protection = Protection(self._host, self._clusters, self._services, self._ledger, self._tasks)
        self._service_operations = ServiceOperations(self._clusters, self._services, self._ledger)
        self.app = Starlette(routes=self._routes(), lifespan=self._lifespan)

    def _routes(self) -> list[Route]:
        operations = {
            **self._clusters.operations(),
            **TaskOperations(self._clusters, self._ledger, self._tasks, self._faults).operations(),
            **self._service_operations.operations(),
            **self._protection.operations(),
        }
        targets = {f"{_TARGET}.{name}": operation for name, operation in operations.items()}
        endpoint = Endpoint({**targets, **self._options.operations}, before=self._admit)
        return [
            Route("/", endpoint.__call__, methods=["POST"]),
            Route("/api/{task}/task-protection/v1/state", self._agent, methods=["GET", "PUT"]),
            Route("/v4/{task}/task", self._metadata),
            Route("/_faults", self._order, methods=["POST"]),
        ]

    @asynccontextmanager
    async def _lifespan(self, _: Starlette) -> AsyncIterator[None]:
        running = [_essential(self._services.run())]
        if self._options.events is not None:
            events = Events(self._options.events, _now, _new_id)
            self._ledger.observers.append(events.observe)
            running.append(_essential(events.run()))
        self._declare(self._options.declared)
        yield
        # The services first, or they would replace the tasks that we stop.
        running[0].cancel()
        await self._tasks.close(self._options.stop_grace)
        for background in running:
            background.cancel()
            with suppress(asyncio.CancelledError):
                await background

    def _declare(self, declared: Declared) -> None:
        self._clusters.add(declared.cluster)
        for definition in declared.task_definitions:
            self._clusters.register(definition)
        for service in declared.services:
            service.cluster = service.cluster or declared.cluster
            self._service_operations.create(service)

    def _admit(self, target: str) -> None:
        if target.startswith(_TARGET):
            self._faults.throttle()

    async def _agent(self, request: Request) -> Response:
        task_id = request.path_params["task"]
        try:
            if request.method == "GET":
                return JSONResponse(self._protection.agent_state(task_id))
            return JSONResponse(self._protection.agent_update(task_id, await request.body()))
        except AwsError as error:
            answer = {"Arn": task_id, "Code": error.code, "Message": str(error)}
            return JSONResponse({"error": answer}, error.status)

    async def _metadata(self, request: Request) -> Response:
        task = self._ledger.find(request.path_params["task"])
        if task is None:
            return Response(status_code=404)
        shape: JsonObject = {
            "Cluster": cluster_arn(task.cluster),
            "TaskARN": task.arn,
            "Family": task.definition.family,
            "Revision": str(task.definition.revision),
            "ServiceName": task.service or "",
            "DesiredStatus": task.desired_status,
            "KnownStatus": task.status,
            "LaunchType": "FARGATE",
        }
        return JSONResponse(shape)

    async def _order(self, request: Request) -> Response:
        try:
            order = msgspec.json.decode(await request.body(), type=Order)
            shapes = [
                self._strike(task_id, order) for task_id in (*order.interrupt, *order.kill, *order.exhaust_memory)
            ]
        except (msgspec.DecodeError, KeyError) as error:
            return JSONResponse({"message": f"no such fault or task: {error}"}, 400)
        self._faults.obey(order)
        return JSONResponse({"tasks": shapes})

    def _strike(self, task_id: str, order: Order) -> JsonObject:
        if task_id in order.exhaust_memory:
            self._tasks.exhaust_memory(task_id)
        elif task_id in order.kill:
            self._tasks.kill(task_id)
        else:
            self._tasks.stop(task_id, StopCode.SPOT, "Your Spot Task was interrupted.")
        return {"task": task_shape(self._ledger.get(task_id))}


def _essential(work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
    """Run a loop without which the server must not go on looking alive."""
    task = asyncio.create_task(work)
    task.add_done_callback(_end_if_failed)
    return task


def _end_if_failed(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        _LOG.critical("a loop of the local ECS failed, so it ends", exc_info=error)
        os._exit(1)


def _now() -> datetime:
    # Wall time that never steps back: the past of a task is looked up by it.
    return datetime.fromtimestamp(_BOOT + time.monotonic(), UTC)


def _new_id() -> str:
    return secrets.token_hex(_ID_BYTES)
