"""Answers whoever says something in the hall."""

from swarmsim import MESSAGE_TYPE, Client, Trigger

TEXT = MESSAGE_TYPE.DATA.TEXT
client = Client("answerer", "127.0.0.1", 8090)
client.add_eventHandler(
    lambda message: {"DATA": f"{message['DATA']} to you"}, TEXT, "hall", trigger=Trigger(TEXT, "hall")
)
client.listen()
