"""What only a real broker can show: walls between sites, TLS, and a leaf node without its hub."""

import asyncio
import json
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from nats.aio.msg import Msg

from agents.bus import BusAway
from agents.bus_nats import NatsBus
from tests.nats import NatsServer, free_port
from tests.test_bus_contract import take
from tests.virtual_clock import until

BEAT = 0.3


def permissions(site: str) -> str:
    """What a site's agent may do at the broker, as agents/README.md says it."""
    readme = (Path(__file__).parents[1] / "agents" / "README.md").read_text()
    block = readme.split("```nats\n")[1].split("```")[0]
    return block.replace("north", site)


def login(folder: Path, user: str) -> str:
    path = folder / f"{user}.json"
    path.write_text(json.dumps({"user": user, "password": f"pw-{user}"}))
    path.chmod(0o600)
    return f"?credentials={path}"


def test_a_stolen_agent_can_speak_and_hear_for_its_own_site_only(tmp_path: Path) -> None:
    users = "\n".join(
        f'{{ user: {site}, password: "pw-{site}", {permissions(site)} }}'
        for site in ("north", "south")
    )
    server = NatsServer(
        f'authorization {{ users = [ {{ user: centre, password: "pw-centre" }}\n{users} ] }}'
    ).start()

    async def run() -> None:
        centre = await NatsBus.connect(server.url + login(tmp_path, "centre"), beat=BEAT)
        north = await NatsBus.connect(server.url + login(tmp_path, "north"), beat=BEAT)
        for site in ("north", "south"):
            await centre.publish(f"order.{site}", f"order for {site}".encode())
            await centre.publish(f"roster.{site}", f"roster of {site}".encode())
        # Its own: everything.
        await north.publish("report.north", b"reading")
        [report] = await take(centre, "report.*", bool)
        [order] = await take(north, "order.north", bool)
        [roster] = await take(north, "roster.north", bool)
        assert (report.data, order.data) == (b"reading", b"order for north")
        assert roster.data == b"roster of north"
        # Another's, and the centre's: nothing.
        client = north._client
        overheard: list[bytes] = []

        async def overhear(message: Msg) -> None:
            overheard.append(message.data)

        for subject in ("_INBOX_centre.>", "_INBOX.>", ">", "report.>", "order.>"):
            await client.subscribe(subject, cb=overhear)
        for subject in ("report.south", "order.south", "order.north", "roster.north"):
            await client.publish(subject, b"forged")
        await client.flush()
        foreign = ("order.south", "roster.south", "roster.*", "report.*", "report.south")
        heard = await asyncio.gather(
            *(asyncio.wait_for(take(north, subject, bool), 1) for subject in foreign),
            return_exceptions=True,
        )
        assert all(isinstance(one, TimeoutError) for one in heard)
        await centre.publish("report.south", b"secret")
        reports = await take(centre, "report.*", lambda got: b"secret" in got)
        assert [one.data for one in reports] == [b"secret"]
        [order] = await take(centre, "order.south", bool)
        assert order.data == b"order for south"
        [roster] = await take(centre, "roster.north", bool)
        assert roster.data == b"roster of north"
        assert overheard == []
        await north.close()
        await centre.close()

    try:
        asyncio.run(run())
    finally:
        server.remove()


