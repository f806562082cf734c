"""Control: asks the environment for a run of some seconds, and leaves once it is done."""

import sys
import uuid

from common import CUSTOM, connected, prepare, say


def main() -> None:
    """Start the run whose seconds are the second argument, and await its end; the benchmark bounds the wait."""
    prepare()
    client = connected("control")
    client.join_room("control")
    root = uuid.uuid4().hex
    start = {"TYPE": CUSTOM.id, "ID": root, "ROOT_ID": root, "TO_ROOM": "control"}
    client.send({**start, "SECONDS": float(sys.argv[2]), "DETERMINISTIC": False})
    message = client.receive()
    while message is not False and message.get("STATUS") != "ENV_DONE":
        message = client.receive()
    if message is False:
        sys.exit("the server closed the link before the environment was done")
    say(done=True)


main()
