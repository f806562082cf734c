"""Reports, which show a run while it is running: in the terminal, on a page, in TensorBoard."""
