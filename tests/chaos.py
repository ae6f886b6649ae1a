#!/usr/bin/env python3
"""Injects faults under load, and counts the requests that failed.

  tests/chaos.py database            every fault of the database in turn, and a table of the effects
  tests/chaos.py database hang kill  only these faults: hang kill restart readonly full
  tests/chaos.py rolling             two servers behind HAProxy, restarted one after the other; no request may fail

It starts a MariaDB, servers and (for `rolling`) an HAProxy of its own, on free ports and in a temporary directory, and
leaves nothing behind. BINARY is the server under test (default target/debug/concert-reservation; `cargo build` first).
Needs Python 3.9 and mariadbd; `rolling` needs haproxy. Exits with 1 if an assertion fails.
"""
import collections, contextlib, http.client, json, os, shutil, signal, socket, subprocess, sys, tempfile, threading, time, uuid

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
TARGET = os.path.join(ROOT, os.environ.get("CARGO_TARGET_DIR", "target"))
BINARY = os.environ.get("BINARY", os.path.join(TARGET, "debug/concert-reservation"))
os.environ["PATH"] += ":/usr/sbin:/usr/local/sbin"
CLIENTS = 48
PASSWORD = "demo-password-1"


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


class Load:
    """Clients that charge, join, poll and read, each over its own connection, and a readiness probe."""

    def __init__(self, port):
        self.port, self.stop, self.results = port, threading.Event(), []
        self.users = []
        concerts = demand(port, "GET", "/api/v1/concerts")
        if not concerts["items"]:
            sys.exit("no demo data")
        self.concert = concerts["items"][0]["concertId"]
        for number in range(CLIENTS // 4):
            email = f"chaos{number}-{uuid.uuid4().hex[:8]}@demo.example"
            demand(port, "POST", "/api/v1/users", {"email": email, "password": PASSWORD, "name": "Chaos"})
            login = demand(port, "POST", "/api/v1/auth/login", {"email": email, "password": PASSWORD})
            bearer = {"Authorization": f"Bearer {login['accessToken']}"}
            place = demand(port, "POST", "/api/v1/queue/tokens", {"concertId": self.concert}, bearer)
            self.users.append((bearer, place["queueToken"]))
        self.charged, self.unsure = collections.Counter(), collections.Counter()
        self.threads = [threading.Thread(target=self.client, args=(n,), daemon=True) for n in range(CLIENTS)]
        self.threads.append(threading.Thread(target=self.probe, daemon=True))
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

    def lost_points(self):
        """Charges that got a 201 and aren't in the wallet, or are in the wallet without a request."""
        wrong = []
        for user, (bearer, _) in enumerate(self.users):
            wallet = demand(self.port, "GET", "/api/v1/points", None, bearer)
            balance, sure = int(wallet["balance"]), self.charged[user]
            if not sure <= balance <= sure + self.unsure[user]:
                wrong.append((user, balance, sure, self.unsure[user]))
        return wrong


def run(command, database):
    """Runs a command of the server's binary on this database."""
    environment = dict(os.environ, DATABASE_URL=database.url, DEMO="true", LOG_LEVEL="warn")
    return subprocess.run([BINARY, command], env=environment, stdout=subprocess.PIPE, text=True)


def damage(load, database):
    """Violations: lost points, and findings of the audit."""
    wrong = [f"points of user {wrong}" for wrong in load.lost_points()]
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
            failures += [f"{name}: {wrong}" for wrong in damage(load, database)]
    return failures


def report(name, load, broken, mended, before, peak):
    results = sorted(load.results)
    during = [r for r in results if r[1] > broken and r[0] < mended]
    refused = [r[1] - broken for r in results if r[3] == 503 and r[1] > broken]
    slowest = max((r[1] - r[0] for r in during), default=0)
    bad_after = [r[1] - mended for r in results if r[3] not in (200, 201) and r[0] > mended]
    # From the database's return until no request fails and every kind of request has succeeded.
    good_after = [min((r[1] - mended for r in results if r[2] == kind and r[3] in (200, 201) and r[1] > mended), default=99)
                  for kind in ("charge", "balance", "join", "poll", "readyz")]
    recovered = max([0, *bad_after, *good_after])
    codes = collections.Counter(f"{r[2]} {r[3]} {r[4]}".strip() for r in during)
    answers = ", ".join(f"{count} {code}" for code, count in sorted(codes.items()))
    first = f"{min(refused):.2f}" if refused else "none"
    print(f"{name:9} {mended - broken:6.1f} {first:>9} {slowest:8.2f} {recovered:9.2f} {good_after[4]:6.2f} "
          f"{before[0]:4}→{peak[0]:<4} {before[1]:3}→{peak[1]:<4}  {answers}", flush=True)
    failures = []
    if recovered > 2:
        failures.append(f"{name}: recovered after {recovered:.2f} s")
    if slowest > 6:
        failures.append(f"{name}: a request took {slowest:.2f} s")
    strange = {code for code in codes if code.split()[1] not in ("200", "201", "503")}
    if strange:
        failures.append(f"{name}: {', '.join(sorted(strange))}")
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
        bad = collections.Counter(f"{r[2]} {r[3]} {r[4]}" for r in results if r[3] not in (200, 201))
        slowest = max(r[1] - r[0] for r in results)
        print(f"{len(results)} requests, {sum(bad.values())} failed {dict(bad) or ''}, the slowest took {slowest:.2f} s")
        failures += [f"{count} × {what}" for what, count in bad.items()]
        failures += damage(load, database)
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
