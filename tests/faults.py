#!/usr/bin/env python3
"""Kills a server at every named point of a top-up, and prints what became of it.

  tests/faults.py                 every point, each also with a failing provider and with a database that dies as well
  tests/faults.py create settle   only the points whose names begin with these words

The server is the binary of `cargo build --features fault-points` (BINARY, default target/debug/concert-reservation). It
waits at the point given by FAULT_POINT, and this script kills it there with SIGKILL. The payment provider is a fake of
Stripe's API that keeps its promises about idempotency keys. It starts a MariaDB of its own, on free ports and in a
temporary directory. Leases are shortened by SQL, so that nothing waits for half a minute. Exits with 1 if a top-up doesn't
end as it should, or the audit or the reconciliation finds anything.
"""
import hashlib, hmac, http.server, json, os, re, shutil, subprocess, sys, tempfile, threading, time, urllib.parse, uuid

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import chaos
from chaos import BINARY, ROOT, Database, ask, free_port, wait_for

API = "/api/v1"
KEY, SECRET = "sk_test_faults", "whsec_faults"
FAULTS = ["none", "provider", "database"]
AMOUNT = 50000


class Stripe:
    """The part of Stripe's API that the server uses. While `failures` is positive, calls fail after having their effect."""

    def __init__(self):
        self.sessions, self.keys, self.refunds = {}, {}, {}
        self.failures, self.lock, self.port = 0, threading.Lock(), free_port()
        stripe = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
                self.reply(*stripe.post(self.path, dict(urllib.parse.parse_qsl(body)), self.headers.get("Idempotency-Key")))

            def do_GET(self):
                self.reply(*stripe.get(urllib.parse.urlsplit(self.path).path))

            def reply(self, status, value):
                with stripe.lock:
                    if stripe.failures > 0:
                        stripe.failures -= 1
                        status, value = 503, {"error": {"type": "api_error"}}
                data = json.dumps(value).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                try:
                    self.wfile.write(data)
                except OSError:
                    pass

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", self.port), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def post(self, path, form, key):
        with self.lock:
            if key in self.keys:
                return self.keys[key]
            if path == "/v1/checkout/sessions":
                number = f"cs_{len(self.sessions) + 1}"
                self.sessions[number] = {
                    "id": number, "object": "checkout.session", "url": f"https://pay.example/{number}", "status": "open",
                    "payment_status": "unpaid", "amount_total": int(form["line_items[0][price_data][unit_amount]"]),
                    "currency": form["line_items[0][price_data][currency]"], "created": int(time.time()),
                    "client_reference_id": form["client_reference_id"], "payment_intent": None,
                }
                answer = 200, dict(self.sessions[number])
            elif path.endswith("/expire"):
                session = self.sessions[path.split("/")[4]]
                if session["status"] != "open":
                    return 400, {"error": {"type": "invalid_request_error"}}
                session["status"] = "expired"
                answer = 200, dict(session)
            else:
                intent = form["payment_intent"]
                self.refunds[intent] = self.refunds.get(intent, 0) + 1
                answer = 200, {"id": "re_1", "object": "refund"}
            if key:
                self.keys[key] = answer
            return answer

    def get(self, path):
        with self.lock:
            if path == "/v1/checkout/sessions":
                complete = [dict(it) for it in self.sessions.values() if it["status"] == "complete"]
                return 200, {"object": "list", "data": complete, "has_more": False}
            session = self.sessions.get(path.split("/")[4])
            return (200, dict(session)) if session else (404, {"error": {"code": "resource_missing"}})

    def pay(self, session_id):
        session = self.sessions[session_id]
        session.update(status="complete", payment_status="paid", payment_intent=f"pi_{session_id}", url=None)
        return session

    def of(self, top_up_id):
        return [it for it in self.sessions.values() if it["client_reference_id"] == top_up_id]


