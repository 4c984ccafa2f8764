"""What the tests of the randomization tests share."""

import jaxtyping
import pytest


@pytest.fixture
def as_a_user(monkeypatch):
    """Arguments go unchecked by beartype, as outside of the tests: what is left is the library's own check."""
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)
