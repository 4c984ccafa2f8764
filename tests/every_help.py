"""Print, as JSON, what each script of a folder says to --help: one process for all, as importing JAX takes longest."""

import contextlib
import io
import json
import runpy
import sys
from pathlib import Path


def shown(script: Path) -> dict:
    """What a script prints for --help, and how it ends: its exit code, or the error that stops it."""
    sys.argv, out = [str(script), "--help"], io.StringIO()
    sys.path.insert(0, str(script.parent))
    try:
        with contextlib.redirect_stdout(out):
            runpy.run_path(str(script), run_name="__main__")
        end = "it went on"
    except SystemExit as exit_:
        end = str(exit_.code or 0)
    except Exception as error:
        end = repr(error)
    finally:
        sys.path.remove(str(script.parent))
    return {"end": end, "said": out.getvalue()}


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    scripts = [path for path in sorted(folder.rglob("*.py")) if 'if __name__ == "__main__"' in path.read_text()]
    print(json.dumps({path.relative_to(folder).as_posix(): shown(path) for path in scripts}))
