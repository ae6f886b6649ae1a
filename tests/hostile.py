#!/usr/bin/env python3
"""Runs hostile clients against a server during a sale, and measures the effect on buyers.

  tests/hostile.py                                          10,000 hostile connections, 200 buyers, 30 s each phase
  tests/hostile.py --hostile 500 --buyers 20 --seconds 5    a short try

Two phases of the same length: the buyers alone, then with the hostile clients. The buyers come from 127.0.0.3, all
hostile connections from 127.0.0.2, in equal shares:

  idle     a connection without a request
  headers  a request whose headers never end, a few bytes a second
  body     a request whose body never ends, a byte a second
  unread   requests for large answers of which nothing is read

A connection that the server ends is opened again, so that the number stays. Starts a MariaDB and a server of its own, and
leaves nothing behind. BINARY is the server to try; build it with `cargo build --release` for figures that count. Exits with 1
when a buyer was turned away, or when a probe of liveness wasn't answered. Needs Python 3.9 and mariadbd.
"""
import argparse, asyncio, collections, json, multiprocessing, os, resource, socket, sys, time, uuid

sys.dont_write_bytecode = True
from chaos import PASSWORD, Server, ask, stage

HOSTILE_ADDRESS, BUYER_ADDRESS = "127.0.0.2", "127.0.0.3"
LARGE = b"GET /swagger-ui/swagger-ui-bundle.js HTTP/1.1\r\nHost: x\r\n\r\n"
BEGIN = b"POST /api/v1/users HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 60000\r\n\r\n{"


async def connect(port, address, receive=None):
    loop, sock = asyncio.get_running_loop(), socket.socket()
    sock.setblocking(False)
    if receive:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive)
    sock.setsockopt(socket.IPPROTO_IP, getattr(socket, "IP_BIND_ADDRESS_NO_PORT", 24), 1)
    try:
        sock.bind((address, 0))
        await asyncio.wait_for(loop.sock_connect(sock, ("127.0.0.1", port)), 10)
    except BaseException:
        sock.close()
        raise
    return sock


async def hostile(port, kind, counts):
    """One hostile client: holds a connection for as long as the server allows, again and again."""
    loop = asyncio.get_running_loop()
    first = {"idle": b"", "headers": b"GET /livez HTTP/1.1\r\nHost: x\r\nX-Slow: ", "body": BEGIN, "unread": LARGE * 40}
    while True:
        try:
            sock = await connect(port, HOSTILE_ADDRESS, 4096 if kind == "unread" else None)
        except (OSError, asyncio.TimeoutError):
            counts["failed"] += 1
            await asyncio.sleep(1)
            continue
        counts["open"] += 1
        try:
            with sock:
                await loop.sock_sendall(sock, first[kind])
                while True:
                    if kind == "unread":
                        # Fails once the server has reset the connection.
                        await loop.sock_sendall(sock, LARGE)
                        await asyncio.sleep(1)
                    elif kind == "idle":
                        if not await loop.sock_recv(sock, 1):
                            break
                    else:
                        await loop.sock_sendall(sock, b" ")
                        await asyncio.sleep(1)
        except OSError:
            pass
        counts["open"] -= 1
        counts[f"ended {kind}"] += 1
        await asyncio.sleep(0.5)


def attack(port, number, seconds, results):
    async def run():
        counts = collections.Counter()
        kinds = ("idle", "headers", "body", "unread")
        tasks = []
        for index in range(number):
            tasks.append(asyncio.ensure_future(hostile(port, kinds[index % 4], counts)))
            if index % 200 == 199:
                await asyncio.sleep(0.02)
        most = 0
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            await asyncio.sleep(0.2)
            most = max(most, counts["open"])
        results.put({"most open": most, **counts})

    asyncio.run(run())


class Buyer:
    """A buyer with its own connection: polls, reads the seat map, holds a seat, cancels the hold."""

    def __init__(self, port, bearer, concert, performance):
        self.port, self.headers, self.concert, self.performance = port, bearer, concert, performance
        self.sock, self.rest, self.results = None, b"", []

    async def send(self, kind, method, path, body=None, headers={}):
        began = time.monotonic()
        try:
            status, answer = await asyncio.wait_for(self.exchange(method, path, body, headers), 30)
        except (OSError, asyncio.TimeoutError, ValueError) as error:
            self.close()
            status, answer = type(error).__name__, {}
        self.results.append((kind, status, time.monotonic() - began))
        return answer

    def close(self):
        if self.sock:
            self.sock.close()
        self.sock, self.rest = None, b""

    async def exchange(self, method, path, body, headers):
        loop = asyncio.get_running_loop()
        if self.sock is None:
            self.sock = await connect(self.port, BUYER_ADDRESS)
        text = json.dumps(body).encode() if body is not None else b""
        lines = {"Host": "x", "Content-Length": len(text), "Content-Type": "application/json", **self.headers, **headers}
        head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
        await loop.sock_sendall(self.sock, f"{method} {path} HTTP/1.1\r\n{head}\r\n".encode() + text)

        async def more():
            data = await loop.sock_recv(self.sock, 65536)
            if not data:
                raise ConnectionError("closed")
            self.rest += data

        while b"\r\n\r\n" not in self.rest:
            await more()
        head, self.rest = self.rest.split(b"\r\n\r\n", 1)
        fields = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:])
        length = int(fields.get(b"content-length", 0))
        while len(self.rest) < length:
            await more()
        answer, self.rest = self.rest[:length], self.rest[length:]
        if fields.get(b"connection") == b"close":
            self.close()
        return int(head.split()[1]), json.loads(answer) if answer else {}

    async def go(self, until):
        joined = await self.send("join", "POST", "/api/v1/queue/tokens", {"concertId": self.concert})
        token = {"Queue-Token": joined.get("queueToken", "")}
        while time.monotonic() < until:
            await self.send("poll", "GET", "/api/v1/queue/tokens/current", headers=token)
            await self.send("map", "GET", f"/api/v1/performances/{self.performance}/seats", headers=token)
            wish = {"performanceId": self.performance, "bestAvailable": {"quantity": 1}}
            booking = await self.send("hold", "POST", "/api/v1/bookings", wish, token)
            if "bookingId" in booking:
                await self.send("cancel", "POST", f"/api/v1/bookings/{booking['bookingId']}/cancel")
            await asyncio.sleep(0.5)
        self.close()


