"""From the arguments of the command to its exit code."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence

from saliency_jax.command_line.arguments import parser

PASSED, FAILED, BAD_INPUT, BROKEN_OFF = 0, 1, 2, 130
"""Exit codes; the last one is what shells expect after Ctrl-C."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command.

    Args:
        arguments: without the command's name; those of the process where None.

    Returns:
        The exit code: 0 where all chosen explainers pass, 1 where one does not, 2 for bad input, with one line that
        says what is wrong, and 130 after Ctrl-C.

    Raises:
        SystemExit: the arguments are wrong (2), or a signal stopped the run (128 + its number).
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    options = parser().parse_args(given)
    try:
        # Slow to import, and not needed for --help.
        from saliency_jax.command_line.check import check
        from saliency_jax.command_line.pages import write_report

        if options.task == "report":
            print(write_report(options.folder, command=f"saliency-jax {shlex.join(given)}"))
            return PASSED
        passed = check(options, command=f"saliency-jax {shlex.join(given)}")
    except KeyboardInterrupt:
        print("broken off; the same command goes on from here", file=sys.stderr)
        return BROKEN_OFF
    except (ValueError, TypeError, ImportError, OSError, SyntaxError) as error:
        if options.traceback:
            raise
        print(f"saliency-jax: {_one_line(error)}", file=sys.stderr)
        return BAD_INPUT
    return PASSED if passed else FAILED


def _one_line(error: BaseException) -> str:
    """What went wrong; how to get what is missing, where a package is."""
    said = (str(error).splitlines() or [type(error).__name__])[0]
    if isinstance(error, ModuleNotFoundError) and error.name in ("PIL", "matplotlib", "tqdm"):
        return f"{said}: pip install 'saliency-jax[cli]'"
    return said
