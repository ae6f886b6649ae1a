#!/usr/bin/env python3
"""Injects faults under load, and counts the requests that failed.

  tests/chaos.py database            every fault of the database in turn, and a table of the effects
  tests/chaos.py database hang kill  only these faults: hang kill restart readonly full
  tests/chaos.py rolling             two servers behind HAProxy, restarted one after the other; no request may fail

Under the load users charge, join, poll and read, and buyers hold seats that others want as well, pay, cancel and get refunds.
A buyer repeats a request without an answer with the same key. Afterwards every answer must still be true.

It starts a MariaDB, servers and (for `rolling`) an HAProxy of its own, on free ports and in a temporary directory, and
leaves nothing behind. BINARY is the server under test (default target/debug/concert-reservation; `cargo build` first).
Needs Python 3.9 and mariadbd; `rolling` needs haproxy. Exits with 1 if an assertion fails.
"""
import collections, contextlib, http.client, json, os, random, shutil, signal, socket, subprocess, sys, tempfile, threading
import time, uuid

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
TARGET = os.path.join(ROOT, os.environ.get("CARGO_TARGET_DIR", "target"))
BINARY = os.environ.get("BINARY", os.path.join(TARGET, "debug/concert-reservation"))
os.environ["PATH"] += ":/usr/sbin:/usr/local/sbin"
CLIENTS = 48
PASSWORD = "demo-password-1"
# The kinds of requests that change something.
WRITES = ("charge", "hold", "pay", "cancel", "refund")


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def wait_for(what, probe, seconds=30):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if probe():
            return
        time.sleep(0.02)
    sys.exit(f"{what}: not within {seconds} s")


