"""Control: starts the swarm, then has it train, evaluate and evolve."""

import socket
import uuid

from swarmsim import MESSAGE_TYPE, Client, Swarm

swarm = Swarm()
swarm.start()

for i in range(20):
    swarm.add("model" + str(i), "02_model.py", terminal=False)
    swarm.start("model" + str(i))

COMPONENT_NAME = "control"
PORT = 8080
SERVER = socket.gethostbyname(socket.gethostname())
FORMAT = "utf-8"
HEADER_LENGTH = 10
client = Client(COMPONENT_NAME, SERVER, PORT, FORMAT, HEADER_LENGTH)
client.join_room("control")


def start(nr_of_episodes=1, deterministic=False):
    """Have the swarm play episodes, and return their mean score."""
    message = ask(NR_OF_EPISODE=nr_of_episodes, DETERMINISTIC=deterministic)
    return answer(message, "ENV_DONE")["AVG_SCORE"]


def start_evo():
    """Have the models evolve."""
    answer(ask(EVOLUTION=True), "EVO_DONE")
    return True


def ask(**fields):
    """Send a message to the control room, and return it."""
    message = {
        "ROOT_ID": uuid.uuid4().hex,
        "ID": uuid.uuid4().hex,
        "TYPE": MESSAGE_TYPE.DATA.CUSTOM.id,
        "TO_ROOM": "control",
        **fields,
    }
    client.send(message)
    return message


def answer(asked, status):
    """Wait for the answer of this status to that message."""
    while True:
        message = client.receive(timeout=600)
        if message.get("STATUS") == status and message.get("ROOT_ID") == asked["ROOT_ID"]:
            return message


TRAIN_EPISODES = 20
for i in range(5):
    print("ROUND", i)
    print("trained:  ", start(TRAIN_EPISODES, deterministic=False))
    print("evaluated:", start(1, deterministic=True))
    print("evolved:  ", start_evo())
    print("evaluated:", start(1, deterministic=True))

swarm.stop()
