"""Patterns of users are those of `re`, and their matching ends whatever they say."""

from __future__ import annotations

import re
import time

import pytest

from wattest.patterns import Budget, OutOfTimeError, compile_pattern


@pytest.mark.parametrize("text", ["(", "[a", "(?P<1>a)", r"\p{Lu}", "a**", "(?<=a+)b"])
def test_what_is_no_regular_expression_is_told(text: str) -> None:
    with pytest.raises(ValueError, match="is not a regular expression: "):
        compile_pattern(text)


def test_flags_are_kept() -> None:
    pattern = re.compile(r"^ a . \w $  # all of them", re.I | re.S | re.M | re.X | re.A)
    assert [match.span() for match in Budget().matches(pattern, "x\nA\nb\nA\u00e9\u00e9")] == [
        (2, 5)
    ]
    assert compile_pattern("^b$").flags & re.MULTILINE


@pytest.mark.parametrize(
    ("pattern", "text"),
    [
        ("(?:(?:a|aa)+)+b", "a" * 60),
        (r"(x\w*?)+\1y!", "xz" * 2000),
    ],
)
def test_matching_ends(pattern: str, text: str) -> None:
    budget, began = Budget(0.2), time.process_time()
    with pytest.raises(OutOfTimeError, match=r"took more than 0.2 s: it backtracks without end"):
        list(budget.matches(re.compile(pattern), text))
    assert time.process_time() - began < 2
    with pytest.raises(OutOfTimeError):
        list(budget.matches(re.compile("a"), "a"))
    budget.allow(1.0)
    assert len(list(budget.matches(re.compile("a"), "aa"))) == 2
