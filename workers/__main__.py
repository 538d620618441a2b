"""`workers`, and `python -m workers`. Processes that a worker spawns come by here too."""

import sys

from workers.models.absent import leave_out

# Training may be told to use one of them.
if sys.argv[1:2] != ["feedback"]:
    leave_out()

from workers.cli import main

if __name__ == "__main__":
    main()
