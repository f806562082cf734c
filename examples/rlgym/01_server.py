"""The server: it holds the address at which all the other components find each other."""

import socket

from swarmsim import Server

PORT = 8080
SERVER = socket.gethostbyname(socket.gethostname())

server = Server(SERVER, PORT, "utf-8", 10)
server.start()
