"""What a check of an explainer found: one line a rule, as a table, and as one error where rules are broken."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple


class Finding(NamedTuple):
    """What was found of one rule.

    Attributes:
        rule: its name.
        passed: whether it holds; None where it could not be looked at.
        detail: what was found, and what to do where the rule is broken.
    """

    rule: str
    passed: bool | None
    detail: str


class Contract(NamedTuple):
    """What was found of every rule; `print` shows it as a table."""

    findings: tuple[Finding, ...]

    def broken(self) -> tuple[Finding, ...]:
        """The findings of the rules that do not hold."""
        return tuple(finding for finding in self.findings if finding.passed is False)

    def __str__(self) -> str:
        """One line a rule: its name, whether it holds, what was found."""
        return _table(self.findings)


class BrokenContract(AssertionError):
    """An explainer breaks rules of its contract; the message lists all of them.

    It is an AssertionError, since it speaks of the explainer that was tested; a ValueError or a TypeError of
    `check_explainer` speaks of its own arguments.

    Attributes:
        contract: what was found of every rule, also of those that hold.
    """

    def __init__(self, name: str, contract: Contract) -> None:
        self.contract = contract
        broken = contract.broken()
        unreached = sum(finding.passed is None for finding in contract.findings)
        rest = f"; {unreached} more wait for these" if unreached else ""
        super().__init__(
            f"{name} breaks {len(broken)} of {len(contract.findings)} rules{rest}:\n{_table(broken, marked=False)}"
        )


def _table(findings: Iterable[Finding], *, marked: bool = True) -> str:
    marks = {True: "yes", False: "NO", None: "-"}
    rows = [(finding.rule, marks[finding.passed], finding.detail) for finding in findings]
    width = max((len(rule) for rule, _, _ in rows), default=0)
    return "\n".join(
        f"{rule:<{width}}  {mark:<3}  {detail}" if marked else f"{rule}: {detail}" for rule, mark, detail in rows
    )
