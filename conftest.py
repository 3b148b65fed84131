"""What every test has: the tiny model and those of other kinds, and no way to a model hub."""

import os

os.environ.setdefault("HF_HUB_OFFLINE", "1")

pytest_plugins = ["tests.tiny_model", "tests.models"]
