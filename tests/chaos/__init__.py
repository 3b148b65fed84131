"""Jobs under faults that come at random, and can be repeated: `python -m tests.chaos --runs 20 --seed 1`, or `make
chaos`."""