class Scene:
    def __init__(self, directory):
        self.database, self.stripe, self.port = Database(directory), Stripe(), free_port()
        self.log = os.path.join(directory, "server.log")
        self.process = None

    def environment(self, point=""):
        return dict(os.environ, DATABASE_URL=self.database.url, LISTEN_ADDR=f"127.0.0.1:{self.port}", DEMO="true",
                    LOG_LEVEL="warn", PAYMENT_PROVIDER="stripe", STRIPE_API_URL=f"http://127.0.0.1:{self.stripe.port}",
                    STRIPE_SECRET_KEY=KEY, STRIPE_WEBHOOK_SECRET=SECRET, PUBLIC_URL="http://127.0.0.1", FAULT_POINT=point)

    def start(self, point=""):
        with open(self.log, "a") as log:
            self.begin = log.tell()
            self.process = subprocess.Popen([BINARY], env=self.environment(point), stdout=log, stderr=log)
        wait_for("the server", lambda: ask(self.port, "GET", "/readyz")[0] == 200, 60)

    def kill(self):
        if self.process and self.process.poll() is None:
            self.process.kill()
            self.process.wait()

    def wait_for_point(self, point):
        def reached():
            with open(self.log, errors="replace") as log:
                log.seek(self.begin)
                return f"fault point {point}" in log.read()
        wait_for(f"fault point {point} (is the binary built with --features fault-points?)", reached, 40)

    def crash(self, point, fault):
        """Kills the server at the point; the fault begins at the same instant."""
        self.wait_for_point(point)
        self.kill()
        if fault == "provider":
            self.stripe.failures = 3
        if fault == "database":
            self.database.end(9)
            self.database.start()
        self.start()

    def user(self):
        email = f"{uuid.uuid4()}@faults.example"
        account = {"email": email, "password": chaos.PASSWORD, "name": "Payer"}
        assert ask(self.port, "POST", API + "/users", account)[0] == 201
        login = ask(self.port, "POST", API + "/auth/login", {"email": email, "password": chaos.PASSWORD})[2]
        return {"Authorization": "Bearer " + login["accessToken"]}

    def create(self, user, key):
        return ask(self.port, "POST", API + "/points/top-ups", {"amount": str(AMOUNT)}, dict(user, **{"Idempotency-Key": key}))

    def notify(self, session):
        body = json.dumps({"type": "checkout.session.completed", "data": {"object": session}})
        now = str(int(time.time()))
        tag = hmac.new(SECRET.encode(), f"{now}.{body}".encode(), hashlib.sha256).hexdigest()
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}{API}/payment-providers/stripe/events", body.encode(),
                                         {"Content-Type": "application/json", "Stripe-Signature": f"t={now},v1={tag}"})
        try:
            return urllib.request.urlopen(request, timeout=60).status
        except urllib.error.HTTPError as error:
            return error.code
        except OSError:
            return 0

    def end_leases(self):
        """Makes every attempt due, as if its lease or pause had passed."""
        due = "UPDATE app.top_ups SET next_attempt_at = created_at WHERE next_attempt_at IS NOT NULL"
        # It may lose a deadlock with the server, which has the same rows by another index.
        wait_for("the end of the leases", lambda: self.database.sql(due, check=False))

    def row(self, user):
        top_ups = ask(self.port, "GET", API + "/points/top-ups", headers=user)[2]["items"]
        return top_ups[0] if top_ups else None

    def wait_until(self, what, probe):
        end = time.monotonic() + 60
        while not probe():
            if time.monotonic() > end:
                raise AssertionError(what)
            self.end_leases()
            time.sleep(0.3)

    def run(self, command):
        done = subprocess.run([BINARY, *command], env=self.environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        return done.returncode == 0, done.stdout


def in_background(work):
    results = []
    thread = threading.Thread(target=lambda: results.append(work()))
    thread.start()
    return lambda: (thread.join(), results[0])[1]


def create_again(scene, user, key):
    """Repeats the request as a client does, until it has its answer."""
    answers = []
    def repeat():
        status, code, value = scene.create(user, key)
        answers.append(f"{status}" + (f" {code}" if code else ""))
        return value if status == 201 else None
    value = None
    def attempt():
        nonlocal value
        value = repeat()
        return value is not None
    scene.wait_until("the request is never answered", attempt)
    return value, answers


def run_create(scene, point, fault):
    scene.start(point)
    user, key = scene.user(), str(uuid.uuid4())
    first = in_background(lambda: scene.create(user, key))
    scene.crash(point, fault)
    answers = [f"{first()[0]}"]
    top_up, more = create_again(scene, user, key)
    again = scene.create(user, key)
    assert again[2] == top_up, (again, top_up)
    session = scene.stripe.pay(scene.stripe.of(top_up["topUpId"])[0]["id"])
    scene.wait_until("the notification isn't accepted", lambda: scene.notify(session) == 204)
    return user, top_up, answers + more


def run_settle(scene, point, fault):
    scene.start(point)
    user = scene.user()
    status, _, top_up = scene.create(user, str(uuid.uuid4()))
    assert status == 201, top_up
    session = scene.stripe.pay(scene.stripe.of(top_up["topUpId"])[0]["id"])
    first = in_background(lambda: scene.notify(session))
    scene.crash(point, fault)
    answers = [str(first())]
    if fault != "provider":
        # It sends what wasn't acknowledged again; with the other fault it never does, and the job asks.
        answers.append(str(scene.notify(session)))
    return user, top_up, answers


def run_job(scene, point, fault):
    scene.start(point)
    user = scene.user()
    status, _, top_up = scene.create(user, str(uuid.uuid4()))
    assert status == 201, top_up
    scene.stripe.pay(scene.stripe.of(top_up["topUpId"])[0]["id"])
    scene.end_leases()
    scene.crash(point, fault)
    return user, top_up, []


def run_refund(scene, point, fault):
    scene.start(point)
    user = scene.user()
    status, _, top_up = scene.create(user, str(uuid.uuid4()))
    assert status == 201, top_up
    session = scene.stripe.pay(scene.stripe.of(top_up["topUpId"])[0]["id"])
    assert ask(scene.port, "DELETE", API + "/users/me", headers=user)[0] == 204
    answers = [str(scene.notify(session))]
    scene.crash(point, fault)
    return None, top_up, answers


def main(words):
    source = open(os.path.join(ROOT, "src/application/top_up/fault_point.rs")).read()
    points = re.findall(r'^    "([a-z_.]+)",$', source, re.M)
    points = [it for it in points if not words or any(it.startswith(word) for word in words)]
    runs = {"create": run_create, "settle": run_settle, "job": run_job, "refund": run_refund}
    directory, failed = tempfile.mkdtemp(prefix="faults-"), False
    scene = Scene(directory)
    print("| killed at | and | answers | top-up | points | checkouts | refunds |\n| --- | --- | --- | --- | --- | --- | --- |")
    try:
        for point in points:
            for fault in FAULTS:
                scene.stripe.failures = 0
                try:
                    user, top_up, answers = runs[point.split(".")[0]](scene, point, fault)
                    top_up_id = top_up["topUpId"]
                    sql = lambda column: scene.database.sql(
                        f"SELECT {column} FROM app.top_ups WHERE id = UNHEX(REPLACE('{top_up_id}', '-', ''))")
                    scene.wait_until("the top-up doesn't end", lambda: sql("next_attempt_at IS NULL") == "1")
                    status = sql("status")
                    credited = scene.database.sql(f"SELECT COALESCE(SUM(amount), 0) FROM app.point_transactions WHERE user_id = "
                                                  f"(SELECT user_id FROM app.top_ups WHERE id = UNHEX(REPLACE('{top_up_id}', '-', '')))")
                    sessions = scene.stripe.of(top_up_id)
                    refunds = sum(scene.stripe.refunds.get(it["payment_intent"], 0) for it in sessions)
                    expected = ("FAILED", "0.00", 1, 1) if user is None else ("COMPLETED", f"{AMOUNT}.00", 1, 0)
                    found = (status, credited, len(sessions), refunds)
                    verdict = "" if found == expected else f" **expected {expected}**"
                    answers = ", ".join(dict.fromkeys(answers)) or "-"
                    print(f"| `{point}` | {fault} | {answers} | {status} | {credited} | {len(sessions)} | {refunds} |{verdict}", flush=True)
                except AssertionError as error:
                    verdict = str(error)
                    print(f"| `{point}` | {fault} | **{error}** | | | | |", flush=True)
                failed |= bool(verdict)
                scene.kill()
        for command in (["audit"], ["reconcile"]):
            holds, output = scene.run(command)
            failed |= not holds
            print(f"\n{command[0]}:\n{output}")
    except BaseException:
        failed = True
        raise
    finally:
        scene.kill()
        scene.database.end(9)
        if failed:
            print(f"The log is {scene.log}")
        else:
            shutil.rmtree(directory, ignore_errors=True)
    return 1 if failed else 0


if __name__ == "__main__":
    import urllib.error, urllib.request
    sys.exit(main(sys.argv[1:]))
