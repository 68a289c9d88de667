"""The thin loops, one per way of running, and what they share."""
