"""The link between programs: TCP connections to one server."""
