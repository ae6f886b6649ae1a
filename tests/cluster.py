#!/usr/bin/env python3
"""Runs servers on a cluster of three database nodes, one server a node, and breaks nodes under load.

  tests/cluster.py galera tests [WORD…]  the API tests whose names contain a word (default: journey races queue::), the
                                         instances of each test on different nodes
  tests/cluster.py galera faults [NAME…] every fault in turn, and a table of the effects: kill cut pause
                                         (of a node), freeze (of a server)
  tests/cluster.py galera figures [SCENARIO…]
                                         the rates of three servers that all write to one node, that write to a node each,
                                         and on one database outside any cluster (default: holds payments journeys joins)
  tests/cluster.py galera nodes          starts the nodes, prints their URLs, and waits until it is interrupted
  tests/cluster.py galera ready          exits with 3, and names what is missing, if this machine can't run it
  tests/cluster.py group …               the same on Group Replication, with writes at every node
  tests/cluster.py primary …             the same on Group Replication, with writes at one node, the primary

Each node has a network namespace of its own, so that a node can be cut off. Each server reaches the nodes through HAProxy,
which prefers the server's own node. Everything lives in a temporary directory, and nothing is left behind.

Needs root, Python 3.9, ip (iproute2), haproxy, the client mariadb, and for `galera` mariadbd with galera-4 and rsync, for
`group` MySQL 8.4 or later with its plugin: MYSQL_ROOT names the directory in which that MySQL is installed, if it isn't the
machine's own. API_TESTS is the built test program, BINARY the server, BENCH the tool that measures. For `figures` both are
release builds by default. It measures one short round of each scenario, with --full three long ones; --plot=FILE draws them
as SVG. Run nothing else on the machine meanwhile. Exits with 1 if an assertion fails.
"""
import concurrent.futures, contextlib, glob, os, re, resource, shutil, signal, subprocess, sys, tempfile, time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, os.path.join(ROOT, "tests"))
import chaos

NODES = 3
# The number of this run's networks, so that several runs can go on at once.
slot = None
# The longest time without a successful write, in seconds, at each server that isn't broken itself.
LONGEST_GAP = 10.0
PORT = 3306
# The time limit of the tests of one word, in seconds.
TESTS_TIMEOUT = int(os.environ.get("TESTS_TIMEOUT", "1800"))


def command(*words, check=True, quiet=True):
    out = subprocess.DEVNULL if quiet else None
    return subprocess.run(words, check=check, stdout=out, stderr=out)


@contextlib.contextmanager
def network():
    """A bridge that joins the namespaces of the nodes."""
    global slot
    slot = next((number for number in range(200) if claim(number)), None)
    if slot is None:
        unable("needs the right to create network interfaces")
    try:
        connect_namespaces()
        yield
    finally:
        for number in range(1, NODES + 1):
            command("ip", "netns", "del", namespace(number), check=False)
            command("ip", "link", "del", namespace(number), check=False)
        command("ip", "link", "del", bridge(slot), check=False)


def connect_namespaces():
    try:
        command("ip", "addr", "add", f"10.213.{slot}.1/24", "dev", bridge(slot))
        command("ip", "link", "set", bridge(slot), "up")
        for number in range(1, NODES + 1):
            name, inner = namespace(number), "eth0"
            command("ip", "netns", "add", name)
            command("ip", "link", "add", name, "type", "veth", "peer", "name", inner, "netns", name)
            command("ip", "link", "set", name, "master", bridge(slot), "up")
            command("ip", "-n", name, "addr", "add", f"{address(number)}/24", "dev", inner)
            command("ip", "-n", name, "link", "set", inner, "up")
            command("ip", "-n", name, "link", "set", "lo", "up")
    except subprocess.CalledProcessError as error:
        unable(f"needs network namespaces: {' '.join(error.cmd)} failed")


def unable(why):
    print(why, flush=True)
    sys.exit(3)


def claim(number):
    return command("ip", "link", "add", bridge(number), "type", "bridge", check=False).returncode == 0


def bridge(number):
    return f"crbridge{number}"


def namespace(number):
    """Also the outer interface of the node."""
    return f"crnode{slot}-{number}"


def address(number):
    return f"10.213.{slot}.{10 + number}"


