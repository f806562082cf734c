"""What a server and a client of this package say to each other alone: who they are, and that they share a secret.

Such a message is a COMMAND/CUSTOM with a key LINK; it goes no further than to the other end of the connection.
Both prove the secret by HMAC-SHA256 (RFC 2104) over two numbers that are drawn anew for each connection, so that
neither the secret nor anything that can be said again passes over the wire.
"""

import hmac
import ipaddress
import os
import secrets
import socket

from swarmsim.errors import AddressError
from swarmsim.messaging.message import MESSAGE_TYPE, Message

SECRET_VARIABLE = "SWARMSIM_SECRET"  # noqa: S105  (where it is found, not what it is)
SHORTEST_SECRET = 16

# What a client says: "this is I" with REGISTER, then an echo that any server returns, and that tells it apart.
EXTENDS, MEMBER, ECHO = "SWARMSIM", "MEMBER", "ECHO"
WELCOME, CHALLENGE, PROVE, REFUSED, ASK, ANSWER = "WELCOME", "CHALLENGE", "PROVE", "REFUSED", "ASK", "ANSWER"
VERSION = 1


def link_message(kind: str, **fields: object) -> Message:
    """Return a message from one end of a connection to the other."""
    return {"TYPE": MESSAGE_TYPE.COMMAND.CUSTOM.id, "LINK": kind, **fields}


def is_link_message(message: Message) -> bool:
    return "LINK" in message and message.get("TYPE") == MESSAGE_TYPE.COMMAND.CUSTOM.id


def shared_secret(given: str | None) -> str | None:
    """Return the secret that was given, or else the environment's.

    Raises:
        AddressError: it is too short to be one.
    """
    secret = given if given is not None else os.environ.get(SECRET_VARIABLE) or None
    if secret is not None and len(secret) < SHORTEST_SECRET:
        raise AddressError(f"a shared secret has at least {SHORTEST_SECRET} characters, not {len(secret)}")
    return secret


def new_nonce() -> str:
    return secrets.token_hex(16)


def proof(secret: str, side: str, challenge: str, answer: str) -> str:
    """Return what shows that `side` (client or server) knows the secret, for the two numbers of a connection."""
    return hmac.digest(secret.encode(), f"swarmsim {side} {challenge} {answer}".encode(), "sha256").hex()


def proves(given: object, secret: str, side: str, challenge: str, answer: object) -> bool:
    """Tell whether `given` is that proof."""
    return (
        isinstance(given, str)
        and isinstance(answer, str)
        and len(answer) == len(challenge)
        and hmac.compare_digest(given.encode(), proof(secret, side, challenge, answer).encode())
    )


def check_exposure(server: str, secret: str | None, *, insecure: bool) -> None:
    """Have other machines let in only where that was meant.

    Raises:
        AddressError: `server` is not on loopback, and there is neither a secret nor the word that none is wanted.
    """
    if secret is None and not insecure and not is_loopback(server):
        raise AddressError(
            f"{server} can be reached from other machines: set a shared secret ({SECRET_VARIABLE}), or say "
            "insecure to serve whoever comes"
        )


def is_loopback(server: str) -> bool:
    """Tell whether `server` leads to this host alone; a name that leads nowhere does not."""
    try:
        found = socket.getaddrinfo(server or "0.0.0.0", None)  # noqa: S104  (what an empty name means)
    except (OSError, UnicodeError):
        return False
    return all(ipaddress.ip_address(str(entry[4][0]).partition("%")[0]).is_loopback for entry in found)
