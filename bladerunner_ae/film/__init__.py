"""Films in and out. Import the modules themselves: each command loads only what it needs."""
