"""How hypothesis draws its examples: the same in every run, or new ones where `make fuzz` asks for them."""

import os

from hypothesis import settings

settings.register_profile("same", derandomize=True)
settings.register_profile("new", derandomize=False, print_blob=True)
settings.load_profile("new" if os.environ.get("MMKIT_NEW_EXAMPLES") else "same")
