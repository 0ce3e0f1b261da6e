"""What a page holds, for the tests that read one."""

from html.parser import HTMLParser

VOID = {"meta", "img", "br", "link", "input", "hr"}
HOSTILE = "<script>alert('owned')</script> & \"quoted\" <img src=x onerror=alert(1)>"
MARK = "<blink title='x'>\"&amp;"


class Page(HTMLParser):
    """Collects tags, attributes (tag, name, value) and text, and checks that tags are closed in
    order.
    """

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str, str | None]] = []
        self.words: list[str] = []
        self.feed(html)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(tag, name, value) for name, value in attrs]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())

    @property
    def named(self) -> set[str]:
        """The names of all attributes."""
        return {name for _, name, _ in self.attributes}


def marks(html: str) -> int:
    """Return how often a page shows `MARK` as text; it is never a tag, and no entity of its own is
    read as one.
    """
    page = Page(html)
    assert "blink" not in page.tags
    assert MARK not in html
    return "".join(page.words).count(MARK)