async def probe(port, until, results):
    """Requests liveness, each time over a new connection."""
    prober = Buyer(port, {}, 0, 0)
    while time.monotonic() < until:
        await prober.send("livez", "GET", "/livez")
        prober.close()
        await asyncio.sleep(0.1)
    results.extend(prober.results)


async def phase(port, bearers, concert, performance, seconds):
    until, results = time.monotonic() + seconds, []
    buyers = [Buyer(port, bearer, concert, performance) for bearer in bearers]
    await asyncio.gather(probe(port, until, results), *(buyer.go(until) for buyer in buyers))
    for buyer in buyers:
        results.extend(buyer.results)
    return results


def report(name, results, usage):
    print(f"\n{name}: {usage[0]} MiB resident, {usage[1]} threads")
    bad = collections.Counter()
    for kind in ("livez", "join", "poll", "map", "hold", "cancel"):
        times = sorted(seconds for it, _, seconds in results if it == kind)
        answers = collections.Counter(status for it, status, _ in results if it == kind)
        bad.update({f"{kind} {status}": count for status, count in answers.items() if status not in (200, 201)})
        if times:
            at = lambda share: 1000 * times[min(len(times) - 1, int(share * len(times)))]
            print(f"  {kind:7} {len(times):7} answers, ms: p50 {at(0.5):7.1f}  p99 {at(0.99):7.1f}  most {at(1):7.1f}")
    print("  turned away:", dict(bad) or "none")
    return bad


def prepare(port, number):
    """A sale that admits all users, and this number of logged-in users."""
    _, _, concerts = ask(port, "GET", "/api/v1/concerts")
    concert = concerts["items"][0]["concertId"]
    _, _, performances = ask(port, "GET", f"/api/v1/concerts/{concert}/performances")
    _, _, admin = ask(port, "POST", "/api/v1/auth/login", {"email": "admin@demo.example", "password": PASSWORD})
    queue = {"mode": "OPEN", "admitCount": 1000, "admitIntervalSeconds": 1, "maxActive": 100000, "activeSeconds": 3600,
             "claimSeconds": 3600, "salesOpenAt": None}
    status, _, answer = ask(port, "PUT", f"/api/v1/admin/concerts/{concert}/queue", queue,
                            {"Authorization": f"Bearer {admin['accessToken']}"})
    if status != 200:
        sys.exit(f"the queue can't be opened: {answer}")
    bearers = []
    for index in range(number):
        email = f"buyer{index}-{uuid.uuid4().hex[:8]}@demo.example"
        ask(port, "POST", "/api/v1/users", {"email": email, "password": PASSWORD, "name": "Buyer"})
        _, _, login = ask(port, "POST", "/api/v1/auth/login", {"email": email, "password": PASSWORD})
        bearers.append({"Authorization": f"Bearer {login['accessToken']}"})
    return bearers, concert, performances["items"][0]["performanceId"]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hostile", type=int, default=10_000, help="hostile connections, 20000 at most")
    parser.add_argument("--buyers", type=int, default=200, help="buyers, 1000 at most")
    parser.add_argument("--seconds", type=int, default=30, help="length of each phase, 300 at most")
    options = parser.parse_args()
    number, buyers, seconds = min(options.hostile, 20_000), min(options.buyers, 1_000), min(options.seconds, 300)
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    with stage() as (directory, database, failures):
        server = Server(database, directory, "server")
        try:
            bearers, concert, performance = prepare(server.port, buyers)
            calm = asyncio.run(phase(server.port, bearers, concert, performance, seconds))
            failures += report("Buyers alone", calm, server.usage())
            attacked = multiprocessing.Queue()
            attackers = multiprocessing.Process(target=attack, args=(server.port, number, seconds + 5, attacked))
            attackers.start()
            time.sleep(3)
            hostile_phase = asyncio.run(phase(server.port, bearers, concert, performance, seconds))
            failures += report(f"With {number} hostile connections", hostile_phase, server.usage())
            print("  hostile:", attacked.get(timeout=60))
            # Cancelling ten thousand tasks may take for ever: `wait_for` swallows a cancellation now and then.
            attackers.terminate()
            attackers.join()
            time.sleep(5)
            print(f"\nAfterwards: {server.usage()[0]} MiB resident")
        finally:
            server.close()
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    main()
