"""A user's model by its name: "module:function" -> apply, params and, if the user has one, init."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

from saliency_jax.typing import Apply, Init

FORM = "--model must be MODULE:FUNCTION or FILE.py:FUNCTION"


class UserModel(NamedTuple):
    """What the user's function returned; init is None where it returned two values."""

    apply: Apply
    params: Any
    init: Init | None


def load_model(name: str) -> UserModel:
    """Import a module or a file and call the function that gives the model.

    Args:
        name: "module:function" or "path/to/file.py:function".

    Raises:
        ValueError: the name has another form, the module cannot be imported, it has no such function, or the function
            fails or returns something else than (apply, params) or (apply, params, init).
    """
    where, _, function_name = name.rpartition(":")
    if not where or not function_name:
        raise ValueError(f"{FORM}, got {name!r}")
    module = _imported(where)
    make = getattr(module, function_name, None)
    if not callable(make):
        raise ValueError(f"{FORM}: {where} has no function {function_name!r}")
    try:
        made = make()
    except Exception as error:
        raise ValueError(f"--model: {name} raised {_said(error)}") from error
    if not isinstance(made, tuple) or len(made) not in (2, 3):
        found = f"a tuple of {len(made)}" if isinstance(made, tuple) else type(made).__name__
        raise ValueError(f"--model: {name} must return (apply, params) or (apply, params, init), got {found}")
    apply, params, init = (*made, None)[:3]
    if not callable(apply):
        raise ValueError(f"--model: {name} must return a function first, got {type(apply).__name__}")
    if init is not None and not callable(init):
        raise ValueError(f"--model: {name} must return init(key) -> params third, got {type(init).__name__}")
    return UserModel(apply, params, init)


def _imported(where: str) -> ModuleType:
    try:
        if where.endswith(".py"):
            return _from_file(Path(where))
        # As with python -m: what lies here is found.
        if "" not in sys.path:
            sys.path.insert(0, "")
        importlib.invalidate_caches()
        return importlib.import_module(where)
    except Exception as error:
        raise ValueError(f"--model: cannot import {where}: {_said(error)}") from error


def _from_file(path: Path) -> ModuleType:
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path}")
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{path} is no Python file")
    module = importlib.util.module_from_spec(spec)
    # Modules beside it are found, and dataclasses in it find their module.
    sys.path.insert(0, str(path.parent.absolute()))
    sys.modules[path.stem] = module
    spec.loader.exec_module(module)
    return module


def _said(error: Exception) -> str:
    return f"{type(error).__name__}: {(str(error).splitlines() or [''])[0]}"