def certificate(folder: Path) -> Path:
    """A certificate for 127.0.0.1 that is its own authority."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "hub")])
    now = datetime.now(UTC)
    built = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    (folder / "key.pem").write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    path = folder / "cert.pem"
    path.write_bytes(built.public_bytes(serialization.Encoding.PEM))
    return path


def test_tls_with_a_private_authority_and_none_without_it(tmp_path: Path) -> None:
    cert = certificate(tmp_path)
    server = NatsServer(f'tls {{ cert_file: "{cert}", key_file: "{tmp_path}/key.pem" }}').start()
    url = server.url.replace("nats://", "tls://")

    async def run() -> None:
        bus = await NatsBus.connect(f"{url}?ca={cert}")
        await bus.publish("report.north", b"x")
        await bus.close()
        strange = await NatsBus.connect(url, patience=1)
        with pytest.raises(BusAway):
            await strange.publish("report.north", b"x")
        await strange.close()

    try:
        asyncio.run(run())
    finally:
        server.remove()


def test_a_leaf_node_keeps_readings_while_its_hub_is_down() -> None:
    port = free_port()
    hub = NatsServer(f'server_name: hub\nleafnodes {{ listen: "127.0.0.1:{port}" }}', "hub").start()
    remote = (
        f'{{ url: "nats-leaf://127.0.0.1:{port}",'
        ' deny_exports: ["report.>"], deny_imports: ["report.>"] }'
    )
    leaf = NatsServer(
        f'server_name: north\nleafnodes {{ reconnect: "1s", remotes: [ {remote} ] }}', "north"
    ).start()

    async def run() -> None:
        centre = await NatsBus.connect(f"{hub.url}?leaves=north", ack_wait=2, beat=BEAT)
        agent = await NatsBus.connect(f"{leaf.url}?hub=hub", ack_wait=2, beat=BEAT)
        got: list[bytes] = []

        async def receive() -> None:
            async for delivery in centre.receive("report.*"):
                assert delivery.subject == "report.north"
                got.append(delivery.data)
                await delivery.ack()

        async def publish(data: bytes) -> None:
            while True:
                try:
                    return await agent.publish("report.north", data)
                except BusAway:
                    await asyncio.sleep(0.1)

        await publish(b"first")  # the leaf's stream is there before the hub looks for it
        receiving = asyncio.create_task(receive())
        await centre.publish("roster.north", b"roster")
        await centre.publish("order.north", b"order")
        [roster] = await take(agent, "roster.north", bool)
        [order] = await take(agent, "order.north", bool)
        assert (roster.data, order.data) == (b"roster", b"order")
        await publish(b"before")
        await until(lambda: b"before" in got)

        hub.kill()
        for number in range(200):
            await publish(b"%d" % number)
        leaf.kill()
        leaf.start()
        await publish(b"last")
        assert got == [b"first", b"before"]
        hub.start()
        wanted = {b"first", b"before", b"last", *(b"%d" % number for number in range(200))}
        await until(lambda: set(got) == wanted, 40)
        assert len(got) == len(wanted)  # once each: the two streams do not both take it

        await centre.publish("order.north", b"again")
        await take(agent, "order.north", lambda seen: b"again" in seen)
        receiving.cancel()
        await asyncio.gather(receiving, return_exceptions=True)
        await agent.close()
        await centre.close()

    try:
        asyncio.run(run())
    finally:
        leaf.remove()
        hub.remove()


def test_a_refused_login_is_tried_again_when_the_broker_knows_it(tmp_path: Path) -> None:
    server = NatsServer('authorization { users = [ { user: north, password: "other" } ] }').start()

    async def run() -> None:
        bus = await NatsBus.connect(server.url + login(tmp_path, "north"), patience=1.5)
        with pytest.raises(BusAway):
            await bus.publish("report.north", b"x")
        server.kill()
        server.configure('authorization { users = [ { user: north, password: "pw-north" } ] }')
        server.start()

        await asyncio.wait_for(reach(bus), 15)
        await bus.close()

    try:
        asyncio.run(run())
    finally:
        server.remove()


class Cable:
    """A line to the broker that can be cut; `stranger`: what answers there instead of it."""

    def __init__(self, broker: int) -> None:
        self._broker = broker
        self._ends: list[asyncio.StreamWriter] = []
        self.stranger: bytes | None = None

    async def start(self) -> str:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return f"nats://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    def cut(self) -> None:
        for end in self._ends:
            end.transport.abort()
        self._ends.clear()

    def stop(self) -> None:
        self._server.close()
        self.cut()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._ends.append(writer)
        if self.stranger is not None:
            writer.write(self.stranger)
            return
        inward, outward = await asyncio.open_connection("127.0.0.1", self._broker)
        self._ends.append(outward)
        await asyncio.gather(self._carry(reader, outward), self._carry(inward, writer))

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await reader.read(65536):
                writer.write(data)
        writer.close()


async def reach(bus: NatsBus) -> None:
    while True:
        try:
            return await bus.publish("report.north", b"x")
        except BusAway:
            await asyncio.sleep(0.1)


@pytest.fixture
def server() -> Iterator[NatsServer]:
    one = NatsServer().start()
    yield one
    one.remove()


@pytest.mark.parametrize("met", ["at the start", "again"])
@pytest.mark.parametrize("says", [b"x" * 100_000, b"INFO\r\n", b"INFO []\r\n"])
def test_whatever_else_answers_there_the_broker_is_found_again(
    server: NatsServer, monkeypatch: pytest.MonkeyPatch, says: bytes, met: str
) -> None:
    """A captive portal, or a proxy before a broker that is just starting."""
    monkeypatch.setattr("agents.bus_nats.AWAY_S", 2.0)

    async def run() -> None:
        cable = Cable(server.port)
        url = await cable.start()
        if met == "at the start":
            cable.stranger = says
        bus = await NatsBus.connect(url, patience=1.5)
        cable.stranger = says
        cable.cut()
        await asyncio.sleep(1.5)
        cable.stranger = None
        cable.cut()
        await asyncio.wait_for(reach(bus), 15)
        await bus.close()
        cable.stop()

    asyncio.run(run())


def test_a_line_that_is_often_cut_leaves_nothing_behind(server: NatsServer) -> None:
    async def run() -> None:
        cable = Cable(server.port)
        bus = await NatsBus.connect(await cable.start(), beat=0.1)
        listening = asyncio.create_task(anext(bus.receive("order.north")))
        held = []
        for _ in range(4):
            await asyncio.wait_for(reach(bus), 15)
            await asyncio.sleep(1.5)  # the receiver asks anew, too
            held.append(len(asyncio.all_tasks()))
            cable.stranger = b"busy\r\n"
            cable.cut()
            await asyncio.sleep(1)
            cable.stranger = None
        assert held[-1] <= held[0]
        listening.cancel()
        await bus.close()
        cable.stop()

    asyncio.run(run())
