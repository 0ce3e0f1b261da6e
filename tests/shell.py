"""What the shell says of what cannot be, for the tests that ask."""


def fails(result: tuple[int, str, str], *words: str) -> None:
    """Assert one clear line on stderr, nothing on stdout, and exit code 2.

    What was read may be said before it.
    """
    code, out, err = result
    assert (code, out) == (2, ""), (code, out, err)
    lines = [line for line in err.splitlines() if not line.startswith("read as: ")]
    assert len(lines) == 1, err
    assert "Traceback" not in err
    for word in words:
        assert word in err, (word, err)
