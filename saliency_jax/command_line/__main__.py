"""`python -m saliency_jax.command_line`, for a checkout that is not installed."""

import sys

from saliency_jax.command_line import main

sys.exit(main())
