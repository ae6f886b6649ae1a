#!/usr/bin/env python3
"""Sells seats while servers and the Kafka broker are killed, and checks that the topic has every event, in order.

  tests/kafka.py [SECONDS]  the length of the sale (default 40)

Two servers on one database send their events to a topic of three partitions. Buyers hold, pay and refund at both of them;
one after the other, a server, the broker, and both are killed and brought back. Afterwards a consumer reads the topic: every
event of the outbox must be there, keyed by its subject, and the first arrivals of each booking's events in order.

It starts a MariaDB, servers and a broker of its own, on free ports and in a temporary directory, and leaves nothing behind.
BINARY is the server under test (default target/debug/concert-reservation; `cargo build --features kafka` first). Needs
Python 3.9, mariadbd and what scripts/kafka needs. Exits with 1 if an assertion fails.
"""
import collections, contextlib, datetime, json, os, subprocess, sys, threading, time, uuid

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, os.path.join(ROOT, "tests"))
import chaos
from chaos import ask

BUYERS = 8
SEATS_PER_BUYER = 5
TOPIC = "events"
API = "/api/v1"


class Broker:
    def __init__(self, directory):
        self.directory = os.path.join(directory, "kafka")
        self.address = self.run("start")
        self.run("topic", TOPIC, "--partitions", "3")

    def run(self, *words):
        script = [os.path.join(ROOT, "scripts/kafka"), *words]
        done = subprocess.run(script, env=dict(os.environ, KAFKA_DIR=self.directory), stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, text=True)
        # A consumer ends with an error when no message comes any more.
        if done.returncode and words[0] != "read":
            sys.exit(f"scripts/kafka {' '.join(words)}: {done.stderr}")
        return done.stdout.strip()

    def messages(self):
        """Partition, time of sending in milliseconds, key and event of every message, by partition in order."""
        properties = [word for name in ("partition", "timestamp") for word in ("--formatter-property", f"print.{name}=true")]
        for line in self.run("read", TOPIC, "--timeout-ms", "10000", *properties).splitlines():
            stamp, partition, key, value = line.split("\t", 3)
            yield int(partition.split(":")[1]), int(stamp.split(":")[1]), key, json.loads(value)


class Server(chaos.Server):
    """A server that sends its events to the broker."""

    def __init__(self, database, directory, name, broker):
        os.environ.update(KAFKA_BROKERS=broker.address, KAFKA_TOPIC=TOPIC, MAX_SEATS_PER_USER=str(SEATS_PER_BUYER))
        super().__init__(database, directory, name)

    def kill(self):
        self.process.kill()
        self.process.wait()


class Sale:
    """A hall, and buyers who hold, pay and refund at any server that answers."""

    def __init__(self, servers):
        self.servers, self.stop, self.results = servers, threading.Event(), collections.Counter()
        port = servers[0].port
        admin = self.log_in(port, "admin@demo.example")
        # A performance of its own, with seats for each buyer, in a sale without a queue.
        venue = self.make(port, admin, "venues", {"name": "Hall", "address": "Seoul"})["venueId"]
        self.concert = self.make(port, admin, "concerts", {"title": "Spring", "artist": "Jin", "category": "POP"})["concertId"]
        queue = {"mode": "OPEN", "admitCount": 200, "admitIntervalSeconds": 10, "maxActive": 2000, "activeSeconds": 3600,
                 "claimSeconds": 3600, "salesOpenAt": None}
        self.make(port, admin, f"concerts/{self.concert}/queue", queue, "PUT")
        section = {"name": "Floor", "grade": "R", "rows": BUYERS, "seatsPerRow": SEATS_PER_BUYER, "price": "1000"}
        starts_at = (datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(days=30)).isoformat()
        performance = {"venueId": venue, "startsAt": starts_at, "seating": {"sections": [section]}}
        path = f"concerts/{self.concert}/performances"
        self.performance = self.make(port, admin, path, performance)["performanceId"]
        self.buyers = [self.sign_up(port, number) for number in range(BUYERS)]
        _, _, seats = ask(port, "GET", f"{API}/performances/{self.performance}/seats", None, self.join(self.buyers[0]))
        seats = [seat["seatId"] for seat in seats["seats"]]
        shares = [seats[number * SEATS_PER_BUYER:(number + 1) * SEATS_PER_BUYER] for number in range(BUYERS)]
        self.threads = [threading.Thread(target=self.buy, args=(number, shares[number]), daemon=True) for number in range(BUYERS)]
        for thread in self.threads:
            thread.start()

    @staticmethod
    def log_in(port, email):
        status, _, login = ask(port, "POST", f"{API}/auth/login", {"email": email, "password": chaos.PASSWORD})
        if status != 200:
            sys.exit(f"no login: {status} {login}")
        return {"Authorization": f"Bearer {login['accessToken']}"}

    @staticmethod
    def make(port, admin, path, body, method="POST"):
        status, _, made = ask(port, method, f"{API}/admin/{path}", body, admin)
        if status not in (200, 201):
            sys.exit(f"{path}: {status} {made}")
        return made

    def sign_up(self, port, number):
        email = f"buyer{number}@demo.example"
        ask(port, "POST", f"{API}/users", {"email": email, "password": chaos.PASSWORD, "name": "Buyer"})
        bearer = self.log_in(port, email)
        ask(port, "POST", f"{API}/points/charges", {"amount": "1000000"}, dict(bearer, **{"Idempotency-Key": uuid.uuid4().hex}))
        return bearer

    def join(self, bearer):
        """The headers of an admitted buyer: a token is used up by its payment."""
        _, place = self.request("/queue/tokens", bearer, {"concertId": self.concert})
        return dict(bearer, **{"Queue-Token": place["queueToken"]})

    def request(self, path, headers, body):
        """Asks the servers in turn until one answers, with one key: the effect happens once."""
        headers = dict(headers, **{"Idempotency-Key": uuid.uuid4().hex})
        attempt = uuid.uuid4().int
        while True:
            status, code, answer = ask(self.servers[attempt % 2].port, "POST", API + path, body, headers)
            self.results[f"{path.split('/')[1]} {status} {code}".strip()] += 1
            if status not in (0, 503):
                return status, answer
            attempt += 1
            time.sleep(0.05)

    def buy(self, number, seats):
        turn = 0
        while not self.stop.is_set():
            seat, turn = seats[turn % len(seats)], turn + 1
            buyer, body = self.join(self.buyers[number]), {"performanceId": self.performance, "seatIds": [seat]}
            status, booking = self.request("/bookings", buyer, body)
            if status != 201:
                time.sleep(0.2)
                continue
            status, _ = self.request("/payments", buyer, {"bookingId": booking["bookingId"]})
            if status == 201:
                self.request(f"/bookings/{booking['bookingId']}/cancel", buyer, {})

    def finish(self):
        self.stop.set()
        for thread in self.threads:
            thread.join(70)


