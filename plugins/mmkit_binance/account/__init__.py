"""An account at Binance, directly: orders over its WebSocket API, signed; what is asked, over REST."""
