"""Language models in a run: when they are asked, what came of it, and how it is told again."""
