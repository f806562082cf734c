"""What shows a run while it goes on: the terminal, a page, TensorBoard."""
