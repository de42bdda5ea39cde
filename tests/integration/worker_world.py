"""What the tests of the worker process need around it: a dispatcher that follows the protocol, SQS, objects."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
import msgspec
import psutil
from obstore.store import LocalStore

from crds.bundle import build
from crds.names import AttemptId, bundle_key, log_prefix
from crds.protocol import (
    ClaimAnswer,
    ClaimRequest,
    Grant,
    HeartbeatAnswer,
    HeartbeatRequest,
    Message,
    Refusal,
    Report,
    ReportAnswer,
    ReportRequest,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

TOKEN = "pool-token"
PATIENCE = 60.0
CREDENTIALS = {
    "AWS_ACCESS_KEY_ID": "local",
    "AWS_SECRET_ACCESS_KEY": "local",
    "AWS_DEFAULT_REGION": "eu-west-1",
    "AWS_EC2_METADATA_DISABLED": "true",
}


def eventually(look: Callable[[], Any], what: str = "it") -> Any:
    """Return the first true value; fail after a generous while."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        if value := look():
            return value
        time.sleep(0.01)
    raise AssertionError(f"{what} did not happen within {PATIENCE:g} s")


@dataclass
class Dispatcher:
    """A dispatcher of one process: grants each known attempt once, remembers what it is told."""

    grants: dict[str, Grant] = field(default_factory=dict)
    answers: dict[str, ClaimAnswer] = field(default_factory=dict)
    claims: list[ClaimRequest] = field(default_factory=list)
    claimed: set[str] = field(default_factory=set)
    reports: dict[str, Report] = field(default_factory=dict)
    report_requests: list[ReportRequest] = field(default_factory=list)
    heartbeats: list[HeartbeatRequest] = field(default_factory=list)
    verdicts: dict[str, str] = field(default_factory=dict)
    later: set[str] = field(default_factory=set)
    stale: set[str] = field(default_factory=set)
    drain: bool = False
    away: bool = False
    # Requests by path that are carried out, and whose answer is lost.
    lost_answers: dict[str, int] = field(default_factory=dict)
    reported_at: dict[str, float] = field(default_factory=dict)
    claimed_at: dict[str, float] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def on_claims(self, body: bytes) -> ClaimAnswer:
        request = msgspec.json.decode(body, type=ClaimRequest)
        self.claims.append(request)
        if request.request not in self.answers:
            grants, refusals = [], []
            for message in request.attempts:
                grant = self.grants.get(message.attempt)
                if message.attempt in self.later:
                    refusals.append(Refusal(message.attempt, "later", "Busy"))
                elif grant is None or message.attempt in self.claimed:
                    refusals.append(Refusal(message.attempt, "drop", "AlreadyClaimed" if grant else "Unknown"))
                else:
                    self.claimed.add(message.attempt)
                    self.claimed_at[message.attempt] = time.monotonic()
                    grants.append(grant)
            self.answers[request.request] = ClaimAnswer(grants, refusals, self.drain)
        return self.answers[request.request]

    def on_heartbeats(self, body: bytes) -> HeartbeatAnswer:
        request = msgspec.json.decode(body, type=HeartbeatRequest)
        self.heartbeats.append(request)
        verdicts: Any = {attempt: self.verdicts.get(attempt, "continue") for attempt in request.attempts}
        return HeartbeatAnswer(verdicts, self.drain)

    def on_reports(self, body: bytes) -> ReportAnswer:
        request = msgspec.json.decode(body, type=ReportRequest)
        self.report_requests.append(request)
        verdicts: Any = {}
        for report in request.reports:
            if report.attempt in self.stale:
                verdicts[report.attempt] = "stale"
                continue
            verdicts[report.attempt] = "recorded"
            self.reports.setdefault(report.attempt, report)
            self.reported_at.setdefault(report.attempt, time.monotonic())
        return ReportAnswer(verdicts)