class Node:
    """A database server in a namespace of its own."""

    # The tests that aren't run, by parts of their names.
    SKIPPED = [
        # They use one node.
        "one_server::",
        # They wait until a transaction waits for another one's lock. A lock ends at its node: on two nodes none waits.
        "two_servers::a_charge_decided_after_a_deletion_is_refused",
        "two_servers::a_selected_seat_that_is_taken_is_replaced_by_the_next_best",
        # They reach one database through a proxy of their own, and the addresses of the nodes replace the proxy's.
        "a_batch_on_a_silent_connection_is_repeated_on_another",
        "a_batch_on_a_connection_that_falls_silent_at_the_commit_is_not_repeated",
    ]
    PROGRAMS = ["ip", "haproxy", "mariadb"]
    # The nodes that the servers write to in each setting whose figures are compared.
    SETTINGS = {"all write to one node": [1, 1, 1], "each writes to its own node": [1, 2, 3]}
    # The longest time without a successful write after the death of a node and before its return, in seconds.
    FAILOVER = LONGEST_GAP
    # Whether a commit is on the disk of its node, with a redo log for heavy load.
    durable = False

    def __init__(self, number, directory):
        self.number, self.address = number, address(number)
        self.directory = os.path.join(directory, f"node{number}")
        self.data, self.log = os.path.join(self.directory, "data"), os.path.join(self.directory, "error.log")
        self.socket, self.process = os.path.join(self.directory, "sock"), None
        os.makedirs(self.directory, exist_ok=True)
        self.url = f"mysql://app:app@{self.address}:{PORT}/app"

    def spawn(self, words):
        inside = ["ip", "netns", "exec", namespace(self.number)] + words
        self.process = subprocess.Popen(inside, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def sql(self, text, check=True, timeout=20):
        words = self.client() + ["--batch", "--skip-column-names", "-e", text]
        try:
            done = subprocess.run(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=timeout)
        except subprocess.TimeoutExpired:
            return ""
        if check and done.returncode:
            sys.exit(f"node {self.number}: {text}: {done.stderr}")
        return done.stdout.strip()

    def client(self):
        # By its socket, which works while the node is cut off.
        return ["mariadb", "--no-defaults", "--protocol=socket", f"--socket={self.socket}", "--user=root",
                "--connect-timeout=2", "--skip-ssl"]

    def send(self, number):
        # `ip netns exec` becomes the command itself.
        self.process.send_signal(number)

    def kill(self):
        if self.process and self.process.poll() is None:
            self.send(signal.SIGCONT)
            self.send(signal.SIGKILL)
            self.process.wait()

    def cut(self):
        command("ip", "link", "set", namespace(self.number), "down")

    def join(self):
        command("ip", "link", "set", namespace(self.number), "up")

    def wait_until_back(self):
        chaos.wait_for(f"node {self.number}", self.is_synced, 120)

    def lead(self):
        """Makes it the node that others' writes go to, if the cluster has one."""

    def create_database(self):
        """Creates the database, or empties it."""
        self.sql("DROP DATABASE IF EXISTS app; CREATE DATABASE app CHARACTER SET utf8mb4 COLLATE utf8mb4_bin", timeout=120)

    @staticmethod
    def provide_scripts():
        """Downloads what the nodes need besides installed programs."""

    @classmethod
    def lacks(cls):
        """What this machine lacks for it."""
        missing = [name for name in cls.PROGRAMS if not shutil.which(name)]
        return missing if os.geteuid() == 0 else missing + ["root"]


class Galera(Node):
    """A node of MariaDB's cluster."""

    PREFERENCES = "gcache.size=256M; gcs.fc_limit=128; evs.suspect_timeout=PT2S; evs.inactive_timeout=PT4S; " \
                  "evs.inactive_check_period=PT0.5S; evs.keepalive_period=PT0.5S; pc.recovery=false"
    PROBE = "SHOW GLOBAL STATUS WHERE variable_name = 'wsrep_ready' AND value = 'ON'"
    # The method of state transfers. The server looks for its script first beside its own program, where Debian's package
    # has installed another one for `rsync`.
    TRANSFER = "rsync_as_root"
    # Group Replication may take longer: its nodes notice a death after 5 s to 6 s (DETECTOR_LIVE_TIMEOUT in MySQL's
    # xcom_detector.h, which no setting changes).
    FAILOVER = 5.0
    PROGRAMS = Node.PROGRAMS + ["mariadbd", "mariadb-install-db", "rsync"]

    def options(self):
        """Those of a server outside any cluster."""
        flush, log_size = ("1", "512M") if self.durable else ("0", "128M")
        return ["--no-defaults", f"--datadir={self.data}", f"--socket={self.socket}", f"--port={PORT}",
                "--bind-address=0.0.0.0", "--user=root", "--skip-name-resolve", f"--log-error={self.log}",
                f"--pid-file={self.directory}/pid", "--character-set-server=utf8mb4", "--innodb-buffer-pool-size=256M",
                f"--innodb-log-file-size={log_size}", f"--innodb-flush-log-at-trx-commit={flush}", "--max-connections=1000",
                "--max-prepared-stmt-count=200000"]

    def node_options(self):
        peers = ",".join(address(number) for number in range(1, NODES + 1))
        return ["--binlog-format=ROW", "--innodb-autoinc-lock-mode=2", "--wsrep-on=ON", f"--wsrep-provider={self.provider()}",
                f"--wsrep-cluster-address=gcomm://{peers}", f"--wsrep-node-address={self.address}",
                f"--wsrep-node-name=node{self.number}", "--wsrep-slave-threads=4", f"--wsrep-sst-method={self.TRANSFER}",
                f"--wsrep-provider-options={self.PREFERENCES}"]

    @staticmethod
    def provider():
        return next(iter(glob.glob("/usr/lib*/galera/libgalera_smm.so")), None)

    @classmethod
    def lacks(cls):
        return super().lacks() + ([] if cls.provider() else ["galera-4"])

    @staticmethod
    def provide_scripts():
        """Puts the script of state transfers on the path."""
        folder = os.path.join(ROOT, ".local/cluster")
        script = os.path.join(folder, f"usr/bin/wsrep_sst_{Galera.TRANSFER}")
        if not os.path.exists(script):
            # Installing the package would start a server.
            os.makedirs(folder, exist_ok=True)
            subprocess.run(["apt-get", "download", "-qq", "mariadb-server"], cwd=folder, check=True)
            command("dpkg-deb", "--extract", glob.glob(os.path.join(folder, "mariadb-server_*.deb"))[0], folder)
            # rsync would change to a user who may not write the data.
            with open(os.path.join(folder, "usr/bin/wsrep_sst_rsync")) as file:
                text = file.read().replace("[$MODULE]\n", "uid = root\ngid = root\n[$MODULE]\n", 1)
            with open(script, "w") as file:
                file.write(text)
            os.chmod(script, 0o755)
        os.environ["PATH"] = os.path.dirname(script) + ":" + os.environ["PATH"]

    def start(self, bootstrap=False, position=None):
        words = ["mariadbd"] + self.options() + self.node_options()
        if bootstrap:
            words.append("--wsrep-new-cluster")
        if position:
            words.append(f"--wsrep-start-position={position}")
        self.spawn(words)

    def is_synced(self):
        return self.sql("SHOW GLOBAL STATUS LIKE 'wsrep_local_state_comment'", check=False).endswith("Synced")

    def restart(self):
        """Comes back after a kill: from its recovered position, by what it missed alone."""
        recovery = os.path.join(self.directory, "recovery.log")
        options = [word for word in self.options() + self.node_options() if not word.startswith("--log-error")]
        subprocess.run(["mariadbd"] + options + ["--wsrep-recover", f"--log-error={recovery}"],
                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        with open(recovery) as file:
            position = re.findall(r"Recovered position: *(\S+)", file.read())[-1]
        self.start(position=position)

    def install(self):
        command("mariadb-install-db", "--no-defaults", "--force", "--skip-name-resolve", "--skip-test-db",
                "--auth-root-authentication-method=normal", f"--datadir={self.data}", "--user=root")

    def start_alone(self):
        """Starts a server of its own."""
        self.install()
        self.spawn(["mariadbd"] + self.options())
        chaos.wait_for("the database", lambda: self.sql("SELECT 1", check=False) == "1", 60)

    @classmethod
    def form(cls, nodes):
        cls.provide_scripts()
        first, others = nodes[0], nodes[1:]
        first.install()
        first.start(bootstrap=True)
        chaos.wait_for("the first node", first.is_synced, 60)
        first.sql("CREATE USER IF NOT EXISTS app@'%' IDENTIFIED BY 'app'; GRANT ALL ON *.* TO app@'%'")
        first.create_database()
        for node in others:
            os.makedirs(node.data)
            node.start()
            chaos.wait_for(f"node {node.number}", node.is_synced, 90)


class Group(Node):
    """A node of MySQL's Group Replication, with writes on all nodes."""

    NAME = "8a94f357-aab4-11df-86ab-c80aa9429562"
    MEMBERS = "SELECT COUNT(*) FROM performance_schema.replication_group_members WHERE member_state = 'ONLINE'"
    PROBE = f"SELECT 1 FROM performance_schema.replication_group_members WHERE member_id = @@server_uuid " \
            f"AND member_state = 'ONLINE' AND ({MEMBERS}) > 1"
    # The checks refuse what certification can't see on other nodes, such as foreign keys that cascade.
    MODE = {"single-primary-mode": "OFF", "enforce-update-everywhere-checks": "ON"}
    root = os.environ.get("MYSQL_ROOT", "").rstrip("/")

    def __init__(self, number, directory):
        super().__init__(number, self.root + directory)

    @classmethod
    def lacks(cls):
        plugins = glob.glob(f"{cls.root}/usr/lib*/mysql/plugin/group_replication.so")
        return super().lacks() + ([] if plugins else [f"MySQL with its plugin group_replication in {cls.root or '/'}"])

    def mysqld(self, *words):
        """The server's command. In an installation of its own it sees that as the root directory."""
        prefix = ["chroot", self.root] if self.root else []
        paths = {"datadir": self.data, "log-error": self.log, "socket": self.socket, "pid-file": self.log + ".pid"}
        return prefix + ["mysqld", "--no-defaults", "--user=root"] + list(words) + \
            [f"--{name}={path[len(self.root):]}" for name, path in paths.items()]

    def start_alone(self):
        """Starts a server of its own."""
        command(*self.mysqld("--initialize-insecure"))
        self.launch()

    def start(self):
        seeds = ",".join(f"{address(number)}:33061" for number in range(1, NODES + 1))
        group = {"group-name": self.NAME, "start-on-boot": "OFF", "local-address": f"{self.address}:33061",
                 "group-seeds": seeds, "recovery-get-public-key": "ON",
                 "ip-allowlist": f"10.213.{slot}.0/24", **self.MODE}
        self.launch("--plugin-load-add=group_replication.so",
                    *(f"--loose-group-replication-{name}={value}" for name, value in group.items()))

    def launch(self, *words):
        log_size = ["--innodb-redo-log-capacity=512M"] if self.durable else []
        self.spawn(self.mysqld(
            f"--port={PORT}", "--bind-address=0.0.0.0", "--mysqlx=OFF", "--skip-name-resolve",
            # Durable: a killed node would come back with a binary log that is ahead of its tables, and stay different.
            "--innodb-buffer-pool-size=256M", "--innodb-flush-log-at-trx-commit=1", "--sync-binlog=1",
            "--max-connections=1000", "--max-prepared-stmt-count=200000", f"--server-id={self.number}",
            "--gtid-mode=ON", "--enforce-gtid-consistency=ON", f"--report-host={self.address}",
            "--secure-file-priv=NULL", *log_size, *words))
        chaos.wait_for(f"node {self.number}", lambda: self.sql("SELECT 1", check=False) == "1", 60)

    def is_synced(self):
        return self.sql(f"{self.MEMBERS} AND member_id = @@server_uuid", check=False) == "1"

    def begin_group(self):
        state = self.sql("SELECT member_state FROM performance_schema.replication_group_members "
                         "WHERE member_id = @@server_uuid", check=False)
        # While it recovers what it missed, it is left alone.
        if state != "RECOVERING" and not self.is_synced():
            self.sql("STOP GROUP_REPLICATION; START GROUP_REPLICATION", check=False, timeout=60)
        return self.is_synced()

    def restart(self):
        self.start()

    def wait_until_back(self):
        chaos.wait_for(f"node {self.number} in the group", self.begin_group, 180)

    @classmethod
    def form(cls, nodes):
        for node in nodes:
            command(*node.mysqld("--initialize-insecure"))
            node.start()
            node.sql("SET sql_log_bin = 0; CREATE USER repl@'%' IDENTIFIED BY 'repl'; "
                     "GRANT REPLICATION SLAVE, CONNECTION_ADMIN, BACKUP_ADMIN, GROUP_REPLICATION_STREAM ON *.* TO repl@'%'; "
                     "CREATE USER app@'%' IDENTIFIED BY 'app'; GRANT ALL ON *.* TO app@'%'; SET sql_log_bin = 1; "
                     "CHANGE REPLICATION SOURCE TO SOURCE_USER = 'repl', SOURCE_PASSWORD = 'repl' "
                     "FOR CHANNEL 'group_replication_recovery'")
            if node.number == 1:
                node.sql("SET GLOBAL group_replication_bootstrap_group = ON; START GROUP_REPLICATION; "
                         "SET GLOBAL group_replication_bootstrap_group = OFF", timeout=60)
            node.wait_until_back()
        # By default messages stop ten rounds behind the first that a dead node owes. Then each ten wait up to 20 s.
        nodes[0].sql("SELECT group_replication_set_write_concurrency(200)")
        nodes[0].create_database()


class Primary(Group):
    """A node of MySQL's Group Replication, with writes at one node. That is the second, which the faults break."""

    # A primary that was cut off doesn't know for some seconds after its return that it was removed, and shows old rows. So
    # the probe waits for the group. It would not wait for a table of performance_schema alone.
    PROBE = f"SET SESSION group_replication_consistency = 'BEFORE'; {Group.PROBE} AND member_role = 'PRIMARY' " \
            "AND EXISTS (SELECT * FROM mysql.user)"
    SETTINGS = {"all write to the primary": [2, 2, 2]}
    # The group accepts no write before it has removed a dead primary: at once when it notices the death, not 5 s later.
    MODE = {"single-primary-mode": "ON", "member-expel-timeout": "0"}

    @classmethod
    def form(cls, nodes):
        super().form(nodes)
        nodes[1].lead()

    def lead(self):
        self.sql("SELECT group_replication_set_as_primary(@@server_uuid)", timeout=60)


KINDS = {"galera": Galera, "group": Group, "primary": Primary}


@contextlib.contextmanager
def cluster(kind):
    directory = tempfile.mkdtemp(prefix="cluster-")
    os.chmod(directory, 0o755)
    with network():
        nodes = [kind(number, directory) for number in range(1, NODES + 1)]
        try:
            kind.form(nodes)
            yield nodes, directory
        finally:
            for node in nodes:
                node.kill()
            # Those of a MySQL in a directory of its own lie there.
            for path in [directory] + [os.path.dirname(node.directory) for node in nodes]:
                shutil.rmtree(path, ignore_errors=True)


# HAProxy, which prefers each server's own node. A node that isn't part of the cluster loses its connections.

HAPROXY = """
global
  external-check
  insecure-fork-wanted
defaults
  mode tcp
  timeout connect 1s
  timeout client 1h
  timeout server 1h
  timeout check 2s
  default-server inter 1s fastinter 500ms fall 2 rise 2 on-marked-down shutdown-sessions
backend nodes
  option external-check
  external-check path "/usr/local/bin:/usr/bin:/bin"
  external-check command {check}
{checked}
"""
CHECK = """#!/bin/sh
mariadb --no-defaults --host="$3" --port="$4" --user=app --password=app --skip-ssl --connect-timeout=2 \
  --batch --skip-column-names -e "{probe}" | grep -q .
"""


@contextlib.contextmanager
def proxies(nodes, directory):
    """The URLs of the servers, each by a proxy to its own node, or to another one."""
    check, path = os.path.join(directory, "check"), os.path.join(directory, "haproxy.cfg")
    with open(check, "w") as file:
        file.write(CHECK.format(probe=nodes[0].PROBE))
    os.chmod(check, 0o755)
    text = HAPROXY.format(check=check, checked="\n".join(
        f"  server node{node.number} {node.address}:{PORT} check" for node in nodes))
    urls = []
    for own in nodes:
        port = chaos.free_port()
        urls.append(f"mysql://app:app@127.0.0.1:{port}/app")
        text += f"listen server{own.number}\n  bind 127.0.0.1:{port}\n"
        for node in nodes:
            backup = "" if node is own else " backup"
            text += f"  server node{node.number} {node.address}:{PORT} track nodes/node{node.number}{backup}\n"
    with open(path, "w") as file:
        file.write(text)
    with open(os.path.join(directory, "haproxy.log"), "w") as log:
        proxy = subprocess.Popen(["haproxy", "-db", "-f", path], stdout=log, stderr=log)
    try:
        # At first it takes all nodes for good ones.
        for url in urls:
            words = [check, "", "", "127.0.0.1", url.split(":")[-1].split("/")[0]]
            chaos.wait_for("the proxy", lambda: subprocess.run(words, stderr=subprocess.DEVNULL).returncode == 0)
        yield urls
    finally:
        proxy.kill()
        proxy.wait()


# The API tests, whose instances use different nodes.

def tests(kind, words):
    program = os.environ.get("API_TESTS") or max(
        (path for path in glob.glob(os.path.join(chaos.TARGET, "debug/deps/api-*")) if "." not in os.path.basename(path)),
        key=os.path.getmtime, default=None)
    if not program:
        sys.exit("build the tests first: cargo test --no-run --test api")
    skipped = [part for name in kind.SKIPPED for part in ("--skip", name)]
    failures = []
    with cluster(kind) as (nodes, _):
        urls = [node.url for node in nodes]
        environment = dict(os.environ, DATABASE_URL=urls[0], CLUSTER_URLS=",".join(urls), RUST_BACKTRACE="0")
        for word in words or ["journey", "races", "queue::"]:
            # One at a time: a node rolls back other transactions while it creates a test's tables, sqlx's own included.
            try:
                done = subprocess.run([program, "--test-threads=1", word] + skipped, env=environment, timeout=TESTS_TIMEOUT)
                failures += [f"tests of {word} failed"] if done.returncode else []
            except subprocess.TimeoutExpired:
                failures.append(f"tests of {word} took longer than {TESTS_TIMEOUT} s")
    return failures


# The faults. Each breaks the second node or its server, and mends it.

SECONDS = 10


def kill(node, _):
    node.kill()
    time.sleep(SECONDS)
    node.restart()


def cut(node, _):
    node.cut()
    time.sleep(SECONDS)
    node.join()


def pause(node, _):
    node.send(signal.SIGSTOP)
    time.sleep(SECONDS)
    node.send(signal.SIGCONT)


def freeze(_, server):
    server.process.send_signal(signal.SIGSTOP)
    time.sleep(SECONDS)
    server.process.send_signal(signal.SIGCONT)


class Target:
    """What chaos.py calls a database."""

    def __init__(self, url):
        self.url = url


def gap(load, since, until):
    """The longest time without a write that was answered as it should be. Some reads are served without the database."""
    ends = sorted(r[1] for r in load.results if r[2] in chaos.WRITES and chaos.is_good(*r[3:]) and since <= r[1] <= until)
    ends = [since] + ends + [until]
    return max(later - earlier for earlier, later in zip(ends, ends[1:]))


def run_fault(fault, title, node, servers, targets):
    """Runs a fault under load, prints its row of the table, and gives its failures."""
    node.lead()
    loads = [chaos.Load(server.port) for server in servers]
    time.sleep(2)
    began = time.monotonic()
    fault(node, servers[1])
    node.wait_until_back()
    time.sleep(3)
    until = time.monotonic()
    for load in loads:
        load.finish()
    gaps = [gap(load, began, until) for load in loads]
    answers = [chaos.collections.Counter(f"{r[3]} {r[4]}".strip() for r in load.results if began <= r[1] and r[2] != "readyz")
               for load in loads]
    print(f"{title:8} {gaps[0]:14.1f} s {gaps[1]:6.1f} {gaps[2]:6.1f}  "
          + " | ".join(", ".join(f"{count} × {what}" for what, count in some.most_common(6)) for some in answers), flush=True)
    allowed = [LONGEST_GAP, LONGEST_GAP + (SECONDS if fault is freeze else 0), LONGEST_GAP]
    wrong = [f"server {number} was silent for {length:.1f} s"
             for number, (length, most) in enumerate(zip(gaps, allowed), 1) if length > most]
    if fault is kill and (slowest := max(gap(load, began, began + SECONDS) for load in loads)) > node.FAILOVER:
        wrong.append(f"a server went on {slowest:.1f} s after the death of a node")
    wrong += [strange for load in loads for strange in chaos.strange(load.results)]
    wrong += chaos.damage(loads, [(server.port, target) for server, target in zip(servers, targets)])
    return [f"{title}: {what}" for what in wrong]


def faults(kind, names):
    chaos.CLIENTS = 16
    known = {fault.__name__: fault for fault in (kill, cut, pause, freeze)}
    failures = []
    with cluster(kind) as (nodes, directory), proxies(nodes, directory) as urls, contextlib.ExitStack() as ends:
        targets = [Target(url) for url in urls]
        # All at once: instances that migrate at different nodes.
        with concurrent.futures.ThreadPoolExecutor() as pool:
            for done in pool.map(lambda target: chaos.run("migrate", target), targets):
                if done.returncode:
                    failures.append("a migration failed")
        chaos.run("seed-demo", targets[0]).check_returncode()
        servers = [ends.enter_context(contextlib.closing(chaos.Server(target, directory, f"server{number}")))
                   for number, target in enumerate(targets, 1)]
        print(f"{'fault':8} {'gap of server 1':>16} {'2':>6} {'3':>6}  answers of the three servers meanwhile", flush=True)
        try:
            for name in names or known:
                failures += run_fault(known[name], name, nodes[1], servers, targets)
        except SystemExit as error:
            # A node that doesn't come back.
            failures.append(str(error))
        if failures:
            keep_logs(nodes, directory)
    return failures


def keep_logs(nodes, directory):
    kept = tempfile.mkdtemp(prefix="cluster-logs-")
    for path in glob.glob(os.path.join(directory, "*.log")) + [node.log for node in nodes if os.path.exists(node.log)]:
        shutil.copy(path, os.path.join(kept, path.strip("/").replace("/", "-")))
    print("The logs are in", kept, flush=True)


# The figures: rates of three servers on the nodes, beside the same servers on one database.

ONE = "one database, no cluster"
SCENARIOS = ["holds", "payments", "journeys", "joins"]
SECRET = "figures-of-a-cluster-0123456789abcdef"


def figures(kind, words):
    """Measures the settings one after the other, each on an empty database."""
    plot = next((word.removeprefix("--plot=") for word in words if word.startswith("--plot=")), None)
    scenarios = [word for word in words if not word.startswith("--")] or SCENARIOS
    chaos.BINARY = os.environ.get("BINARY", os.path.join(chaos.TARGET, "release/concert-reservation"))
    bench = [os.environ.get("BENCH", os.path.join(chaos.TARGET, "release/examples/bench"))]
    for program in [chaos.BINARY] + bench:
        if not os.access(program, os.X_OK):
            sys.exit(f"{program}: build it first: cargo build --release --bin concert-reservation --example bench")
    bench += scenarios if "--full" in words else ["--quick"] + scenarios
    # Each connection of the many is a file.
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    kind.durable = True
    results, failures = {}, []
    with cluster(kind) as (nodes, directory):
        try:
            for setting, numbers in kind.SETTINGS.items():
                used = [nodes[number - 1] for number in numbers]
                results[setting] = measure(setting, used, bench, directory, failures)
            for node in nodes:
                node.kill()
            alone = kind(1, os.path.join(directory, "alone"))
            nodes.append(alone)
            alone.start_alone()
            results[ONE] = measure(ONE, [alone] * NODES, bench, directory, failures)
        finally:
            if failures:
                keep_logs(nodes, directory)
    print_figures(results)
    if plot:
        with open(plot, "w") as file:
            subprocess.run([bench[0], "bars", "per second, 64 connections"], input=bar_lines(results), stdout=file, text=True,
                           check=True)
    return failures


def measure(setting, nodes, bench, directory, failures):
    """Measures servers on these nodes. Gives the rate, limit and latencies of each load by its name and connections."""
    print(f"\n## {setting}\n", flush=True)
    node, name = nodes[0], setting.split()[0]
    # A user without a password: one with it needs encryption, which would slow MySQL alone down.
    node.sql("CREATE USER IF NOT EXISTS bench@'%'; GRANT ALL ON *.* TO bench@'%'")
    node.create_database()
    targets = [Target(f"mysql://bench@{node.address}:{PORT}/app?ssl-mode=DISABLED") for node in nodes]
    chaos.run("migrate", targets[0]).check_returncode()
    with open(os.path.join(ROOT, ".env.example")) as file:
        variables = {found: "0" for found in re.findall(r"\b(?:RATE_LIMIT_|MAX_REQUESTS_PER_ADDRESS)\w*", file.read())}
    variables.update(TOKEN_SECRET=SECRET, DEMO="false")
    rows = {}
    with contextlib.ExitStack() as ends:
        servers = [ends.enter_context(contextlib.closing(chaos.Server(target, directory, f"{name}{number}", **variables)))
                   for number, target in enumerate(targets, 1)]
        urls = ",".join(f"http://127.0.0.1:{server.port}" for server in servers)
        environment = dict(os.environ, DATABASE_URL=targets[0].url, TOKEN_SECRET=SECRET, DEMO="false")
        process = subprocess.Popen(bench + ["--urls", urls], cwd=ROOT, env=environment, stdout=subprocess.PIPE,
                                   stderr=subprocess.STDOUT, text=True)
        try:
            for line in process.stdout:
                print(line, end="", flush=True)
                cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
                if len(cells) == 13 and cells[1].isdigit():
                    rows[cells[0], cells[1]] = cells[2], cells[3], cells[5], cells[6]
            if process.wait():
                failures.append(f"{setting}: the measurement failed")
        finally:
            process.kill()
            process.wait()
    return rows


def number(rate):
    return float(rate.replace(",", ""))


def print_figures(results):
    one = results.get(ONE, {})
    print("\n| load | connections | servers | per second | limit | p50 ms | p99 ms | ÷ one database |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    for load in dict.fromkeys(load for rows in results.values() for load in rows):
        for setting, rows in results.items():
            if load in rows:
                rate, limit, p50, p99 = rows[load]
                ratio = f"{number(rate) / number(one[load][0]):.2f}" if number(one.get(load, ["0"])[0]) else "—"
                print("|", " | ".join([*load, setting, rate, limit, p50, p99, ratio]), "|")
    sys.stdout.flush()


def bar_lines(results):
    """The rates with 64 connections: a line for each load and setting, with a name, a value and a label."""
    lines = []
    for load in dict.fromkeys(load for rows in results.values() for load in rows if load[1] == "64"):
        for setting in sorted(results, key=lambda setting: setting != ONE):
            if load in results[setting]:
                rate = results[setting][load][0]
                lines.append(f"{load[0]}, {setting}\t{number(rate)}\t{rate}\n")
    return "".join(lines)


def nodes_alone(kind, _):
    with cluster(kind) as (nodes, _):
        print("\n".join(node.url for node in nodes), flush=True)
        with contextlib.suppress(KeyboardInterrupt):
            signal.pause()
    return []


LISTEN = """
import socket, sys
server = socket.create_server(("", int(sys.argv[1])))
print("ready", flush=True)
while True:
    server.accept()
"""


def are_connected():
    """Whether this machine and a node reach another node: a firewall may separate them."""
    listener = subprocess.Popen(["ip", "netns", "exec", namespace(2), sys.executable, "-c", LISTEN, str(PORT)],
                                stdout=subprocess.PIPE)
    try:
        listener.stdout.readline()
        knock = [sys.executable, "-c", f"import socket; socket.create_connection(('{address(2)}', {PORT}), 5)"]
        ways = [[], ["ip", "netns", "exec", namespace(1)]]
        return all(subprocess.run(way + knock, stderr=subprocess.DEVNULL).returncode == 0 for way in ways)
    finally:
        listener.kill()
        listener.wait()


def ready(kind, _):
    missing = kind.lacks()
    if missing:
        unable("needs " + ", ".join(missing))
    try:
        kind.provide_scripts()
    except (subprocess.CalledProcessError, OSError):
        unable("needs Debian's package mariadb-server, which could not be downloaded")
    with network():
        if not are_connected():
            unable("needs a bridge that forwards, which a firewall prevents")
    return []


def main():
    actions = {"tests": tests, "faults": faults, "figures": figures, "nodes": nodes_alone, "ready": ready}
    if len(sys.argv) < 3 or sys.argv[1] not in KINDS or sys.argv[2] not in actions:
        sys.exit(__doc__.strip())
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    failures = actions[sys.argv[2]](KINDS[sys.argv[1]], sys.argv[3:])
    for failure in failures:
        print("BROKEN ", failure)
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    main()
