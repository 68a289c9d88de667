"""What the live feed can take, over loopback: `make bench-feed`."""
