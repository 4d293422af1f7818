"""The bus over NATS JetStream: one broker for a county, a leaf node at a site that wants one.

Address: `nats://host:port`, `tls://`, `ws://` or `wss://`, with options after a question mark:

- `credentials=/path/file.json`: `{"user": …, "password": …}` or `{"token": …}`, mode 0600;
- `ca=/path/ca.pem`: the authority that signed the broker's certificate;
- `hub=DOMAIN`: this is a leaf node; orders and rosters are the hub's, reports go into a stream of
  the leaf itself, so that they are kept while the uplink is down;
- `leaves=DOMAIN,DOMAIN`: this is the hub; reports are also fetched from these leaf nodes.
"""

import asyncio
import json
import logging
import ssl
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit, urlunsplit
from uuid import uuid4

import nats.errors
import nats.js.errors
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.js import JetStreamContext
from nats.js.api import (
    AckPolicy,
    ConsumerConfig,
    DeliverPolicy,
    DiscardPolicy,
    RetentionPolicy,
    StorageType,
    StreamConfig,
)

from agents.bus import BusAway, Delivery, NotSent, check_subject
from agents.credentials import CredentialProblem, Credentials

log = logging.getLogger(__name__)

_DAY = 86400.0
_BATCH = 256
_ERRORS = (nats.errors.Error, OSError, TimeoutError, asyncio.InvalidStateError)
"""What the client raises while the server is away, busy or restarting."""
_NO_BROKER = (ValueError, TypeError, LookupError, AttributeError, AssertionError, EOFError)
"""What it raises on its way in when something else answers there, such as a captive portal."""
AWAY_S = 30.0
"""After which a client that is still not connected is replaced: what raises the above while it
connects again ends that for ever, without a word."""


class _Restart(Exception):
    """The consumer is gone or silent: make it anew."""


@dataclass(frozen=True)
class _Address:
    """An address taken apart. Raises ValueError for one that makes no sense."""

    server: str
    hub: str = ""
    leaves: tuple[str, ...] = ()
    login: dict[str, str] = field(default_factory=dict, repr=False)
    tls: ssl.SSLContext | None = None

    @classmethod
    def parse(cls, url: str) -> "_Address":
        parts = urlsplit(url)
        options = {name: values[-1] for name, values in parse_qs(parts.query).items()}
        if unknown := options.keys() - {"credentials", "ca", "hub", "leaves"}:
            raise ValueError(f"the bus address has an unknown option: {', '.join(sorted(unknown))}")
        if not parts.hostname:
            raise ValueError("the bus address names no host")
        if parts.password:
            raise ValueError("no password in the bus address: use ?credentials=/path/file.json")
        try:
            tls = ssl.create_default_context(cafile=options["ca"]) if "ca" in options else None
        except OSError as error:
            raise ValueError(f"the authority's certificate cannot be read: {error}") from None
        return cls(
            server=urlunsplit((parts.scheme, parts.netloc, parts.path, "", "")),
            hub=options.get("hub", ""),
            leaves=tuple(filter(None, options.get("leaves", "").split(","))),
            login=_login(Path(options["credentials"])) if "credentials" in options else {},
            tls=tls,
        )


def _login(path: Path) -> dict[str, str]:
    if path.suffix != ".json":
        raise ValueError(f"the bus credentials must be a .json file, not '{path.name}'")
    try:
        parts = Credentials(path.parent).find(path.stem).parts
    except CredentialProblem as problem:
        raise ValueError(f"bus credentials: {problem}") from None
    if parts.keys() not in ({"user", "password"}, {"token"}):
        raise ValueError(f"'{path.name}' must hold user and password, or token, and nothing else")
    return parts


