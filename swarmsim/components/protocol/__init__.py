"""The messages of the main job, by room: a dataclass for each, which reads its fields from a message or writes them.

`read(message)` returns None if the message is of another kind, and raises MessageRefused if one of its fields cannot
be used. docs/protocol.md shows all messages.
"""
