"""How anything reaches anything: messages, rooms, clients, and the links that carry them."""
