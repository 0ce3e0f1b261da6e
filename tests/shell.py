"""What the shell says of what cannot be, for the tests that ask."""


def fails(result: tuple[int, str, str], *words: str) -> None:
    """Assert one clear line on stderr, nothing on stdout, and exit code 2."""
    code, out, err = result
    assert (code, out) == (2, ""), (code, out, err)
    assert len(err.splitlines()) == 1, err
    assert "Traceback" not in err
    for word in words:
        assert word in err, (word, err)
