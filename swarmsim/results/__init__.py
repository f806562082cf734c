"""What a run leaves behind: its directory, metrics, checkpoints and plots."""
