"""What one step of a message costs: `pytest benchmarks/micro`, also under pytest-codspeed."""
