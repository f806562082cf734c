

import uuid
import socket
import time
from swarmsim import Client, MESSAGE_TYPE, Swarm



swarm = Swarm()
swarm.start()


for i in range(20):
    swarm.add("model"+str(i), "02_model.py", terminal=False)
    swarm.start("model"+str(i))


COMPONENT_NAME = 'control'
PORT = 8080
SERVER = socket.gethostbyname(socket.gethostname())
ADDR = (SERVER, PORT)
FORMAT = 'utf-8'
HEADER_LENGTH = 10
client = Client(COMPONENT_NAME,SERVER,PORT,FORMAT,HEADER_LENGTH)
client.join_room('control')




def start(nr_of_episodes = 1, deterministic = False):
    msg = {'ROOT_ID':uuid.uuid4().hex,
        'ID':uuid.uuid4().hex,
        'TYPE': MESSAGE_TYPE.DATA.CUSTOM.id,
        'NR_OF_EPISODE': nr_of_episodes,
        'DETERMINISTIC': deterministic,
        'TO_ROOM': 'control'
    }
    client.send(msg)
    ## WAIT FOR RESPONSE
    while True:
        message = client.receive()
        if message is not False:
            if 'AVG_SCORE' in message.keys() and 'STATUS' in message.keys():
                if message['STATUS'] == 'ENV_DONE':
                    return  message['AVG_SCORE']


def start_evo():
    msg = {'ROOT_ID':uuid.uuid4().hex,
        'ID':uuid.uuid4().hex,
        'TYPE': MESSAGE_TYPE.DATA.CUSTOM.id,
        'EVOLUTION': True,
        'TO_ROOM': 'control'
    }
    client.send(msg)
    ## WAIT FOR RESPONSE
    while True:
        message = client.receive()
        if message is not False:
            if 'STATUS' in message.keys():
                if message['STATUS'] == 'EVO_DONE':
                    return  True



TRAIN_EVALS = 20
for i in range(5):
    print("ROUND " + str(i))
    score = start(TRAIN_EVALS,deterministic=False)
    print(score)
    score = start(1,deterministic=True)
    print(score)
    evdone = start_evo()
    print(evdone)
    time.sleep(1)
    score = start(1,deterministic=True)
    print(score)


swarm.stop()