class Database:
    """A MariaDB over TCP, with a user that can't write in read-only mode."""

    def __init__(self, directory):
        self.data, self.port = os.path.join(directory, "db"), free_port()
        self.socket, self.log = os.path.join(directory, "db.sock"), os.path.join(directory, "db.log")
        install = ["mariadb-install-db", "--no-defaults", "--force", "--skip-name-resolve", "--skip-test-db",
                   "--auth-root-authentication-method=normal", f"--datadir={self.data}"]
        subprocess.run(install + self.as_root(), check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.start()
        self.sql("CREATE DATABASE app CHARACTER SET utf8mb4 COLLATE utf8mb4_bin")
        self.sql("CREATE USER app@'%' IDENTIFIED BY 'app'; GRANT ALL ON app.* TO app@'%'")
        self.url = f"mysql://app:app@127.0.0.1:{self.port}/app"

    @staticmethod
    def as_root():
        return ["--user=root"] if os.geteuid() == 0 else []

    def start(self):
        command = ["mariadbd", "--no-defaults", f"--datadir={self.data}", f"--socket={self.socket}",
                   f"--port={self.port}", "--bind-address=127.0.0.1", "--skip-name-resolve", f"--log-error={self.log}",
                   f"--pid-file={self.data}/pid", "--character-set-server=utf8mb4", "--innodb-buffer-pool-size=64M"]
        self.process = subprocess.Popen(command + self.as_root(), stderr=subprocess.DEVNULL)
        wait_for("the database", lambda: self.sql("SELECT 1", check=False))

    def sql(self, text, check=True):
        command = ["mariadb", "--no-defaults", f"--socket={self.socket}", "--user=root", "--batch",
                   "--skip-column-names", "-e", text]
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        if check and done.returncode:
            sys.exit(f"{text}: {done.stderr}")
        return done.stdout.strip() or done.returncode == 0

    def send(self, number):
        self.process.send_signal(number)

    def end(self, number=signal.SIGTERM):
        if self.process.poll() is None:
            self.send(signal.SIGCONT)
            self.send(number)
            self.process.wait()


class Server:
    def __init__(self, database, directory, name, **variables):
        self.port, self.name = free_port(), name
        self.log = open(os.path.join(directory, f"{name}.log"), "a")
        self.environment = dict(os.environ, DATABASE_URL=database.url, LISTEN_ADDR=f"127.0.0.1:{self.port}", DEMO="true",
                                LOG_LEVEL=os.environ.get("LOG_LEVEL", "warn"))
        self.environment.update(variables)
        self.start()

    def start(self):
        self.process = subprocess.Popen([BINARY], env=self.environment, stdout=self.log, stderr=self.log)
        wait_for(self.name, self.is_ready)

    def is_ready(self):
        status, _, _ = ask(self.port, "GET", "/readyz")
        return status == 200

    def restart(self):
        started = time.monotonic()
        self.process.terminate()
        code = self.process.wait()
        took = time.monotonic() - started
        self.start()
        return code, took

    def usage(self):
        """Resident MiB and threads."""
        with open(f"/proc/{self.process.pid}/status") as status:
            lines = dict(line.split(":", 1) for line in status)
        return int(lines["VmRSS"].split()[0]) // 1024, int(lines["Threads"])

    def close(self):
        self.process.kill()
        self.process.wait()


def ask(port, method, path, body=None, headers={}, connection=None, timeout=60):
    """Status, problem code and answer; without an answer 0 and the error."""
    own = connection or http.client.HTTPConnection("127.0.0.1", port, timeout=timeout)
    try:
        sent = dict(headers)
        if body is not None:
            sent["Content-Type"] = "application/json"
        own.request(method, path, json.dumps(body) if body is not None else None, sent)
        answer = own.getresponse()
        text = answer.read()
        value = json.loads(text) if text and "json" in answer.headers.get("Content-Type", "") else {}
        if answer.status == 503 and "Retry-After" not in answer.headers:
            return answer.status, "NO RETRY-AFTER", value
        return answer.status, value.get("code", "") if isinstance(value, dict) else "", value
    except (OSError, http.client.HTTPException) as error:
        own.close()
        return 0, type(error).__name__, {}
    finally:
        if connection is None:
            own.close()


def demand(port, method, path, body=None, headers={}):
    """The answer of a request, which is repeated while the server is unavailable. 409: an attempt had succeeded."""
    for _ in range(50):
        status, code, value = ask(port, method, path, body, headers)
        if status not in (0, 503):
            break
        time.sleep(0.2)
    if status not in (200, 201, 409):
        sys.exit(f"{method} {path}: {status} {code}")
    return value


def sign_up(port):
    """The header that authenticates a new user."""
    email = f"chaos-{uuid.uuid4().hex[:12]}@demo.example"
    demand(port, "POST", "/api/v1/users", {"email": email, "password": PASSWORD, "name": "Chaos"})
    login = demand(port, "POST", "/api/v1/auth/login", {"email": email, "password": PASSWORD})
    return {"Authorization": f"Bearer {login['accessToken']}"}


def listing(port, path, bearer):
    """All items of a list."""
    items, cursor = [], ""
    while cursor is not None:
        page = demand(port, "GET", f"{path}?limit=100{cursor and '&cursor='}{cursor}", None, bearer)
        items, cursor = items + page["items"], page["nextCursor"]
    return items


def is_good(status, code):
    """Whether a request succeeded, or found that others have the seats."""
    return status in (200, 201) or code == "SEATS_UNAVAILABLE"


class Refused(Exception):
    """A buyer's request was refused, or never answered."""


class Buyer:
    """A user who buys and returns seats, one request after the other, and remembers every answer."""

    # More than the purchases of a run cost.
    POINTS = 10_000_000

    def __init__(self, load):
        self.load, self.bearer = load, sign_up(load.port)
        self.connection = http.client.HTTPConnection("127.0.0.1", load.port, timeout=60)
        # The last answer about each booking and payment, and the bookings whose seats it has.
        self.bookings, self.payments, self.kept = {}, {}, []
        # The writes, each with its answer.
        self.writes, self.failures = [], []
        self.write("charge", "/api/v1/points/charges", {"amount": str(self.POINTS)})

    def run(self):
        try:
            while not self.load.stop.is_set():
                self.buy()
        except Refused as refusal:
            self.failures.append(str(refusal))

    def buy(self):
        """Holds seats that others want as well; then cancels, or pays and returns what it bought before."""
        gate = {**self.bearer, **self.admission()}
        seats = random.sample(self.load.seats, random.choice((1, 2)))
        held = self.write("hold", "/api/v1/bookings", {"performanceId": self.load.performance, "seatIds": seats}, gate)
        if "bookingId" not in held:
            return
        cancel = f"/api/v1/bookings/{held['bookingId']}/cancel"
        if random.random() < 0.2:
            self.write("cancel", cancel)
            return
        self.write("pay", "/api/v1/payments", {"bookingId": held["bookingId"]}, gate)
        self.kept.append(cancel)
        if len(self.kept) > 1:
            self.write("refund", self.kept.pop(0))

    def admission(self):
        """The header with an active queue token."""
        place = self.answer("join", "POST", "/api/v1/queue/tokens", {"concertId": self.load.concert}, self.bearer)
        token = {"Queue-Token": place["queueToken"]}
        while place["status"] == "WAITING":
            time.sleep(0.1)
            place = self.answer("poll", "GET", "/api/v1/queue/tokens/current", None, token)
        return token

    def write(self, kind, path, body=None, headers=None):
        """The answer of a request with a key of its own; a problem if others have the seats."""
        request = "POST", path, body, dict(headers or self.bearer, **{"Idempotency-Key": uuid.uuid4().hex})
        value = self.answer(kind, *request)
        self.writes.append((request, value))
        if kind == "pay":
            self.payments[value["paymentId"]] = value
        booking = value.get("booking", value)
        if "bookingId" in booking:
            self.bookings[booking["bookingId"]] = booking
        return value

    def answer(self, kind, *request):
        """Repeats the request, for a minute, until it is answered."""
        end = time.monotonic() + 60
        while True:
            began = time.monotonic()
            status, code, value = ask(0, *request, self.connection)
            self.load.note(kind, began, (status, code))
            if is_good(status, code):
                return value
            is_open = status in (0, 503, 504) or code == "IDEMPOTENCY_IN_PROGRESS"
            if not is_open or time.monotonic() > end:
                raise Refused(f"{kind}: {status} {code}")
            time.sleep(0.1)

    def untrue_answers(self, port):
        """The bookings, payments and points that aren't as they were answered."""
        sold = {id: (it["status"], it["totalPrice"], it["seats"]) for id, it in self.bookings.items()}
        paid = {id: ("REFUNDED" if sold[it["bookingId"]][0] == "REFUNDED" else "COMPLETED", it["amount"], it["bookingId"])
                for id, it in self.payments.items()}
        left = self.POINTS - sum(int(price) for status, price, _ in sold.values() if status == "CONFIRMED")
        answered = {**sold, **paid, "balance": left}
        bookings, payments = (listing(port, f"/api/v1/{path}", self.bearer) for path in ("bookings", "payments"))
        found = {it["bookingId"]: (it["status"], it["totalPrice"], it["seats"]) for it in bookings}
        found.update({it["paymentId"]: (it["status"], it["amount"], it["bookingId"]) for it in payments})
        found["balance"] = int(demand(port, "GET", "/api/v1/points", None, self.bearer)["balance"])
        return [f"{what}: answered {answered.get(what)}, is {found.get(what)}"
                for what in {**answered, **found} if answered.get(what) != found.get(what)]

    def changed_answers(self, port):
        """The writes whose repetition is answered in another way."""
        repeated = ((request, value, demand(port, *request)) for request, value in self.writes)
        return [f"{request[1]}: answered {value}, then {again}" for request, value, again in repeated if value != again]


class Load:
    """Clients that charge, join, poll and read, each over its own connection, buyers, and a readiness probe."""

    # So few that the buyers compete for them.
    SEATS = 24

    def __init__(self, port):
        self.port, self.stop, self.results = port, threading.Event(), []
        self.users = []
        concerts = demand(port, "GET", "/api/v1/concerts")
        if not concerts["items"]:
            sys.exit("no demo data")
        self.concert = concerts["items"][0]["concertId"]
        for _ in range(CLIENTS // 4):
            bearer = sign_up(port)
            place = demand(port, "POST", "/api/v1/queue/tokens", {"concertId": self.concert}, bearer)
            self.users.append((bearer, place["queueToken"]))
        self.charged, self.unsure = collections.Counter(), collections.Counter()
        self.buyers = [Buyer(self) for _ in range(CLIENTS // 4)]
        self.performance = demand(port, "GET", f"/api/v1/concerts/{self.concert}/performances")["items"][0]["performanceId"]
        gate = {**self.buyers[0].bearer, **self.buyers[0].admission()}
        free = demand(port, "GET", f"/api/v1/performances/{self.performance}/seats?status=AVAILABLE", None, gate)["seats"]
        self.seats = [seat["seatId"] for seat in free[-self.SEATS:]]
        works = [self.probe] + [buyer.run for buyer in self.buyers]
        self.threads = [threading.Thread(target=self.client, args=(n,), daemon=True) for n in range(CLIENTS)]
        self.threads += [threading.Thread(target=work, daemon=True) for work in works]
        for thread in self.threads:
            thread.start()

    def note(self, kind, began, answer):
        self.results.append((began, time.monotonic(), kind, answer[0], answer[1]))

    def client(self, number):
        user = number % len(self.users)
        bearer, token = self.users[user]
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        kind = ("charge", "balance", "poll", "join")[number // len(self.users) % 4]
        while not self.stop.is_set():
            began = time.monotonic()
            if kind == "charge":
                key = dict(bearer, **{"Idempotency-Key": uuid.uuid4().hex})
                answer = ask(0, "POST", "/api/v1/points/charges", {"amount": "1"}, key, connection)
                (self.charged if answer[0] == 201 else self.unsure)[user] += 1
            elif kind == "balance":
                answer = ask(0, "GET", "/api/v1/points", None, bearer, connection)
            elif kind == "poll":
                answer = ask(0, "GET", "/api/v1/queue/tokens/current", None, {"Queue-Token": token}, connection)
            else:
                answer = ask(0, "POST", "/api/v1/queue/tokens", {"concertId": self.concert}, bearer, connection)
            self.note(kind, began, answer)
            time.sleep(0.02)

    def probe(self):
        while not self.stop.is_set():
            began = time.monotonic()
            self.note("readyz", began, ask(self.port, "GET", "/readyz"))
            time.sleep(0.02)

    def finish(self):
        self.stop.set()
        for thread in self.threads:
            thread.join(70)

    def lost_points(self, port):
        """Charges that got a 201 and aren't in the wallet, or are in the wallet without a request."""
        wrong = []
        for user, (bearer, _) in enumerate(self.users):
            wallet = demand(port, "GET", "/api/v1/points", None, bearer)
            balance, sure = int(wallet["balance"]), self.charged[user]
            if not sure <= balance <= sure + self.unsure[user]:
                wrong.append(f"points of user {(user, balance, sure, self.unsure[user])}")
        return wrong


def run(command, database):
    """Runs a command of the server's binary on this database."""
    environment = dict(os.environ, DATABASE_URL=database.url, DEMO="true", LOG_LEVEL="warn")
    return subprocess.run([BINARY, command], env=environment, stdout=subprocess.PIPE, text=True)


def damage(loads, doors):
    """Violations: seats sold twice, answers that aren't true, keys with two effects, and findings of the audit.

    There is a load for each door, which is a server's port and the database that it uses. Each door is asked for all."""
    buyers = [buyer for load in loads for buyer in load.buyers]
    wrong = [failure for buyer in buyers for failure in buyer.failures]
    owners = collections.Counter(seat["seatId"] for buyer in buyers for booking in buyer.bookings.values()
                                 if booking["status"] in ("PENDING", "CONFIRMED") for seat in booking["seats"])
    wrong += [f"seat {seat} is sold {count} times" for seat, count in owners.items() if count > 1]
    # A request is repeated at another door than its own.
    for (port, database), other in zip(doors, loads[1:] + loads[:1]):
        wrong += [lost for load in loads for lost in load.lost_points(port)]
        wrong += [untrue for buyer in buyers for untrue in buyer.untrue_answers(port)]
        wrong += [changed for buyer in other.buyers for changed in buyer.changed_answers(port)]
        done = run("audit", database)
        if done.returncode != 0:
            wrong.append(f"the audit says {done.stdout}")
    return wrong


@contextlib.contextmanager
def stage():
    """A folder for logs, a database with demo data, and a list of failures. The logs are kept only after a failure."""
    directory = tempfile.mkdtemp(prefix="chaos-")
    database = Database(directory)
    failures = []
    try:
        run("seed-demo", database).check_returncode()
        yield directory, database, failures
    finally:
        database.end(signal.SIGKILL)
        if failures:
            print("\nThe logs are in", directory)
        else:
            shutil.rmtree(directory)


# The faults. Each breaks the database, waits, repairs it, and returns both instants.

def hang(database):
    database.send(signal.SIGSTOP)
    broken = time.monotonic()
    time.sleep(8)
    database.send(signal.SIGCONT)
    return broken, time.monotonic()


def kill(database):
    broken = time.monotonic()
    database.end(signal.SIGKILL)
    time.sleep(5)
    database.start()
    return broken, time.monotonic()


def restart(database):
    broken = time.monotonic()
    database.end(signal.SIGTERM)
    database.start()
    return broken, time.monotonic()


def readonly(database):
    broken = time.monotonic()
    database.sql("SET GLOBAL read_only = 1")
    time.sleep(4)
    database.sql("SET GLOBAL read_only = 0")
    return broken, time.monotonic()


def full(database):
    """Kills every connection, and takes all free ones."""
    ids = str(database.sql("SELECT id FROM information_schema.processlist WHERE db = 'app'")).split()
    # One session for all statements: another one might be refused.
    root = subprocess.Popen(["mariadb", "--no-defaults", f"--socket={database.socket}", "--user=root", "--force"],
                            stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, text=True)
    root.stdin.write("SET GLOBAL max_connections = 10;\n" + "".join(f"KILL {id};\n" for id in ids))
    root.stdin.flush()
    broken = time.monotonic()
    hogs = [subprocess.Popen(["mariadb", "--no-defaults", "--host=127.0.0.1", f"--port={database.port}", "--user=app",
                              "--password=app", "-e", "SELECT SLEEP(4)"], stdout=subprocess.DEVNULL,
                             stderr=subprocess.DEVNULL) for _ in range(60)]
    time.sleep(4)
    root.communicate("SET GLOBAL max_connections = 151;\n")
    mended = time.monotonic()
    for hog in hogs:
        hog.wait()
    return broken, mended


def database_faults(names):
    faults = {fault.__name__: fault for fault in (hang, kill, restart, readonly, full)}
    print(f"{'fault':9} {'down s':>6} {'first 503':>9} {'slowest':>8} {'recovered':>9} {'ready':>6} {'RSS MiB':>9} {'threads':>8}  answers meanwhile")
    with stage() as (directory, database, failures), contextlib.closing(Server(database, directory, "server")) as server:
        for name in names or faults:
            load = Load(server.port)
            time.sleep(2)
            before, peak, done = server.usage(), [0, 0], threading.Event()

            def watch():
                while not done.wait(0.1) and server.process.poll() is None:
                    rss, threads = server.usage()
                    peak[0], peak[1] = max(peak[0], rss), max(peak[1], threads)

            watcher = threading.Thread(target=watch)
            watcher.start()
            broken, mended = faults[name](database)
            time.sleep(6)
            load.finish()
            done.set()
            watcher.join()
            failures += report(name, load, broken, mended, before, peak)
            failures += [f"{name}: {wrong}" for wrong in damage([load], [(server.port, database)])]
    return failures


def strange(results):
    """The answers that no fault explains."""
    return sorted({f"{r[2]} {r[3]} {r[4]}" for r in results
                   if not is_good(*r[3:]) and (r[3] != 503 or r[4] == "NO RETRY-AFTER")})


def report(name, load, broken, mended, before, peak):
    results = sorted(load.results)
    during = [r for r in results if r[1] > broken and r[0] < mended]
    refused = [r[1] - broken for r in results if r[3] == 503 and r[1] > broken]
    slowest = max((r[1] - r[0] for r in during), default=0)
    bad_after = [r[1] - mended for r in results if not is_good(*r[3:]) and r[0] > mended]
    # From the database's return until no request fails and every kind of request has succeeded.
    good_after = [min((r[1] - mended for r in results if r[2] == kind and is_good(*r[3:]) and r[1] > mended), default=99)
                  for kind in ("charge", "balance", "join", "poll", "hold", "pay", "readyz")]
    recovered = max([0, *bad_after, *good_after])
    codes = collections.Counter(f"{r[2]} {r[3]} {r[4]}".strip() for r in during)
    answers = ", ".join(f"{count} {code}" for code, count in sorted(codes.items()))
    first = f"{min(refused):.2f}" if refused else "none"
    print(f"{name:9} {mended - broken:6.1f} {first:>9} {slowest:8.2f} {recovered:9.2f} {good_after[-1]:6.2f} "
          f"{before[0]:4}→{peak[0]:<4} {before[1]:3}→{peak[1]:<4}  {answers}", flush=True)
    failures = []
    if recovered > 2:
        failures.append(f"{name}: recovered after {recovered:.2f} s")
    if slowest > 6:
        failures.append(f"{name}: a request took {slowest:.2f} s")
    failures += [f"{name}: {what}" for what in strange(during)]
    if peak[0] > before[0] + 100:
        failures.append(f"{name}: {peak[0] - before[0]} MiB more")
    return failures


HAPROXY = """
defaults
  mode http
  timeout connect 2s
  timeout client 60s
  timeout server 60s
  option redispatch
  retries 3
frontend front
  bind 127.0.0.1:{front}
  default_backend servers
backend servers
  balance roundrobin
  http-reuse safe
  option httpchk GET /readyz
  default-server inter 500ms fall 2 rise 1
{servers}
"""


def rolling(_):
    if not shutil.which("haproxy"):
        sys.exit("needs haproxy")
    with stage() as (directory, database, failures), contextlib.ExitStack() as ends:
        servers = [ends.enter_context(contextlib.closing(Server(database, directory, f"server{number}"))) for number in (1, 2)]
        front, path = free_port(), os.path.join(directory, "haproxy.cfg")
        lines = "\n".join(f"  server {s.name} 127.0.0.1:{s.port} check" for s in servers)
        with open(path, "w") as file:
            file.write(HAPROXY.format(front=front, servers=lines))
        proxy = subprocess.Popen(["haproxy", "-db", "-f", path], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        ends.callback(proxy.wait)
        ends.callback(proxy.kill)
        wait_for("haproxy", lambda: ask(front, "GET", "/readyz")[0] == 200)
        load = Load(front)
        for number in range(3):
            for server in servers:
                time.sleep(1.5)
                code, took = server.restart()
                print(f"round {number + 1}: {server.name} stopped with {code} after {took:.1f} s and is back", flush=True)
                if code:
                    failures.append(f"{server.name} exited with {code}")
        time.sleep(1.5)
        load.finish()
        results = [r for r in load.results if r[2] != "readyz"]
        bad = collections.Counter(f"{r[2]} {r[3]} {r[4]}" for r in results if not is_good(*r[3:]))
        slowest = max(r[1] - r[0] for r in results)
        print(f"{len(results)} requests, {sum(bad.values())} failed {dict(bad) or ''}, the slowest took {slowest:.2f} s")
        failures += [f"{count} × {what}" for what, count in bad.items()]
        failures += damage([load], [(front, database)])
    return failures


def main():
    commands = {"database": database_faults, "rolling": rolling}
    if len(sys.argv) < 2 or sys.argv[1] not in commands:
        sys.exit(__doc__.strip())
    if not os.access(BINARY, os.X_OK):
        sys.exit(f"{BINARY}: build it first")
    failures = commands[sys.argv[1]](sys.argv[2:])
    for failure in failures:
        print("BROKEN ", failure)
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    main()
