"""Reports: well-formed pages that hold all they show and run nothing they are given."""

import base64
import io
from html.parser import HTMLParser

import matplotlib.pyplot as plt
import numpy as np
import pytest
from PIL import Image

from sparsegen_classic import evaluate, open_images
from sparsegen_classic.reports import Report, evaluation_report

VOID = {"meta", "img", "br"}


class Page(HTMLParser):
    """Collect what a browser would see; unbalanced tags fail."""

    def __init__(self, html):
        super().__init__()
        self.open, self.seen, self.text, self.attributes = [], [], [], []
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.seen.append(tag)
        self.attributes.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


@pytest.fixture
def axes():
    yield plt.subplots(figsize=(2, 1))[1]
    plt.close("all")


def test_a_page_holds_everything_in_order(axes):
    report = Report("Title", "Summary")
    report.heading("One").paragraph("first\nsecond").code("a < b")
    report.table(["name", "n", "x"], [["a", 1234, 0.123456], ["b", np.int64(2), None]], "below")
    report.figure(axes, "a picture")
    html = report.html()
    page = Page(html)
    assert html.startswith("<!DOCTYPE html>")
    order = [tag for tag in page.seen if tag in ("h1", "h2", "p", "pre", "table", "caption", "figure")]
    assert order == ["h1", "p", "h2", "p", "pre", "table", "caption", "figure"]
    text = [part for part in page.text if part.strip()]
    for part in ("Title", "Summary", "first", "second", "a < b", "1,234", "0.1235", "below", "a picture"):
        assert part in text
    numbers = [attrs for tag, attrs in page.attributes if tag == "td" and attrs.get("class") == "number"]
    assert len(numbers) == 3


def test_nothing_is_fetched_and_nothing_given_is_run(axes):
    evil = '<script>alert("1")</script>&"\'><img src=x onerror=y>'
    report = Report(evil, evil).heading(evil).paragraph(evil).code(evil)
    report.table([evil], [[evil]], evil).figure(axes, evil)
    page = Page(report.html())
    assert "script" not in page.seen
    assert page.seen.count("img") == 1
    for tag, attributes in page.attributes:
        assert not {name for name in attributes if name.startswith("on") or name == "href"}
        if tag == "img":
            assert attributes["src"].startswith("data:image/png;base64,")
            assert attributes["alt"] == evil
    assert page.text.count(evil) == 10  # title, h1, summary, h2, p, code, th, td, both captions
    assert "http://" not in report.html()
    assert "https://" not in report.html()


def test_pictures_are_the_figures(axes):
    axes.figure.set_facecolor((1, 0, 0))
    for whole in (axes, axes.figure):
        page = Page(Report("t").figure(whole, dpi=50).html())
        (source,) = (attrs["src"] for tag, attrs in page.attributes if tag == "img")
        with Image.open(io.BytesIO(base64.b64decode(source.partition(",")[2]))) as picture:
            assert picture.size == (100, 50)
            assert picture.convert("RGB").getpixel((0, 0)) == (255, 0, 0)


def test_the_same_content_gives_the_same_bytes(axes, tmp_path):
    paths = [
        Report("t", "s").figure(axes, "c").paragraph("p").write(tmp_path / name)
        for name in ("a.html", "b.HTM")
    ]
    assert paths[0].read_bytes() == paths[1].read_bytes()
    assert paths[0].read_text(encoding="utf-8") == Report("t", "s").figure(axes, "c").paragraph("p").html()


def test_files_are_not_overwritten_unless_asked(tmp_path):
    path = Report("one").write(tmp_path / "a.html")
    with pytest.raises(FileExistsError, match="overwrite"):
        Report("two").write(path)
    assert "one" in path.read_text()
    assert "two" in Report("two").write(path, overwrite=True).read_text()


def test_errors_name_the_rule(tmp_path):
    with pytest.raises(ValueError, match=r"path must end in .html or .htm, got"):
        Report("t").write(tmp_path / "a.txt")
    with pytest.raises(ValueError, match="as many cells as the header, 2, but row 1 has 1"):
        Report("t").table(["a", "b"], [[1, 2], [1]])
    with pytest.raises(TypeError, match="must be a matplotlib Figure or Axes, got int"):
        Report("t").figure(3)
    with pytest.raises(ValueError, match="dpi must be at least 10"):
        Report("t").figure(plt.figure(), dpi=1)
    plt.close("all")


def test_the_page_of_an_evaluation_shows_all_of_it(tmp_path):
    images = open_images("digits").images
    controls = {"mirrored": images[:40, :, ::-1]}
    result = evaluate({"one & two": images[:40]}, images[:1200], images[1200:], controls=controls)
    report = evaluation_report(result, "Digits measured", "the command")
    page = Page(report.write(tmp_path / "page.html").read_text(encoding="utf-8"))
    text = [part.strip() for part in page.text]
    for heading in (
        "What the figures say of one & two",
        "Figures",
        "Images of one & two",
        "Control: mirrored",
    ):
        assert heading in text
    for name in (*result.sets, "Digits measured"):
        assert name in text
    assert any("the command" in part for part in page.text)
    assert any(sentence in part for part in page.text for sentence in result.verdict("one & two"))
    # sheets of samples and real images, two of neighbours, a histogram, three controls
    assert page.seen.count("img") == 8
    assert plt.get_fignums() == []
