"""How long one prediction takes, beside what the libraries take: docs/models.md."""
