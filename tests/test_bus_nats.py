"""What only a real broker can show: walls between sites, TLS, and a leaf node without its hub."""

import asyncio
import json
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


async def reach(bus: NatsBus) -> None:
    while True:
        try:
            return await bus.publish("report.north", b"x")
        except BusAway:
            await asyncio.sleep(0.1)


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
        told, order = await take(north, "order.north", lambda got: len(got) == 2)
        [roster] = await take(north, "roster.north", bool)
        assert (report.data, order.data) == (b"reading", b"order for north")
        assert told.data == roster.data
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
        _, order = await take(centre, "order.south", lambda got: len(got) == 2)
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
        orders = await take(agent, "order.north", lambda seen: b"order" in seen)
        assert roster.data == b"roster"
        assert [one.data for one in orders] == [b"roster", b"order"]
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
