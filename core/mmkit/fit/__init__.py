"""What a simulated exchange should have been told, from a recorded run with real answers and fills."""