def _handler(dispatcher: Dispatcher) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True
        wbufsize = -1

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if dispatcher.away:
                return self.lose()
            if self.headers["Authorization"] != f"Bearer {TOKEN}":
                return self.reply(401, b"{}")
            with dispatcher.lock:
                answer = getattr(dispatcher, "on_" + self.path.removeprefix("/v1/"))(body)
                lost = dispatcher.lost_answers.get(self.path, 0)
                dispatcher.lost_answers[self.path] = max(0, lost - 1)
            return self.lose() if lost else self.reply(200, msgspec.json.encode(answer))

        def lose(self) -> None:
            self.close_connection = True

        def reply(self, status: int, body: bytes) -> None:
            self.send_response_only(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    return Handler


@contextlib.contextmanager
def serving(dispatcher: Dispatcher) -> Iterator[str]:
    """Serve a dispatcher; give its URL."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(dispatcher))
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


def sqs_server() -> contextlib.AbstractContextManager[str]:
    """Run the local SQS; give its URL."""
    return _server("controller.local.sqs")


def secrets_server(file: Path) -> contextlib.AbstractContextManager[str]:
    """Run the local Secrets Manager over a YAML file; give its URL."""
    return _server("controller.local.ecs", "--secrets", str(file))


@contextlib.contextmanager
def _server(module: str, *arguments: str) -> Iterator[str]:
    command = [sys.executable, "-m", module, "--port", "0", *arguments]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        yield process.stdout.readline().strip().rpartition(" ")[2]
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


@dataclass
class World:
    """A queue, a dispatcher, an object store, and the workers that a test starts."""

    folder: Path
    url: str
    sqs_url: str
    dispatcher: Dispatcher
    queue_url: str
    sqs: Any
    workers: list[subprocess.Popen[bytes]] = field(default_factory=list)
    numbers: int = 0

    @property
    def objects(self) -> LocalStore:
        return LocalStore(self.folder / "objects", mkdir=True)

    def bundle(self, code: str) -> str:
        """Store a bundle with the module `job`; return its digest."""
        source = Path(tempfile.mkdtemp(dir=self.folder))
        (source / "job.py").write_text(code)
        bundle = build(source)
        self.objects.put(bundle_key(bundle.digest), bundle.data)
        return bundle.digest

    def grant(
        self,
        code: str = "def main(ctx): return {}",
        *,
        timeout: float = 60,
        digest: str | None = None,
        task: Any = None,
        **more: Any,
    ) -> str:
        """Make one attempt of a python task known to the dispatcher; return its id."""
        self.numbers += 1
        attempt = AttemptId(f"run-{self.numbers}/job/0/1")
        task = {"name": "job", "runtime": "python", "with": {"entrypoint": "job:main"}, **(task or {})}
        self.dispatcher.grants[attempt] = Grant(
            attempt=attempt,
            token=f"token-{self.numbers}",
            task=task,
            dag="test",
            run=f"run-{self.numbers}",
            namespace="default",
            number=1,
            timeout_seconds=timeout,
            bundle=digest or self.bundle(code),
            **more,
        )
        return attempt

    def send(self, attempt: str, delivery: int = 1) -> str:
        """Send the message of an attempt."""
        self.send_body(msgspec.json.encode(Message(AttemptId(attempt), delivery)).decode(), attempt)
        return attempt

    def send_body(self, body: str, group: str) -> None:
        self.sqs.send_message(
            QueueUrl=self.queue_url,
            MessageBody=body,
            MessageGroupId=group,
            MessageDeduplicationId=f"{group}.{time.monotonic_ns()}",
        )

    def submit(self, code: str, **more: Any) -> str:
        """Grant and send one attempt."""
        return self.send(self.grant(code, **more))

    def start_worker(self, **settings: str) -> subprocess.Popen[bytes]:
        """Start a worker process of the pool."""
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(self.folder),
            "AWS_ENDPOINT_URL_SQS": self.sqs_url,
            "SETPOINT_URL": self.url,
            "SETPOINT_POOL": "python",
            "SETPOINT_POOL_TOKEN": TOKEN,
            "SETPOINT_QUEUE_URL": self.queue_url,
            "SETPOINT_OBJECT_STORE": f"file://{self.folder / 'objects'}",
            "SETPOINT_CACHE_DIR": str(self.folder / "cache"),
            **CREDENTIALS,
            **settings,
        }
        log = (self.folder / f"worker-{len(self.workers)}.log").open("ab")
        with log:
            worker = subprocess.Popen(
                [sys.executable, "-m", "workers"], env=environment, stdout=log, stderr=log, cwd=self.folder
            )
        self.workers.append(worker)
        return worker

    def report(self, attempt: str) -> Report:
        """Wait for an attempt's report."""
        try:
            return eventually(lambda: self.dispatcher.reports.get(attempt), f"the report of {attempt}")
        except AssertionError:
            sys.stderr.write(self.worker_log())
            raise

    def worker_log(self) -> str:
        return "".join(path.read_text() for path in sorted(self.folder.glob("worker-*.log")))

    def events(self, name: str) -> list[dict[str, Any]]:
        """Return the worker's own log lines of one event."""
        lines = [json.loads(line) for line in self.worker_log().splitlines() if line.startswith("{")]
        return [line for line in lines if line["event"] == name]

    def log(self, attempt: str) -> str:
        """Return what is stored of an attempt's log."""
        metas = [meta for page in self.objects.list(log_prefix(AttemptId(attempt))) for meta in page]
        paths = sorted(meta["path"] for meta in metas)
        return "".join(bytes(self.objects.get(path).bytes()).decode() for path in paths)

    def running(self, marker: str) -> int:
        """Wait until user code has written its pid into the file `marker`; return it."""
        path = self.folder / marker
        return int(eventually(lambda: path.exists() and path.read_text(), f"{marker} of the task"))

    def messages(self) -> int:
        """Return how many messages the queue holds, visible or in flight."""
        names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        answer = self.sqs.get_queue_attributes(QueueUrl=self.queue_url, AttributeNames=names)
        return sum(int(value) for value in answer["Attributes"].values())

    def close(self) -> None:
        """End all workers; nothing that they started may outlive them."""
        families = []
        for worker in self.workers:
            with contextlib.suppress(psutil.NoSuchProcess):
                process = psutil.Process(worker.pid)
                families += process.children(recursive=True)
            worker.send_signal(signal.SIGCONT)
            worker.kill()
            worker.wait()
        eventually(lambda: not any(alive(process.pid) for process in families), f"the end of {families}")


@contextlib.contextmanager
def world(folder: Path, sqs_url: str) -> Iterator[World]:
    """Make a queue of its own and a dispatcher; end all workers afterwards."""
    sqs = boto3.client(
        "sqs",
        endpoint_url=sqs_url,
        region_name="eu-west-1",
        aws_access_key_id="local",
        aws_secret_access_key="local",
    )
    name = f"setpoint-{os.getpid()}-{time.monotonic_ns()}.fifo"
    queue_url = sqs.create_queue(QueueName=name, Attributes={"FifoQueue": "true"})["QueueUrl"]
    dispatcher = Dispatcher()
    with serving(dispatcher) as url:
        made = World(folder, url, sqs_url, dispatcher, queue_url, sqs)
        try:
            yield made
        finally:
            made.close()
            sqs.delete_queue(QueueUrl=queue_url)


def exited(process: subprocess.Popen[bytes]) -> int:
    """Wait for a worker's end; return its exit code."""
    return process.wait(PATIENCE)


def alive(pid: int) -> bool:
    """Return whether a process runs; a zombie does not."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
