"""What could happen next in a schedule, by label: fibers that go on, requests that arrive, what AWS does, what breaks."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from tests.simulation.network import POLL, SHAPES, Call, Reply

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from tests.simulation.controllers import Controller
    from tests.simulation.ecs import Task
    from tests.simulation.world import World

MOST_DOWN, MOST_OUTAGE = 8.0, 70.0
"""How long, in virtual seconds, a restart of Postgres and an outage of it take at most."""
MOST_SKEW = 20.0

Steps = dict[str, "Callable[[], None]"]


def progress(world: World) -> Steps:
    """Return everything that moves work on."""
    found: Steps = {}
    for fiber in world.fibers.runnable():
        found.setdefault(fiber.name, lambda f=fiber: world.go(f))  # type: ignore[misc]
    for call in world.network.waiting():
        if _arrives(world, call):
            found.setdefault(f"net: {call.label}", lambda c=call: deliver(world, c))  # type: ignore[misc]
    if world.notices:
        found["notify"] = lambda: _notify(world)
    found |= world.ecs.steps()
    if world.leader is None and world.controllers:
        found["election"] = lambda: elect(world)
    for name in world.names:
        if name not in world.controllers and not world.database.down:
            found[f"{name} starts"] = lambda n=name: _start(world, n)  # type: ignore[misc]
    for task in world.ecs.tasks:
        if task.worker.process.paused:
            found[f"{task.worker.process.name} goes on"] = lambda t=task: pause(t, paused=False)  # type: ignore[misc]
    return found


def next_time(world: World) -> float | None:
    """Return when something happens by itself next."""
    polls = [c.since + POLL for c in world.network.waiting() if c.path == "receive"]
    times = [world.fibers.next_timer(), world.sqs.next_visible(), world.ecs.next_timer(), *polls]
    if world.database.down:
        times.append(world.database.down_until)
    return min((t for t in times if t is not None and t > world.fibers.now), default=None)


def breakage(world: World) -> Mapping[str, Callable[[], None]]:
    """Return what could break now, by the name of the fault."""
    workers = [t for t in world.ecs.tasks if t.stopped_at is None and not t.worker.over]
    random = world.fibers.random
    found: Steps = {
        "restartPostgres": lambda: world.database.restart(random.uniform(0, MOST_DOWN)),
        "outage": lambda: world.database.restart(random.uniform(MOST_DOWN, MOST_OUTAGE)),
        "clockJump": lambda: _jump(world),
    }
    if world.controllers:
        found["killController"] = lambda: world.kill_controller(random.choice(sorted(world.controllers)))
        found["splitBrain"] = lambda: random.choice([c for _, c in sorted(world.controllers.items())]).lead(leads=True)
    if workers:
        found["killWorker"] = lambda: world.kill_worker(random.choice(workers).worker)
        found["pauseWorker"] = lambda: pause(random.choice(workers), paused=True)
        found["stopWorker"] = lambda: world.ecs.stop(random.choice(workers))
        found["drainPool"] = lambda: _scale_in(world)
    if world.sqs.names:
        found["purgeQueue"] = lambda: world.sqs.purge(random.choice(world.sqs.names))
        found["strangeMessage"] = lambda: _stranger(world)
    if world.sqs.sent:
        found["oldMessage"] = lambda: world.sqs.put(*random.choice(world.sqs.sent))
    return found


def deliver(world: World, call: Call) -> None:
    """Have a request arrive, unless it gets lost; its answer may get lost too."""
    draws = world.faults.draws
    if call.path in SHAPES:
        _to_dispatcher(world, call)
        return
    call.taken = True
    if call.path == "delete":
        name, handles = call.body
        if not draws("deleteLost"):
            world.sqs.delete(name, handles)
        call.reply(200)
        return
    name, limit = call.body
    call.deaf = draws("receiveLost")
    call.reply(200, world.sqs.receive(name, limit))


def elect(world: World) -> None:
    """Have one controller lead."""
    names = sorted(world.controllers)
    name = world.fibers.random.choice(names) if world.faults.active else names[0]
    world.controllers[name].lead(leads=True)


def pause(task: Task, *, paused: bool) -> None:
    """Stop a worker's process (SIGSTOP), or let it go on; its children are not stopped."""
    task.worker.process.paused = paused


def _to_dispatcher(world: World, call: Call) -> None:
    draws = world.faults.draws
    if not world.controllers:
        call.taken = True
        call.reply(503)
        return
    if draws("requestLost"):
        call.taken = True
        call.reply(0)
        return
    if draws("requestLate") and call.status is None:
        # The sender hears nothing; what it sent arrives later all the same.
        call.reply(0)
        return
    call.taken = True
    call.deaf = draws("answerLost")
    names = sorted(world.controllers)
    controller = world.controllers[world.fibers.random.choice(names) if world.faults.active else names[0]]
    _submit(world, controller, call)


def _submit(world: World, controller: Controller, call: Call) -> None:
    """Hand a request to the batcher of a controller, as the HTTP endpoint does."""
    batcher = controller.batchers[call.path]
    reply = Reply(call, world)
    asked = msgspec.json.decode(call.body, type=SHAPES[call.path])
    batcher._waiting.append((asked, reply, reply))  # type: ignore[arg-type]
    batcher._changed.notify()


def _arrives(world: World, call: Call) -> bool:
    """Tell whether a request can arrive now: a long poll waits for messages."""
    if call.path != "receive":
        return True
    if call.status is not None:
        call.taken = True
        return False
    return world.fibers.now >= call.since + POLL or bool(world.sqs.receivable(call.body[0]))


def _notify(world: World) -> None:
    payload = world.notices.pop(0)
    for controller in world.controllers.values():
        controller.notified(payload)


def _start(world: World, name: str) -> None:
    world.start_controller(name)


def _jump(world: World) -> None:
    world.skew += world.fibers.random.uniform(-MOST_SKEW, MOST_SKEW)


def _scale_in(world: World) -> None:
    service = world.fibers.random.choice(list(world.ecs.services.values()))
    service.desired = max(service.desired - 1, 0)


def _stranger(world: World) -> None:
    random = world.fibers.random
    bodies = (b"not json", b'{"attempt": "x/y/0/1", "delivery": 1}', b'{"attempt": 1}', b"\xff\x00")
    world.sqs.put(random.choice(world.sqs.names), random.choice(bodies), "stranger")
