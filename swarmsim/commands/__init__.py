"""What is done with a swarm by name: its programs, and what is made of a run that is there."""
