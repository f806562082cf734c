"""Says hello until it has been answered three times."""

from swarmsim import MESSAGE_TYPE, Client

client = Client("greeter", "127.0.0.1", 8090)
client.join_room("hall")
client.await_components("hall", 2, timeout=30)
for number in range(3):
    client.send({"TYPE": MESSAGE_TYPE.DATA.TEXT.id, "TO_ROOM": "hall", "DATA": f"hello {number}"})
    message = client.receive(timeout=30)
    while message["TYPE"] != MESSAGE_TYPE.DATA.TEXT.id:
        message = client.receive(timeout=30)
    print(message["SENT_BY"], "says", message["DATA"], flush=True)
client.close()
