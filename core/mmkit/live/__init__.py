"""Orders at a real venue: none is lost, none is sent twice, whatever becomes of requests and answers."""
