"""The only pretend exchange in the core: matching, queue position, latency, fees."""
