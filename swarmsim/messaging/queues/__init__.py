"""The link between processes of one host: named pipes, with flow control by shared counters."""
