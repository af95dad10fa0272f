"""Tests that need a server and an environment of their own; see `make io_test`."""