class NatsBus:
    """Satisfies `agents.bus.Bus`."""

    def __init__(self, address: _Address, ack_wait: float, beat: float) -> None:
        self._address = address
        self._ack_wait = ack_wait
        self._beat = beat
        self._client = Client()
        self._up = asyncio.Event()
        self._prepared = False
        self._complaint = ""
        self._keeper = asyncio.create_task(self._keep())

    @classmethod
    async def connect(
        cls, url: str, ack_wait: float = 30.0, beat: float = 5.0, patience: float = 5.0
    ) -> "NatsBus":
        """Connect, or go on trying in the background when nobody answers within `patience` seconds.

        `ack_wait`: seconds after which an unacknowledged message comes again. `beat`: seconds
        between the server's signs of life to a receiver; after three missing ones it asks anew.
        """
        bus = cls(await asyncio.to_thread(_Address.parse, url), ack_wait, beat)
        try:
            async with asyncio.timeout(patience):
                await bus._up.wait()
        except TimeoutError:
            log.warning("bus: no connection to %s yet, trying on", bus._address.server)
        return bus

    async def publish(self, subject: str, data: bytes) -> None:
        check_subject(subject)
        if not self._client.is_connected:
            raise NotSent("not connected")
        try:
            await self._prepare()
            await self._client.jetstream().publish(subject, data, timeout=5)
        except nats.errors.MaxPayloadError:
            raise ValueError(f"a message of {len(data)} bytes is too long for the broker") from None
        except _ERRORS as error:
            self._prepared = False
            raise BusAway(type(error).__name__) from error

    async def receive(self, subject: str) -> AsyncGenerator[Delivery, None]:
        what, _ = check_subject(subject, wildcard=True)
        domains = ["", *self._address.leaves] if what == "report" else [self._address.hub]
        arrived: asyncio.Queue[Delivery] = asyncio.Queue(maxsize=1)
        tasks = [asyncio.create_task(self._fill(arrived, subject, one)) for one in domains]
        try:
            while True:
                yield await arrived.get()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def close(self) -> None:
        self._complaint = "closed"  # on purpose: nothing to warn of
        self._keeper.cancel()
        await asyncio.gather(self._keeper, return_exceptions=True)
        self._up.clear()
        if not self._client.is_closed:
            await self._client.close()

    async def _keep(self) -> None:
        """Hold a connection for ever. The client itself gives up after a refused login."""
        while True:
            gone = asyncio.Event()
            try:
                await self._open(gone)
                self._up.set()
                self._note("")
                await self._until_useless(gone)
            except (*_ERRORS, *_NO_BROKER) as error:
                self._note(str(error) or type(error).__name__)
            self._up.clear()
            if not self._client.is_closed:
                await self._client.close()
            await asyncio.sleep(1)

    async def _until_useless(self, gone: asyncio.Event) -> None:
        """Until the client says that it gives up, or has been away for too long."""
        away = 0
        while away < AWAY_S:
            with suppress(TimeoutError):
                async with asyncio.timeout(1):
                    await gone.wait()
                    return
            away = 0 if self._client.is_connected else away + 1

    async def _open(self, gone: asyncio.Event) -> None:
        async def closed() -> None:
            gone.set()

        async def lost() -> None:
            self._note("connection lost")

        async def back() -> None:
            self._note("")

        async def failed(error: Exception) -> None:
            log.debug("bus: %r", error)

        self._client = Client()
        address = self._address
        options: dict[str, Any] = dict(address.login)
        if "user" in options:  # so that no other site can be allowed to listen at our inbox
            options["inbox_prefix"] = f"_INBOX_{options['user']}"
        if address.tls:
            options["tls"] = address.tls
        await self._client.connect(
            address.server,
            allow_reconnect=True,
            max_reconnect_attempts=-1,
            reconnect_time_wait=1,
            connect_timeout=5,
            pending_size=0,  # what cannot be sent is not kept: the sender tries again itself
            closed_cb=closed,
            disconnected_cb=lost,
            reconnected_cb=back,
            error_cb=failed,
            **options,
        )

    def _note(self, complaint: str) -> None:
        if complaint and not self._complaint:
            log.warning("bus: %s: %s", self._address.server, complaint)
        elif self._complaint and not complaint:
            log.info("bus: connected to %s", self._address.server)
        self._complaint = complaint

    def _streams(self, domain: str) -> JetStreamContext:
        """The streams of this broker, or those of another one of that domain."""
        return self._client.jetstream(domain=domain) if domain else self._client.jetstream()

    async def _fill(self, arrived: asyncio.Queue[Delivery], subject: str, domain: str) -> None:
        """Ask for ever, anew whenever the broker is gone or silent."""
        while True:
            await self._up.wait()
            try:
                async with aclosing(self._pull(subject, domain)) as messages:
                    async for message in messages:
                        await arrived.put(Delivery(message.subject, message.data, _ack_of(message)))
            except (_Restart, *_ERRORS) as error:
                log.debug("bus: %s is asked for anew: %r", subject, error)
                if not domain:
                    self._prepared = False
                await asyncio.sleep(min(1.0, self._beat))

    async def _prepare(self) -> None:
        """Make the streams that are missing; one that exists stays as its keeper has set it."""
        if self._prepared:
            return
        manager = self._streams("")
        for stream in _streams():
            if self._address.hub and stream.name != "REPORT":
                continue  # the hub's business
            try:
                await manager.stream_info(str(stream.name))
            except nats.js.errors.NotFoundError:
                await manager.add_stream(stream)
        self._prepared = True

    async def _pull(self, subject: str, domain: str) -> AsyncGenerator[Msg, None]:
        """Ask for batches and hand out what comes, at once, until the consumer is silent."""
        await self._prepare()
        client, streams = self._client, self._streams(domain)
        arrived: asyncio.Queue[Msg] = asyncio.Queue()
        inbox = client.new_inbox()
        subscription = await client.subscribe(inbox, cb=arrived.put)

        async def consume(subject: str) -> tuple[str, int]:
            """Where to ask for these messages, and how many lie there."""
            what, _ = check_subject(subject, wildcard=True)
            config = _consumer(subject, domain, self._ack_wait)
            made = await streams.add_consumer(what.upper(), config=config)
            ask = f"{streams._prefix}.CONSUMER.MSG.NEXT.{what.upper()}.{config.name}"
            return ask, made.num_pending or 0

        async def batch(ask: str, most: int) -> AsyncIterator[Msg]:
            request = {
                "batch": most,
                "expires": int(self._beat * 6e9),
                "idle_heartbeat": int(self._beat * 1e9),
            }
            await client.publish(ask, json.dumps(request).encode(), reply=inbox)
            async for message in _batch(arrived, self._beat * 3, most):
                yield message

        try:
            if subject.startswith("order."):
                # What was said while we were away counts for the orders of that time.
                last, waiting = await consume(subject.replace("order.", "roster."))
                if waiting:
                    async for message in batch(last, 1):
                        yield message
            ask, _ = await consume(subject)
            while True:
                async for message in batch(ask, _BATCH):
                    yield message
        finally:
            # While it is away, too: it would ask for it again once it is back.
            if not client.is_closed:
                await subscription.unsubscribe()


