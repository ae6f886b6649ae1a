"""A mail server for tests. Prints its port, then each message, as lines of JSON. Answers each line of its standard
input with a line, so that a reader knows that it has read all messages before. Ends when its standard input closes."""

import argparse
import asyncio
import base64
import email
import email.policy
import itertools
import json
import ssl
import sys

from aiosmtpd.smtp import SMTP, AuthResult


def arguments():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--replies", default="250", help="statuses of messages, with commas; the last one is repeated")
    parser.add_argument("--hang", action="store_true", help="never answer a message")
    parser.add_argument("--certificate", help="a file with a certificate and its key, for STARTTLS")
    parser.add_argument("--require-tls", action="store_true", help="refuse mail before STARTTLS")
    parser.add_argument("--implicit-tls", action="store_true", help="TLS from the first byte")
    parser.add_argument("--login", help="require this user:password")
    return parser.parse_args()


class Handler:
    def __init__(self, options):
        codes = options.replies.split(",")
        self.codes = itertools.chain(codes, itertools.repeat(codes[-1]))
        self.hang = options.hang

    async def handle_DATA(self, server, session, envelope):
        code = None if self.hang else int(next(self.codes))
        message = email.message_from_bytes(envelope.content, policy=email.policy.default)
        leaves = [part for part in message.walk() if not part.is_multipart()]
        parts = {part.get_content_type(): part.get_content() for part in leaves}
        say(
            status=code,
            sender=envelope.mail_from,
            recipients=envelope.rcpt_tos,
            headers={name.lower(): str(value) for name, value in message.items()},
            text=parts.get("text/plain"),
            html=parts.get("text/html"),
            pictures=[picture(part) for part in leaves if part.get_content_maintype() == "image"],
            size=len(envelope.content),
            encrypted=session.ssl is not None or server.transport.get_extra_info("ssl_object") is not None,
            user=str(session.auth_data.login, "utf-8") if session.authenticated else None,
        )
        if code is None:
            await asyncio.Event().wait()
        # A real server repeats the address in its refusal.
        return f"{code} OK" if code < 400 else f"{code} 5.1.1 <{envelope.rcpt_tos[0]}> is refused"


def picture(part):
    content = base64.b64encode(part.get_content()).decode()
    return {"id": part["content-id"], "type": part.get_content_type(), "name": part.get_filename(),
            "disposition": part.get_content_disposition(), "content": content}


def authenticator(login):
    user, password = (part.encode() for part in login.split(":", 1))

    def check(server, session, envelope, mechanism, data):
        return AuthResult(success=(data.login, data.password) == (user, password), handled=False, auth_data=data)

    return check


def say(**message):
    print(json.dumps(message), flush=True)


async def main():
    options = arguments()
    tls = None
    if options.certificate:
        tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        tls.load_cert_chain(options.certificate)
    settings = {"hostname": "localhost", "enable_SMTPUTF8": True}
    if tls and not options.implicit_tls:
        settings |= {"tls_context": tls, "require_starttls": options.require_tls}
    if options.login:
        settings |= {"auth_required": True, "authenticator": authenticator(options.login)}
        settings["auth_require_tls"] = not options.implicit_tls
    handler = Handler(options)
    loop = asyncio.get_running_loop()
    server = await loop.create_server(
        lambda: SMTP(handler, loop=loop, **settings), "127.0.0.1", 0, ssl=tls if options.implicit_tls else None
    )
    say(port=server.sockets[0].getsockname()[1])
    questions = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(questions), sys.stdin)
    async for _ in questions:
        say(drained=True)


asyncio.run(main())
