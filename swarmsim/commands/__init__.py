"""The commands: servers and components as programs of their own, and tools for run directories."""
