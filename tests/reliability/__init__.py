"""What holds when hosts, networks, programs and the system fail; docs/reliability.md tells it."""