async def _batch(arrived: asyncio.Queue[Msg], patience: float, left: int) -> AsyncIterator[Msg]:
    """The messages of one request. Raises _Restart when not even a sign of life comes."""
    while left:
        try:
            async with asyncio.timeout(patience):
                message = await arrived.get()
        except TimeoutError:
            raise _Restart("silence") from None
        status = (message.headers or {}).get("Status", "") if not message.data else ""
        if status in ("404", "408"):
            return
        if status and status != "100":
            raise _Restart(status)
        if not status:
            left -= 1
            yield message


def _ack_of(message: Msg) -> Any:
    async def ack() -> None:
        try:
            await message.ack()
        except _ERRORS as error:  # then it comes again
            log.debug("bus: an acknowledgement is lost: %r", error)

    return ack


def _streams() -> list[StreamConfig]:
    return [
        StreamConfig(
            name="REPORT",
            subjects=["report.*"],
            max_age=3 * _DAY,
            max_bytes=2**30,
            discard=DiscardPolicy.OLD,
            storage=StorageType.FILE,
        ),
        # An order that nobody took within the hour is long dead.
        StreamConfig(
            name="ORDER",
            subjects=["order.*"],
            retention=RetentionPolicy.WORK_QUEUE,
            max_age=3600.0,
            storage=StorageType.FILE,
        ),
        StreamConfig(
            name="ROSTER",
            subjects=["roster.*"],
            max_msgs_per_subject=1,
            storage=StorageType.FILE,
        ),
    ]


def _consumer(subject: str, domain: str, ack_wait: float) -> ConsumerConfig:
    what, whose = check_subject(subject, wildcard=True)
    config = ConsumerConfig(
        filter_subject=subject,
        ack_policy=AckPolicy.EXPLICIT,
        ack_wait=ack_wait,
        max_ack_pending=4 * _BATCH,
    )
    if what == "roster":  # every receiver its own
        config.name = uuid4().hex
        config.deliver_policy = DeliverPolicy.LAST_PER_SUBJECT
        config.inactive_threshold = 300.0
    else:
        name = f"{what}-{'all' if whose == '*' else whose}"
        if what == "report" and domain:  # a leaf's answers must not be taken for the hub's own
            name = f"{name}-{domain}"
        config.name = config.durable_name = name
        config.deliver_policy = DeliverPolicy.ALL
    return config
