"""Messages between a client and its server alone (COMMAND/CUSTOM with a key LINK), and their mutual authentication.

Client and server authenticate each other by challenge and response: each sends an HMAC-SHA256 (RFC 2104) of both nonces
of the connection, keyed with the shared secret. Neither the secret nor anything that can be replayed is transmitted.
"""

import hmac
import ipaddress
import os
import secrets
import socket

from swarmsim.errors import AddressError
from swarmsim.messaging.message import MESSAGE_TYPE, Message

SECRET_VARIABLE = "SWARMSIM_SECRET"  # noqa: S105  (the variable's name, not a secret)
MIN_SECRET_LENGTH = 16

# Keys in REGISTER that announce a client of this package, and the echo by which it recognises any other server.
EXTENSION, MEMBER, ECHO = "SWARMSIM", "MEMBER", "ECHO"
WELCOME, CHALLENGE, PROVE, REFUSED = "WELCOME", "CHALLENGE", "PROVE", "REFUSED"
ASK, ANSWER, BEAT = "ASK", "ANSWER", "BEAT"
SILENCE = "SILENCE"  # the key in WELCOME with the seconds of silence after which either end gives the other up
VERSION = 1


def link_message(kind: str, **fields: object) -> Message:
    """Return a message from one end of a connection to the other."""
    return {"TYPE": MESSAGE_TYPE.COMMAND.CUSTOM.id, "LINK": kind, **fields}


def is_link_message(message: Message) -> bool:
    return "LINK" in message and message.get("TYPE") == MESSAGE_TYPE.COMMAND.CUSTOM.id


def shared_secret(given: str | None) -> str | None:
    """Return `given`, or the secret of the environment variable, or None; raises AddressError if it is too short."""
    secret = given if given is not None else os.environ.get(SECRET_VARIABLE) or None
    if secret is not None and len(secret) < MIN_SECRET_LENGTH:
        raise AddressError(f"a shared secret has at least {MIN_SECRET_LENGTH} characters, not {len(secret)}")
    return secret


def new_nonce() -> str:
    return secrets.token_hex(16)


def compute_hmac(secret: str, side: str, server_nonce: str, client_nonce: str) -> str:
    """Return the HMAC by which `side` ("client" or "server") proves that it knows the secret, in hex."""
    return hmac.digest(secret.encode(), f"swarmsim {side} {server_nonce} {client_nonce}".encode(), "sha256").hex()


def verify_hmac(received: object, secret: str, side: str, server_nonce: str, client_nonce: object) -> bool:
    """Return whether `received` is the HMAC of `side` for these nonces, compared in constant time."""
    return (
        isinstance(received, str)
        and isinstance(client_nonce, str)
        and len(client_nonce) == len(server_nonce)
        and hmac.compare_digest(received.encode(), compute_hmac(secret, side, server_nonce, client_nonce).encode())
    )


def check_exposure(server: str, secret: str | None, *, insecure: bool) -> None:
    """Raise AddressError if other machines can reach a server that has no secret and is not explicitly insecure."""
    if secret is None and not insecure and not _is_loopback(server):
        raise AddressError(
            f"{server} can be reached from other machines: set a shared secret ({SECRET_VARIABLE}), or choose "
            "insecure to accept every client"
        )


def _is_loopback(server: str) -> bool:
    """Return whether `server` resolves to loopback addresses alone; False if it cannot be resolved."""
    try:
        entries = socket.getaddrinfo(server or "0.0.0.0", None)  # noqa: S104  (the meaning of an empty name)
    except (OSError, UnicodeError):
        return False
    return all(ipaddress.ip_address(str(entry[4][0]).partition("%")[0]).is_loopback for entry in entries)
