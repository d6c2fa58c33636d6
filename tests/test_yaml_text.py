from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from raylab.yaml_text import MOST_CHARACTERS, parse_yaml


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[" * 100_000, "more than 32 levels deep"),
        ("{a: " * 100_000, "more than 32 levels deep"),
        ("\n".join(f"{' ' * n}a:" for n in range(1000)), "more than 32 levels deep"),
        ("a0: &a0 [1]\n" + "".join(f"a{n}: &a{n} [{f'*a{n - 1}, ' * 9}]\n" for n in range(1, 12)), "aliases"),
        ("a0: &a0 [1]\n" + "".join(f"a{n}: &a{n} [*a{n - 1}]\n" for n in range(1, 3000)), "aliases"),
        ("a: &a [*a]", "aliases"),
        ("a: [1", "line 1: not YAML"),
        ("a: b: c", "line 1: not YAML"),
        ("a: 2024-13-45", "not YAML"),
        ("!!python/object/apply:os.system [ls]", "not YAML"),
        ("? [a]\n: b", "not YAML"),
        ("a\x00b", "not YAML"),
        (" " * (MOST_CHARACTERS + 1), "characters, more than"),
    ],
)
def test_what_would_hang_or_end_a_process_is_one_line(text, words):
    with pytest.raises(ValueError, match=words) as caught:
        parse_yaml(text)
    assert "\n" not in str(caught.value)


def test_aliases_within_reason_are_read():
    assert parse_yaml("a: &a {x: 1}\nb: [*a, *a]\n") == {"a": {"x": 1}, "b": [{"x": 1}, {"x": 1}]}


@settings(max_examples=300, deadline=None)
@given(st.text("ab:-[]{}&*!?|>'\"#%@,0123.~\n\t \\x", max_size=60))
def test_any_text_gives_a_value_or_one_error(text):
    told = ""
    try:
        parse_yaml(text)
    except ValueError as error:
        told = str(error)
    assert "\n" not in told