def trouble(servers, broker, seconds):
    """Kills one after the other, and brings it back, until the time is over."""
    first, second = servers
    end = time.monotonic() + seconds
    kills = collections.Counter()
    for rounds in range(1000):
        for what in ("server", "broker", "both"):
            time.sleep(2)
            if time.monotonic() > end:
                return kills
            server = (first, second)[rounds % 2]
            kills[what] += 1
            if what != "server":
                broker.run("kill")
                time.sleep(3)
            if what != "broker":
                server.kill()
                server.start()
            if what != "server":
                broker.run("start")


def recorded_events(database):
    """The ids of all events for everybody."""
    hyphenated = "LOWER(CONCAT_WS('-', SUBSTR(HEX(id),1,8), SUBSTR(HEX(id),9,4), SUBSTR(HEX(id),13,4), SUBSTR(HEX(id),17,4), SUBSTR(HEX(id),21)))"
    public = "type NOT IN ('code.issued', 'notice.rescheduled')"
    return set(str(database.sql(f"SELECT {hyphenated} FROM app.outbox_events WHERE {public}")).split())


def check(recorded, broker):
    """Violations: events that are missing, unknown, badly keyed or out of order."""
    first, total = {}, 0
    wrong = []
    for partition, sent_at, key, event in broker.messages():
        total += 1
        if key != event["subject"]:
            wrong.append(f"{event['id']} has the key {key}")
        first.setdefault(event["id"], (partition, sent_at, len(first), event))
    wrong += [f"{id} is missing" for id in recorded - set(first)]
    wrong += [f"{id} was never recorded" for id in set(first) - recorded]
    streams = collections.defaultdict(list)
    for partition, sent_at, number, event in first.values():
        if "sequence" in event:
            streams[event["partitionkey"]].append((int(event["sequence"]), partition, number, sent_at))
    for stream, events in streams.items():
        events.sort()
        for earlier, later in zip(events, events[1:]):
            if earlier[1] == later[1] and earlier[2] > later[2] or earlier[3] > later[3]:
                wrong.append(f"{stream}: {later[0]} before {earlier[0]}")
    print(f"{len(recorded)} events recorded, {len(first)} arrived in {total} messages, {len(streams)} bookings", flush=True)
    return wrong


def run(seconds):
    with chaos.stage() as (directory, database, failures), contextlib.ExitStack() as ends:
        broker = Broker(directory)
        ends.callback(broker.run, "wipe")
        servers = [ends.enter_context(contextlib.closing(Server(database, directory, f"server{number}", broker))) for number in (1, 2)]
        # Those of the demo data were recorded by a command that knew no receiver.
        before = recorded_events(database)
        sale = Sale(servers)
        kills = trouble(servers, broker, seconds)
        sale.finish()
        print(f"killed: {dict(kills)}; answers: {dict(sale.results)}", flush=True)
        failures += [f"{what}: {count}" for what, count in sale.results.items() if what.split()[1] == "500"]
        began = time.monotonic()
        open_ones = "SELECT (SELECT COUNT(*) FROM app.event_deliveries WHERE status = 'PENDING') + (SELECT COUNT(*) FROM app.outbox_events WHERE dispatched_at IS NULL)"
        chaos.wait_for("the deliveries", lambda: str(database.sql(open_ones)) == "0", 400)
        print(f"everything was delivered {time.monotonic() - began:.0f} s after the sale", flush=True)
        parked = str(database.sql("SELECT COUNT(*) FROM app.event_deliveries WHERE status = 'PARKED'"))
        if parked != "0":
            failures.append(f"{parked} events are parked")
        failures += check(recorded_events(database) - before, broker)
        done = chaos.run("audit", database)
        if done.returncode:
            failures.append(f"the audit says {done.stdout}")
        for failure in failures[:20]:
            print("BROKEN ", failure)
        return failures


if __name__ == "__main__":
    if not os.access(chaos.BINARY, os.X_OK):
        sys.exit(f"{chaos.BINARY}: build it first")
    sys.exit(1 if run(float(sys.argv[1]) if len(sys.argv) > 1 else 40) else 0)
