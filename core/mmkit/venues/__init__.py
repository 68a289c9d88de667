"""What several plugins have to know of one venue: plugins do not import each other, and this is written once."""
