"""A page of HTML as a list of its elements, to be asked what stands where."""

from html.parser import HTMLParser

VOID = {"meta", "img", "br", "hr", "link", "input"}


class Page(HTMLParser):
    """All elements with their attributes, texts and parents, in their order."""

    def __init__(self, source):
        super().__init__()
        self.elements, self.open = [], []
        self.feed(source)
        self.close()

    def handle_starttag(self, tag, attrs):
        found = {"tag": tag, "attributes": dict(attrs), "text": "", "inside": list(self.open)}
        self.elements.append(found)
        if tag not in VOID:
            self.open.append(found)

    def handle_endtag(self, tag):
        assert self.open.pop()["tag"] == tag, "elements must be nested"

    def handle_data(self, data):
        for element in self.open:
            element["text"] += data

    def all(self, tag, **attributes):
        return [
            e
            for e in self.elements
            if e["tag"] == tag and all(e["attributes"].get(k.strip("_")) == v for k, v in attributes.items())
        ]

    def within(self, tag, parent):
        return [e for e in self.all(tag) if any(outer is parent for outer in e["inside"])]

    def section(self, name):
        [found] = self.all("section", id=name)
        return found
