"""The server's side of tests/fake_server.py: one idea a file, from what passes (`values`) to the process (`server`)."""
